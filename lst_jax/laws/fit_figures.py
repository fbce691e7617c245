"""Pictures of runs and fits: losses and accuracies against FLOPs, iso-FLOP valleys, multipliers; PNG and SVG.

A system has one colour and one marker in all of them. `units` says what a measure is counted in, as
{"loss_text": "bits per text token"}: points do not know.
"""

import io
from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.ticker
import numpy as np
import scipy.stats
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lst_jax.core import plot_style
from lst_jax.laws import bootstrap, residual_figures
from lst_jax.laws.fit import LINE, PLANE, LawFit
from lst_jax.laws.fit_axes import NO_UNITS, Styles, label, log_scale, name, open_markers, power_of_ten, systems_legend
from lst_jax.laws.isoflop import ValleyFit
from lst_jax.laws.multiplier import Multiplier
from lst_jax.laws.points import Point, groups, logs, measure_of, systems_of
from lst_jax.laws.study import Entry
from lst_jax.storage import objects
from lst_jax.storage.place import Place

COLOURS = (
    plot_style.COLOURS["marker"],
    plot_style.COLOURS["speech"],
    plot_style.COLOURS["text"],
    plot_style.COLOURS["third"],
    "#7e22ce",
    "#0e7490",
    "#a16207",
    "#be185d",
)
MARKERS = "osD^vPX*"
FLOPS = "training FLOPs"
CURVE = 60  # points of a drawn curve
WIDE = 4.0  # highest over lowest multiplier of a picture beyond which its axis is logarithmic
LOSSES = "Loss against training FLOPs: runs, each system's law with its 95% band, and how far runs lie off their law."
MULTIPLIERS = (
    "Compute multiplier: how many times a system's FLOPs the reference needs for the same loss, with its 95% band."
)
ACCURACIES = (
    "Accuracy against training FLOPs, with 95% bands of the binomial. Where a budget has several sizes, the "
    "line is that of the run with the least loss."
)
VALLEYS = "valleys of equal FLOPs with their lowest points, and the best N against compute, with 95% intervals."


