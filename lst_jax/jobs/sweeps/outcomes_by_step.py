"""What a sweep's runs answered at each of their checkpoints, and what training had cost by then."""

import statistics
from collections.abc import Iterator, Sequence

from lst_jax.core.directions import DIRECTIONS
from lst_jax.core.errors import DataError
from lst_jax.jobs.sweeps.outcomes import Earlier, Outcome, Outcomes
from lst_jax.jobs.sweeps.outcomes_tables import Asked, Shown, Table, asked_of, cell
from lst_jax.runs.ledger import in_words

COSTS = ("system", "runs", "step", "tokens", "FLOPs", "time")


def tables(outcomes: Outcomes, how: Shown) -> list[Table]:
    """A table for each task, and with `how.band` for each of its values: a row for each system and step.

    Raises: DataError where no run was asked a task.
    """
    return [
        (
            asked.title() + (f", {how.band} {value}" if value else ""),
            [*COSTS, *DIRECTIONS.values()],
            [
                [*_costs(label, at), *(cell(at, asked.task, way, how, value) for way in DIRECTIONS)]
                for label, runs in outcomes.of_systems().items()
                for at in steps_of(runs, asked)
            ],
        )
        for asked in asked_or_refused(outcomes, how.band)
        for value in asked.values
    ]


def asked_or_refused(outcomes: Outcomes, band: str | None) -> list[Asked]:
    """`asked_of`. Raises: DataError where no run was asked a task."""
    asked = asked_of(outcomes, band)
    if not asked:
        raise DataError(f"{outcomes.sweep}: no run was asked a task; run lst sweep evaluate first")
    return asked


def steps_of(runs: Sequence[Outcome], asked: Asked) -> Iterator[list[Outcome | Earlier]]:
    """One system's runs at each step at which any of them was asked the task, by ascending step."""
    by_step: dict[int, list[Outcome | Earlier]] = {}
    for run in runs:
        for one in (*run.earlier, run):
            if any(record.task == asked.task for record in one.tasks):
                by_step.setdefault(one.steps, []).append(one)
    for _, at in sorted(by_step.items()):
        yield at


def seconds_of(runs: Sequence[Outcome | Earlier]) -> float:
    """The mean time of their steps so far."""
    return statistics.fmean(run.seconds for run in runs)


def _costs(label: str, runs: Sequence[Outcome | Earlier]) -> list[str]:
    return [
        label,
        str(len(runs)),
        f"{runs[0].steps:,}",
        f"{statistics.fmean(run.tokens for run in runs):.4g}",
        f"{statistics.fmean(run.flops for run in runs):.4g}",
        in_words(seconds_of(runs)),
    ]
