"""What the pictures of fits share: names of measures, looks of systems, logarithmic axes."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import matplotlib.ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lst_jax.laws.points import Point

SHORT = 5.0  # last over first value of a logarithmic axis below which 1, 2, 5 and 10 may all be outside
LONG = 30.0  # last over first value of a logarithmic axis beyond which only powers of ten are labelled
NO_UNITS: Mapping[str, str] = MappingProxyType({})
Styles = Mapping[str, Mapping[str, str]]


def name(measure: str) -> str:
    """Example: "loss_text" -> "text loss"; "loss" -> "loss"."""
    return " ".join(reversed(measure.split("_")))


def label(measure: str, units: Mapping[str, str]) -> str:
    """Of an axis. Example: "text loss, bits per token"."""
    return name(measure) + (f", {units[measure]}" if measure in units else "")


def open_markers(style: Mapping[str, str]) -> dict:
    """Options of `Axes.plot` for runs: a system's markers, not filled and without a line."""
    return {**style, "linestyle": "none", "markerfacecolor": "none", "markersize": 4.5}


def log_scale(axes: Axes, *names: str) -> None:
    """Makes these of "x" and "y" logarithmic, with readable labels whether they span a tenth or five decades."""
    for which in names:
        axes.set(**{f"{which}scale": "log"})
        low, high = getattr(axes, f"get_{which}lim")()
        axis = getattr(axes, f"{which}axis")
        axis.set_major_locator(
            matplotlib.ticker.MaxNLocator(4)
            if high / low < SHORT
            else matplotlib.ticker.LogLocator(subs=(1, 2, 5) if high / low < LONG else (1,))
        )
        axis.set_major_formatter(lambda value, _: power_of_ten(value))
        axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def power_of_ten(value: float) -> str:
    """Example: 4.6e14 -> "4.6×10¹⁴", as mathematical text."""
    factor, power = f"{value:.2e}".split("e")
    factor = factor.rstrip("0").rstrip(".")
    factor = "" if factor == "1" else factor + "{\\times}"
    return f"${factor}10^{{{int(power)}}}$"


def systems_legend(figure: Figure, points: Sequence[Point], measures: Sequence[str], styles: Styles) -> None:
    """Below the figure: the systems that have one of the measures."""
    shown = [s for s in styles if any(p.system == s and m in p.measures for p in points for m in measures)]
    lines = [Line2D([], [], **open_markers(styles[s]) | {"linestyle": "-", "linewidth": 1.6}) for s in shown]
    figure.legend(lines, shown, loc="outside lower center", ncols=5)
