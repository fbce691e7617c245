"""A picture of what a sweep's runs answered: a row of panels for each task, and a panel for each direction."""

from lst_jax.core import plot_style
from lst_jax.core.directions import DIRECTIONS
from lst_jax.core.errors import DataError
from lst_jax.jobs.sweeps.outcomes import Asked, Outcome, Outcomes, accuracy_of, asked_of

COLOURS = tuple(plot_style.COLOURS[name] for name in ("marker", "speech", "text", "third"))
MARKERS = "osD^vP"
PANEL = (2.9, 2.3)  # inches


@plot_style.styled()
def picture(outcomes: Outcomes, band: str | None) -> bytes:
    """A PNG file. Marks are means over a system's runs, bars the 95% interval over the questions, dashes a guess.

    Raises: DataError where no run was asked a task.
    """
    asked = asked_of(outcomes, band)
    if not asked:
        raise DataError(f"{outcomes.sweep}: no run was asked a task; run lst sweep evaluate first")
    size = (PANEL[0] * len(DIRECTIONS), PANEL[1] * len(asked) + 0.6)
    figure, axes = plot_style.subplots(
        len(asked), len(DIRECTIONS), figsize=size, layout="constrained", squeeze=False, sharey="row"
    )
    systems = outcomes.of_systems()
    for row, task in zip(axes, asked, strict=True):
        for axis, (direction, arrows) in zip(row, DIRECTIONS.items(), strict=True):
            for number, (label, runs) in enumerate(systems.items()):
                _draw(axis, (number, len(systems)), label, runs, task, direction, band)
            if task.chance is not None:
                axis.axhline(100 * task.chance, linestyle="--", linewidth=1, color=plot_style.COLOURS["marker"])
            axis.set_title(arrows)
            axis.set_xticks(range(len(task.values)), task.values)
            axis.set_xlim(-0.6, len(task.values) - 0.4)
            axis.set_ylim(0, 100)
        row[0].set_ylabel(f"{task.task.removeprefix('world-')}\naccuracy, %")
    for axis in axes[-1]:
        axis.set_xlabel(band or "")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(systems))
    return plot_style.png_of(figure)


def _draw(
    axis, place: tuple[int, int], label: str, runs: list[Outcome], task: Asked, direction: str, band: str | None
) -> None:
    """The marks of one system beside those of the others: `place` is its number, and how many there are."""
    number, count = place
    shift = 0.6 * ((number + 0.5) / count - 0.5)
    found = [(at, accuracy_of(runs, task.task, direction, band, value)) for at, value in enumerate(task.values)]
    marks = [(at + shift, 100 * a.mean, 100 * (a.mean - a.low), 100 * (a.high - a.mean)) for at, a in found if a]
    if not marks:
        return
    at, means, below, above = zip(*marks, strict=True)
    axis.errorbar(
        at,
        means,
        yerr=(below, above),
        fmt=MARKERS[number % len(MARKERS)],
        color=COLOURS[number % len(COLOURS)],
        markersize=4.5,
        elinewidth=1.2,
        capsize=2,
        label=label,
    )
