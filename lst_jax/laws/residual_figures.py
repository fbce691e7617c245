"""Pictures of what a law of N and D leaves over: a trend in them is a wrong law, of which no interval knows."""

from collections.abc import Sequence

import numpy as np
import scipy.stats
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lst_jax.core import plot_style
from lst_jax.laws import fit_axes
from lst_jax.laws.fit import LawFit
from lst_jax.laws.fit_axes import Styles
from lst_jax.laws.points import logs

CAPTION = (
    "what the law of N and D leaves over. Runs should lie evenly about zero along N, D and tokens per parameter; the line is "
    "the median of equal parts of the runs. On the right, runs should follow the diagonal: the intervals assume normal noise."
)
PARTS, LEAST_IN_A_PART = 6, 4  # of the line of medians


def residuals(fits: Sequence[LawFit], measure: str, styles: Styles) -> Figure:
    """Residuals of laws of one loss, in percent, against N, D and D / N, and in order against the normal's.

    Each law is of one system, and has the system's looks.
    """
    figure, axes = plot_style.subplots(1, 4, figsize=(14.0, 3.9), layout="constrained", sharey=True)
    for fit in fits:
        style = styles[fit.law.systems[0]]
        log_n, log_d = (logs(fit.points, field) for field in ("parameters", "tokens"))
        percent = 100 * np.expm1(fit.residuals)
        for axis, log_x in zip(axes, (log_n, log_d, log_d - log_n), strict=False):
            axis.plot(np.exp(log_x), percent, **fit_axes.open_markers(style))
            _medians(axis, log_x, percent, style["color"])
        _ordered(axes[3], fit, percent, style)
    for axis, x in zip(axes, ("N, parameters", "D, tokens", "tokens per parameter"), strict=False):
        fit_axes.log_scale(axis, "x")
        axis.set_xlabel(x)
    axes[3].set_xlabel("the same rank of normal noise, %")
    axes[0].set_ylabel("run over law, %")
    for axis in axes:
        axis.axhline(0, color="black", linewidth=0.8)
    figure.suptitle(f"{fit_axes.name(measure).capitalize()}: residuals")
    fit_axes.systems_legend(figure, [p for fit in fits for p in fit.points], [measure], styles)
    return figure


def _medians(axis: Axes, log_x: Float[np.ndarray, "runs"], percent: Float[np.ndarray, "runs"], colour: str) -> None:
    """A line through the medians of equal parts of the runs in the order of x; none of too few runs."""
    parts = min(PARTS, len(log_x) // LEAST_IN_A_PART)
    if parts >= 3:
        members = np.array_split(np.argsort(log_x, kind="stable"), parts)
        at = [np.exp(np.median(log_x[part])) for part in members]
        axis.plot(at, [np.median(percent[part]) for part in members], color=colour, linewidth=2.4)


def _ordered(axis: Axes, fit: LawFit, percent: Float[np.ndarray, "runs"], style: dict) -> None:
    """Residuals in rising order against normal noise of the law's scatter, and the diagonal."""
    ranks = (np.arange(len(percent)) + 0.5) / len(percent)
    expected = 100 * np.expm1(fit.scatter * scipy.stats.norm.ppf(ranks))
    axis.plot(expected, np.sort(percent), **fit_axes.open_markers(style))
    axis.plot(expected[[0, -1]], expected[[0, -1]], color=style["color"], linewidth=1.2, linestyle="--")