@plot_style.styled()
def write_all(
    entries: Sequence[Entry],
    points: Sequence[Point],
    kinds: Sequence[str],
    folder: Place,
    units: Mapping[str, str] = NO_UNITS,
) -> list[tuple[Place, str]]:
    """Draws what runs and fits of `kinds` allow; returns (PNG file, caption) in a page's order.

    Args: kinds: "text", "speech", or "" alone for the one loss of other people's runs.
    An SVG of the same name lies beside each. Raises: StorageError.
    """
    styles = {
        system: {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        for i, system in enumerate(systems_of(points))
    }
    fits = {
        kind: {
            loss: found
            for loss in (measure_of("loss", of) for of in kinds)
            if (found := [e.fit for e in entries if (e.kind, e.measure) == (kind, loss) and e.fit is not None])
        }
        for kind in ("law", "isoflop", "multiplier")
    }
    has = {
        what: [m for of in kinds if any((m := measure_of(what, of)) in p.measures for p in points)]
        for what in ("loss", "accuracy")
    }
    drawn: list[tuple[str, str, Figure]] = []
    if has["loss"]:
        drawn.append(("loss_flops", LOSSES, losses(points, has["loss"], fits["law"], styles, units)))
    if fits["multiplier"]:
        drawn.append(("multiplier", MULTIPLIERS, multipliers(fits["multiplier"], styles, units)))
    if has["accuracy"]:
        drawn.append(("accuracy_flops", ACCURACIES, accuracies(points, has["accuracy"], styles)))
    planes = {m: [fit for fit in found if fit.law.variables == PLANE] for m, found in fits["law"].items()}
    drawn += [
        (
            measure.replace("loss", "residuals"),
            f"{name(measure).capitalize()}: {residual_figures.CAPTION}",
            residual_figures.residuals(found, measure, styles),
        )
        for measure, found in planes.items()
        if found
    ]
    drawn += [
        (
            measure.replace("loss", "isoflop"),
            f"{name(measure).capitalize()}: {VALLEYS}",
            valleys(found, measure, styles, units),
        )
        for measure, found in fits["isoflop"].items()
    ]
    return [(_save(figure, folder / stem), caption) for stem, caption, figure in drawn]


def losses(
    points: Sequence[Point],
    measures: Sequence[str],
    laws: Mapping[str, Sequence[LawFit]],
    styles: Styles,
    units: Mapping[str, str] = NO_UNITS,
) -> Figure:
    """A column a loss: all runs against FLOPs with the laws and their bands; below, what the laws leave over."""
    rows = 2 if laws else 1
    figure, axes = _columns(measures, 1.6 + 2.3 * rows, sharex="col", nrows=rows, height_ratios=(3, 1.2)[:rows])
    for measure, column in zip(measures, axes.T, strict=True):
        top, bottom = column[0], column[-1]
        _runs(top, points, measure, styles)
        fits = laws.get(measure, ())
        for fit in fits:
            style = styles[fit.law.systems[0]]
            log_c = logs(fit.points, "flops")
            if fit.law.variables == LINE or fit.has_optimum:
                _curve(top, fit, np.linspace(log_c.min(), log_c.max(), CURVE), style["color"])
            bottom.plot(np.exp(log_c), 100 * np.expm1(fit.residuals), **open_markers(style))
        if fits:
            bottom.axhline(0, color="black", linewidth=0.8)
        elif laws:
            bottom.set_axis_off()
        best = "" if all(fit.law.variables == LINE for fit in fits) else ", laws at their best N"
        top.set(ylabel=label(measure, units), title=name(measure).capitalize() + best)
        bottom.set_xlabel(FLOPS)
        log_scale(bottom, "x")
    if laws:
        axes[1, 0].set_ylabel("run over law, %")
    systems_legend(figure, points, measures, styles)
    return figure


def accuracies(points: Sequence[Point], measures: Sequence[str], styles: Styles) -> Figure:
    """One column per accuracy: all runs, and one line per system with Wilson's 95% band over the items of a run.

    Seeds of one size are averaged, at the items of one of them, as all answer the same items. Of several sizes at a
    budget the line has the one of the least loss (of the same kind): that of the best accuracy would flatter.
    """
    figure, axes = _columns(measures, 4.1)
    for measure, axis in zip(measures, axes[0], strict=True):
        _runs(axis, points, measure, styles, scale=100.0)
        for system, style in styles.items():
            _accuracy_line(
                axis, [p for p in points if p.system == system and measure in p.measures], measure, style["color"]
            )
        axis.set(xlabel=FLOPS, ylabel=f"{name(measure)}, %", title=name(measure).capitalize())
        log_scale(axis, "x")
    systems_legend(figure, points, measures, styles)
    return figure


def multipliers(
    fits: Mapping[str, Sequence[Multiplier]], styles: Styles, units: Mapping[str, str] = NO_UNITS
) -> Figure:
    """A column a loss, which falls to the right: the multiplier of each system with its band, and a line at 1."""
    figure, axes = _columns(fits, 4.1)
    shown = {}
    for (measure, found), axis in zip(fits.items(), axes[0], strict=True):
        for fit in found:
            system, loss = fit.ours.law.systems[0], np.exp(fit.log_loss)
            colour = styles[system]["color"]
            axis.fill_between(loss, *fit.band(), color=colour, alpha=0.2, linewidth=0)
            shown[system] = axis.plot(loss, np.exp(fit.log_ratio), color=colour, linewidth=1.6)[0]
        axis.axhline(1, color="black", linewidth=1)
        reference = found[0].reference.law.systems[0]
        axis.set(
            xlabel=f"{label(measure, units)} (falls to the right)",
            ylabel=f"FLOPs of {reference} / of the system",
            title=f"{name(measure).capitalize()}: compute for the same loss",
        )
        ends = np.concatenate([fit.band() for fit in found], axis=1)
        if max(ends.max(), 1) / min(ends.min(), 1) > WIDE:
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axis.invert_xaxis()
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=5)
    return figure


def valleys(fits: Sequence[ValleyFit], measure: str, styles: Styles, units: Mapping[str, str] = NO_UNITS) -> Figure:
    """For each system its valleys with their lowest points, and beside them N* against FLOPs with its power law."""
    figure, rows = plot_style.subplots(
        len(fits),
        2,
        figsize=(11.5, 3.9 * len(fits)),
        width_ratios=(1.5, 1),
        squeeze=False,
        sharex="col",
        layout="constrained",
    )
    for fit, (left, right) in zip(fits, rows, strict=True):
        system = fit.points[0].system
        _parabolas(left, fit, measure)
        left.set(ylabel=label(measure, units), title=f"{system}: valleys of equal FLOPs")
        _power_law(right, fit, styles[system]["color"])
        right.set(ylabel="best N, parameters", title=f"{system}: best N against compute")
        log_scale(left, "x")
        log_scale(right, "x", "y")
    rows[-1, 0].set_xlabel("N, parameters")
    rows[-1, 1].set_xlabel(FLOPS)
    return figure


