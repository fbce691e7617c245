"""Pictures of what a sweep's runs answered: a row of panels for each task, and a panel for each direction."""

from collections.abc import Sequence
from typing import Any

from lst_jax.core import plot_style
from lst_jax.core.directions import DIRECTIONS
from lst_jax.jobs.sweeps.outcomes import Outcomes
from lst_jax.jobs.sweeps.outcomes_by_step import asked_or_refused, seconds_of, steps_of
from lst_jax.jobs.sweeps.outcomes_tables import Accuracy, Asked, Shown, accuracy_of

COLOURS = tuple(plot_style.COLOURS[name] for name in ("marker", "speech", "text", "third"))
MARKERS = "osD^vP"
PANEL = (2.9, 2.3)  # inches
LEGEND, LETTER = 0.6, 0.08  # inches below the panels: for a legend, or for each letter of a system's name


@plot_style.styled()
def picture(outcomes: Outcomes, how: Shown) -> bytes:
    """A PNG file. Marks are means over a system's runs, bars the 95% interval over the questions, dashes a guess.

    Values of the band stand side by side, each with its systems; or the systems alone where there is one value.
    Raises: DataError where no run was asked a task.
    """
    asked, systems = asked_or_refused(outcomes, how.band), outcomes.of_systems()
    value = asked[0].values[0] if all(len(task.values) == 1 for task in asked) else None
    below = max(map(len, systems)) * LETTER if value is not None else LEGEND
    figure, axes = _panels([(one, one.task.removeprefix("world-")) for one in asked], below)
    for row, task in zip(axes, asked, strict=True):
        for axis, direction in zip(row, DIRECTIONS, strict=True):
            for number, (label, runs) in enumerate(systems.items()):
                found = [accuracy_of(runs, task.task, direction, how, one) for one in task.values]
                shift = number if value is not None else 0.6 * ((number + 0.5) / len(systems) - 0.5)
                _draw(axis, number, label, [(at + shift, one) for at, one in enumerate(found)])
            names = task.values if value is None else tuple(systems)
            axis.set_xticks(range(len(names)), names, rotation=0 if value is None else 90)
            if value is not None and task is not asked[-1]:
                axis.tick_params(labelbottom=False)
            axis.set_xlim(-0.6, len(names) - 0.4)
    for axis in axes[-1]:
        axis.set_xlabel((how.band or "") if value is None else f"{how.band} {value}" if value else "")
    return _finished(figure, axes, len(systems) if value is None else None)


@plot_style.styled()
def by_step(outcomes: Outcomes, how: Shown) -> bytes:
    """A PNG file: the same over the time of training, with a row of panels for each value of the band.

    Raises: DataError where no run was asked a task.
    """
    asked, systems = asked_or_refused(outcomes, how.band), outcomes.of_systems()
    wanted = [(task, value) for task in asked for value in task.values]
    names = [f"{task.task.removeprefix('world-')}{f', {how.band} {value}' if value else ''}" for task, value in wanted]
    figure, axes = _panels([(task, name) for (task, _), name in zip(wanted, names, strict=True)], LEGEND)
    for row, (task, value) in zip(axes, wanted, strict=True):
        for axis, direction in zip(row, DIRECTIONS, strict=True):
            for number, (label, runs) in enumerate(systems.items()):
                steps = list(steps_of(runs, task))
                found = [(seconds_of(at) / 60, accuracy_of(at, task.task, direction, how, value)) for at in steps]
                _draw(axis, number, label, found, joined=True)
            axis.set_xlim(left=0)
    for axis in axes[-1]:
        axis.set_xlabel("minutes of training")
    return _finished(figure, axes, len(systems))


def _panels(rows: Sequence[tuple[Asked, str]], below: float) -> tuple[Any, Any]:
    """A figure with a row for each task, beside which its name stands, and `below` inches for what is below them."""
    size = (PANEL[0] * len(DIRECTIONS), PANEL[1] * len(rows) + below)
    figure, axes = plot_style.subplots(
        len(rows), len(DIRECTIONS), figsize=size, layout="constrained", squeeze=False, sharey="row"
    )
    for row, (task, name) in zip(axes, rows, strict=True):
        for axis, arrows in zip(row, DIRECTIONS.values(), strict=True):
            if task.chance is not None:
                axis.axhline(100 * task.chance, linestyle="--", linewidth=1, color=plot_style.COLOURS["marker"])
            axis.set_title(arrows)
            axis.set_ylim(0, 100)
        row[0].set_ylabel(f"{name}\naccuracy, %")
    return figure, axes


def _draw(axis, number: int, label: str, found: Sequence[tuple[float, Accuracy | None]], joined: bool = False) -> None:
    """The marks of one system, in the colour of its number."""
    marks = [(at, 100 * a.mean, 100 * (a.mean - a.low), 100 * (a.high - a.mean)) for at, a in found if a]
    if not marks:
        return
    at, means, below, above = zip(*marks, strict=True)
    axis.errorbar(
        at,
        means,
        yerr=(below, above),
        fmt=MARKERS[number % len(MARKERS)] + ("-" if joined else ""),
        color=COLOURS[number % len(COLOURS)],
        markersize=4.5,
        linewidth=1.2,
        elinewidth=1.2,
        capsize=2,
        label=label,
    )


def _finished(figure, axes, in_legend: int | None) -> bytes:
    if in_legend is not None:
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=in_legend)
    return plot_style.png_of(figure)
