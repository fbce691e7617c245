"""Pictures of fitted laws: losses with the law and its band, iso-FLOP valleys with their lowest points; PNG and SVG."""

import pathlib
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lst_jax import files, plot_style
from lst_jax.scaling import bootstrap
from lst_jax.scaling.fit import LINE, LawFit
from lst_jax.scaling.isoflop import ValleyFit
from lst_jax.scaling.points import logs
from lst_jax.scaling.study import Entry

COLOURS = (plot_style.COLOURS["marker"], plot_style.COLOURS["speech"], plot_style.COLOURS["text"],
           plot_style.COLOURS["third"], "#7e22ce", "#0e7490", "#a16207", "#be185d")
MARKERS = "osD^vPX*"
LOSS = {"loss_text": "text loss", "loss_speech": "speech loss"}
CURVE = 60  # points of a drawn curve


def write_all(entries: Sequence[Entry], folder: pathlib.Path) -> list[pathlib.Path]:
    """Draws what was fitted, a law and a valley picture a loss; returns the files. Raises: StorageError."""
    written = []
    for measure in dict.fromkeys(e.measure for e in entries):
        kinds = {kind: [e for e in entries if (e.kind, e.measure) == (kind, measure) and e.fit is not None]
                 for kind in ("law", "isoflop")}
        for kind, draw in (("law", losses), ("isoflop", valleys)):
            if kinds[kind]:
                written += _save(draw([e.fit for e in kinds[kind]], measure), folder / f"{kind}_{measure[5:]}")
    return written


def losses(fits: Sequence[LawFit], measure: str) -> Figure:
    """Loss against FLOPs with each system's law and 95% band; below, what the law leaves over."""
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7.5, 6.2), sharex=True, height_ratios=(3, 1.2),
                                         layout="constrained")
    for i, fit in enumerate(fits):
        style = {"marker": MARKERS[i % len(MARKERS)], "color": COLOURS[i % len(COLOURS)], "markerfacecolor": "none",
                 "markersize": 4.5}
        log_c = logs(fit.points, "flops")
        top.plot(np.exp(log_c), np.exp(logs(fit.points, measure)), linestyle="none", **style)
        bottom.plot(np.exp(log_c), 100 * np.expm1(fit.residuals), linestyle="none", **style)
        if fit.law.variables == LINE or fit.has_optimum:
            at = np.linspace(log_c.min(), log_c.max(), CURVE)
            low, high = bootstrap.interval(np.exp(fit.log_frontier(fit.draws, at)))
            top.fill_between(np.exp(at), low, high, color=style["color"], alpha=0.2, linewidth=0)
            top.plot(np.exp(at), np.exp(fit.log_frontier(fit.theta[None], at)[0]), color=style["color"], linewidth=1.6)
        top.plot([], [], linewidth=1.6, label=fit.law.systems[0], **style)
    bottom.axhline(0, color="black", linewidth=0.8)
    lines = "the law" if all(fit.law.variables == LINE for fit in fits) else "the law at its best N"
    top.set(xscale="log", ylabel=LOSS[measure],
            title=f"{LOSS[measure].capitalize()} against compute: runs, and {lines} with 95% bands")
    bottom.set(xlabel="FLOPs of a run", ylabel="run over law, %")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def valleys(fits: Sequence[ValleyFit], measure: str) -> Figure:
    """For each system its valleys with their lowest points, and beside them N* against FLOPs with its power law."""
    figure, rows = plt.subplots(len(fits), 2, figsize=(11.5, 3.9 * len(fits)), width_ratios=(1.5, 1), squeeze=False,
                                sharex="col", layout="constrained")
    for i, (fit, (left, right)) in enumerate(zip(fits, rows, strict=True)):
        system = fit.points[0].system
        _parabolas(left, fit, measure)
        left.set(xscale="log", ylabel=LOSS[measure], title=f"{system}: valleys of equal FLOPs")
        _power_law(right, fit, COLOURS[i % len(COLOURS)])
        right.set(xscale="log", yscale="log", ylabel="best N", title=f"{system}: best N against compute")
    rows[-1, 0].set_xlabel("parameters N")
    rows[-1, 1].set_xlabel("FLOPs of a run")
    return figure


def _parabolas(axes: Axes, fit: ValleyFit, measure: str) -> None:
    shades = plt.get_cmap("viridis")(np.linspace(0.0, 0.85, len(fit.valleys)))
    for valley, shade in zip(fit.valleys, shades, strict=True):
        log_n = logs(valley.points, "parameters")
        axes.plot(np.exp(log_n), np.exp(logs(valley.points, measure)), "o", color=shade, markersize=4.5,
                  label=f"{np.exp(valley.log_c):.2g}" + (" (not used)" if valley.refused else ""))
        if valley.coefficients is not None:
            x = np.linspace(log_n.min(), log_n.max(), CURVE)
            curve = np.polynomial.polynomial.polyval(x - valley.middle, valley.coefficients)
            axes.plot(np.exp(x), np.exp(curve), color=shade, linewidth=1.2, linestyle=":" if valley.refused else "-")
        if valley.refused is None:
            best, (low, high) = np.exp(valley.lowest), np.exp(bootstrap.interval(valley.draws[:, 0]))
            axes.errorbar(best[0], best[2], xerr=[[best[0] - low], [high - best[0]]], fmt="*", color="black",
                          markersize=9, capsize=3, zorder=3)
    axes.legend(title="FLOPs", loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)


def _power_law(axes: Axes, fit: ValleyFit, colour: str) -> None:
    log_c = np.array([v.log_c for v in fit.used])
    best = np.exp([v.lowest[0] for v in fit.used])
    low, high = np.exp(np.transpose([bootstrap.interval(v.draws[:, 0]) for v in fit.used]))
    at = np.linspace(log_c.min(), log_c.max(), CURVE)
    lines = fit.draws[:, 0, :1] + fit.draws[:, 1, :1] * (at - log_c.max())
    band = np.exp(bootstrap.interval(lines))
    exponent = fit.numbers()["n_opt_exponent"]
    axes.fill_between(np.exp(at), *band, color=colour, alpha=0.2, linewidth=0)
    axes.plot(np.exp(at), np.exp(fit.power[0, 0] + fit.power[1, 0] * (at - log_c.max())), color=colour,
              label=f"C^{exponent['value']:.3f} [{exponent['low']:.3f}, {exponent['high']:.3f}]")
    axes.errorbar(np.exp(log_c), best, yerr=[best - low, high - best], fmt="*", color="black", markersize=9, capsize=3)
    axes.legend(loc="upper left")


def _save(figure: Figure, stem: pathlib.Path) -> list[pathlib.Path]:
    paths = [stem.with_suffix(f".{kind}") for kind in ("png", "svg")]
    for path in paths:
        with files.replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:])
    plt.close(figure)
    return paths