def _runs(axis: Axes, points: Sequence[Point], measure: str, styles: Styles, scale: float = 1.0) -> None:
    for system, style in styles.items():
        own = [p for p in points if p.system == system and measure in p.measures]
        axis.plot([p.flops for p in own], [scale * p.measures[measure] for p in own], **open_markers(style))


def _curve(axis: Axes, fit: LawFit, log_c: np.ndarray, colour: str) -> None:
    low, high = bootstrap.interval(np.exp(fit.log_frontier(fit.draws, log_c)))
    axis.fill_between(np.exp(log_c), low, high, color=colour, alpha=0.2, linewidth=0)
    axis.plot(np.exp(log_c), np.exp(fit.log_frontier(fit.theta[None], log_c)[0]), color=colour, linewidth=1.6)


def _wilson(share: float, items: int) -> tuple[float, float]:
    found = scipy.stats.binomtest(round(share * items), items).proportion_ci(bootstrap.LEVEL, method="wilson")
    return 100 * found.low, 100 * found.high


def _accuracy_line(axis: Axes, points: Sequence[Point], measure: str, colour: str) -> None:
    budgets = [[points[i] for i in members] for members in groups(logs(points, "flops"))] if points else []
    if any(len(groups(logs(budget, "parameters"))) > 1 for budget in budgets):
        loss = measure.replace("accuracy", "loss")
        budgets = [
            [min((p for p in budget if loss in p.measures), key=lambda p: p.measures[loss])]
            for budget in budgets
            if any(loss in p.measures for p in budget)
        ]
    flops = [np.exp(logs(budget, "flops").mean()) for budget in budgets]
    means = np.array([np.mean([p.measures[measure] for p in budget]) for budget in budgets])
    axis.plot(flops, 100 * means, color=colour, linewidth=1.6)
    if all(budget[0].items for budget in budgets):
        band = [_wilson(mean, budget[0].items) for mean, budget in zip(means, budgets, strict=True)]
        axis.fill_between(flops, *np.reshape(band, (-1, 2)).T, color=colour, alpha=0.2, linewidth=0)


def _columns(measures: Sequence[str] | Mapping, height: float, nrows: int = 1, **options) -> tuple[Figure, np.ndarray]:
    return plot_style.subplots(
        nrows,
        len(measures),
        figsize=(5.4 * len(measures) + 1.2, height),
        squeeze=False,
        layout="constrained",
        **options,
    )


def _parabolas(axes: Axes, fit: ValleyFit, measure: str) -> None:
    drawn = [valley for valley in fit.valleys if valley.coefficients is not None]
    others = [p for valley in fit.valleys if valley.coefficients is None for p in valley.points]
    if others:
        runs = np.exp(logs(others, "parameters")), np.exp(logs(others, measure))
        axes.plot(*runs, "x", color="#b0b0b0", markersize=4, label=f"at no budget ({len(others)})")
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, len(drawn)))
    for valley, shade in zip(drawn, shades, strict=True):
        log_n = logs(valley.points, "parameters")
        axes.plot(
            np.exp(log_n),
            np.exp(logs(valley.points, measure)),
            "o",
            color=shade,
            markersize=4.5,
            label=power_of_ten(np.exp(valley.log_c)) + (" (not used)" if valley.refused else ""),
        )
        x = np.linspace(log_n.min(), log_n.max(), CURVE)
        curve = np.polynomial.polynomial.polyval(x - valley.middle, valley.coefficients)
        axes.plot(np.exp(x), np.exp(curve), color=shade, linewidth=1.2, linestyle=":" if valley.refused else "-")
        if valley.refused is None:
            best, (low, high) = np.exp(valley.lowest), np.exp(bootstrap.interval(valley.draws[:, 0]))
            axes.errorbar(
                best[0],
                best[2],
                xerr=[[best[0] - low], [high - best[0]]],
                fmt="*",
                color="black",
                markersize=9,
                capsize=3,
                zorder=3,
            )
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
    axes.plot(
        np.exp(at),
        np.exp(fit.power[0, 0] + fit.power[1, 0] * (at - log_c.max())),
        color=colour,
        label=f"C^{exponent['value']:.3f} [{exponent['low']:.3f}, {exponent['high']:.3f}]",
    )
    axes.errorbar(np.exp(log_c), best, yerr=[best - low, high - best], fmt="*", color="black", markersize=9, capsize=3)
    axes.legend(loc="upper left")


def _save(figure: Figure, stem: Place) -> Place:
    """Writes STEM.svg and STEM.png; returns the latter."""
    for kind in ("svg", "png"):
        path, content = stem.with_name(f"{stem.name}.{kind}"), io.BytesIO()
        figure.savefig(content, format=kind)
        objects.write_bytes(path, content.getvalue())
    return path
