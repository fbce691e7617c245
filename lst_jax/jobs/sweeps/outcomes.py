"""What the finished runs of a sweep cost and answered: one JSON file, and tables of it (docs/formats.md, "Outcomes").

The file holds each run by itself. Tables take the mean over the runs of one label, which differ in their seeds alone.
"""

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lst_jax.core import strict
from lst_jax.core.directions import DIRECTIONS
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.evals.accuracy import wilson_interval
from lst_jax.evals.records import store
from lst_jax.evals.records.choices import ChoicesRecord, DirectionResult
from lst_jax.jobs.sweeps import collect
from lst_jax.jobs.sweeps.status import RUNS, status_of
from lst_jax.jobs.sweeps.trials import FILE, Trial, read_sweep
from lst_jax.report import results_file
from lst_jax.runs.ledger import in_words
from lst_jax.storage import objects
from lst_jax.storage.place import Place

Table = tuple[str, Sequence[str], list[list[str]]]  # title, header, rows
FORMAT_VERSION = 1
FIX = "give a sweep, or what lst sweep table --out wrote"
RULE = "per_token"  # of the tables; the file has every rule
COSTS = (
    "system",
    "runs",
    "parameters",
    "steps",
    "tokens",
    "FLOPs",
    "time of all steps",
    "held-out speech, bits/s",
    "held-out text, bits/token",
)
NOTE = (
    "Means over the runs of a system; behind a loss stands the range over its runs. Accuracies are in percent, by mean "
    "per token. In square brackets is the 95% interval over the questions (Wilson), and in round brackets the range over runs."
)


@dataclasses.dataclass(frozen=True)
class Earlier:
    """What a run answered at a checkpoint before its last step, and what its training had cost by then."""

    steps: int
    tokens: int
    flops: float
    seconds: float
    tasks: tuple[ChoicesRecord, ...]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One run: its point, its seed and recipe, and what it answered at its last step and at earlier ones."""

    run: str
    system: str
    seed: int
    recipe: str
    changes: tuple[str, ...]
    parameters: int
    steps: int
    tokens: int
    flops: float
    seconds: float
    config_hash: str
    commit: str | None
    tasks: tuple[ChoicesRecord, ...]
    loss_speech: float | None = None
    loss_text: float | None = None
    accuracy_speech: float | None = None
    accuracy_text: float | None = None
    items: int | None = None
    earlier: tuple[Earlier, ...] = ()  # ascending

    def only(self, wanted: Callable[[ChoicesRecord], ChoicesRecord | None]) -> "Outcome":
        """The same with what `wanted` makes of each record of answers; None leaves it out."""

        def kept(records: Sequence[ChoicesRecord]) -> tuple[ChoicesRecord, ...]:
            return tuple(one for one in map(wanted, records) if one is not None)

        earlier = tuple(dataclasses.replace(one, tasks=kept(one.tasks)) for one in self.earlier)
        return dataclasses.replace(self, tasks=kept(self.tasks), earlier=earlier)


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """The finished runs of a sweep."""

    format_version: int
    sweep: str
    commit: str | None
    machine: str
    runs: tuple[Outcome, ...]

    def of_task(self, task: str) -> "Outcomes":
        """The same with the answers to one task alone. Raises: DataError where no run was asked it."""
        asked = {record.task for run in self.runs for record in run.tasks}
        if task not in asked:
            raise DataError(
                f"--only {task}: no run was asked it; use {' or '.join(sorted(asked)) or 'lst sweep evaluate'}"
            )
        runs = tuple(run.only(lambda record: record if record.task == task else None) for run in self.runs)
        return dataclasses.replace(self, runs=runs)

    def of_value(self, band: str, value: str) -> "Outcomes":
        """The same with the answers to items with this value of the band alone. Raises: DataError where none has it."""
        answers = [answer for run in self.runs for record in run.tasks for answer in record.results]
        there = {one for answer in answers for one in answer.bands.get(band, {})}
        if value not in there:
            raise DataError(
                f"--band {band}={value}: no item has it; use {' or '.join(sorted(there)) or 'another band'}"
            )

        def narrowed(record: ChoicesRecord) -> ChoicesRecord:
            results = (
                dataclasses.replace(a, bands={band: {v: s for v, s in a.bands.get(band, {}).items() if v == value}})
                for a in record.results
            )
            return dataclasses.replace(record, results=tuple(results))

        return dataclasses.replace(self, runs=tuple(run.only(narrowed) for run in self.runs))

    def of_systems(self) -> dict[str, list[Outcome]]:
        """The runs of each system, in the file's order."""
        labels = dict.fromkeys(run.system for run in self.runs)
        return {label: [run for run in self.runs if run.system == label] for label in labels}


def _results(runs: Sequence[Outcome | Earlier], task: str) -> list[DirectionResult]:
    return [result for run in runs for record in run.tasks if record.task == task for result in record.results]


def read(source: Place) -> Outcomes:
    """The outcomes of a sweep's folder, or those that such a file holds.

    Raises: DataError where no run is done, or the file is not one of outcomes; StorageError.
    """
    if objects.exists(source / FILE):
        return outcomes_of(source)
    fields = objects.read_json(source, FIX)
    if fields.get("format_version") != FORMAT_VERSION or not fields.get("runs"):
        raise DataError(f"{source}: holds no outcomes; {FIX}")
    try:
        return strict.build(Outcomes, fields, "")
    except ConfigError as error:
        raise DataError(f"{source}: {error}; {FIX}") from error


def outcomes_of(folder: Place) -> Outcomes:
    """Of the runs that are done, in the sweep's order. Raises: DataError where none is."""
    sweep, runs = read_sweep(folder), folder / RUNS
    found = status_of(runs, sweep.trials)
    trials = {s.trial.name: s.trial for s in found}
    done = [_outcome(runs / point["run"], trials[point["run"]], point) for point in collect.points_of(runs, found)]
    return Outcomes(FORMAT_VERSION, sweep.reference, sweep.commit, results_file.machine_in_words(), tuple(done))


def _outcome(run: Place, trial: Trial, point: dict[str, Any]) -> Outcome:
    answered: dict[int, list[ChoicesRecord]] = {}
    for record in store.read(run).records:
        if isinstance(record, ChoicesRecord) and record.config_hash == trial.config_hash:
            answered.setdefault(record.step, []).append(record)
    last = answered.pop(trial.steps, [])
    return Outcome(
        **point,
        seed=trial.config().seed,
        recipe=trial.recipe,
        changes=trial.changes,
        steps=trial.steps,
        tasks=tuple(last),
        earlier=tuple(
            Earlier(
                steps=step,
                tokens=round(point["tokens"] * step / trial.steps),
                flops=point["flops"] * step / trial.steps,
                seconds=point["seconds"] * step / trial.steps,
                tasks=tuple(records),
            )
            for step, records in sorted(answered.items())
        ),
    )


def tables(outcomes: Outcomes, band: str | None) -> list[Table]:
    """What runs cost, and then each task. With `band`, a row for each of its values."""
    systems = outcomes.of_systems()
    found = [("", COSTS, [_cost_row(label, runs) for label, runs in systems.items()])]
    for asked in asked_of(outcomes, band):
        rows = [
            [label, *([value] if band else []), *(cell(runs, asked.task, way, band, value) for way in DIRECTIONS)]
            for label, runs in systems.items()
            for value in asked.values
        ]
        found.append((asked.title(), ["system", *([band] if band else []), *DIRECTIONS.values()], rows))
    return found


class Asked(NamedTuple):
    """A task, how many items it has, what a guess gets right, and the values of a band (one empty one without a band)."""

    task: str
    items: int
    chance: float | None
    values: tuple[str, ...]

    def title(self) -> str:
        """Example: "world-storycloze, 400 items, chance 50%"."""
        return f"{self.task}, {self.items:,} items" + ("" if self.chance is None else f", chance {self.chance:.0%}")


def asked_of(outcomes: Outcomes, band: str | None) -> list[Asked]:
    """The tasks that any run was asked."""
    found = []
    for task in dict.fromkeys(record.task for run in outcomes.runs for record in run.tasks):
        answers = _results(outcomes.runs, task)
        values = tuple(dict.fromkeys(v for a in answers for v in a.bands.get(band, {}))) if band else ("",)
        chances = {a.chance for a in answers}
        found.append(Asked(task, answers[0].items, chances.pop() if len(chances) == 1 else None, values))
    return found


def as_markdown(tables: Sequence[Table]) -> str:
    """What the numbers are, and the tables."""
    parts = [NOTE]
    for title, header, rows in tables:
        parts += [*([f"**{title}**"] if title else []), results_file.table(header, rows)]
    return "\n\n".join(parts)


def _cost_row(label: str, runs: Sequence[Outcome]) -> list[str]:
    return [
        label,
        str(len(runs)),
        f"{runs[0].parameters:,}",
        f"{statistics.fmean(run.steps for run in runs):,.0f}",
        f"{statistics.fmean(run.tokens for run in runs):.4g}",
        f"{statistics.fmean(run.flops for run in runs):.4g}",
        in_words(statistics.fmean(run.seconds for run in runs)),
        _loss([run.loss_speech for run in runs]),
        _loss([run.loss_text for run in runs]),
    ]


def _loss(values: Sequence[float | None]) -> str:
    losses = [value for value in values if value is not None]
    if not losses:
        return ""
    spread = f" ({min(losses):.2f}–{max(losses):.2f})" if len(losses) > 1 else ""
    return f"{statistics.fmean(losses):.2f}{spread}"


class Accuracy(NamedTuple):
    """Of the runs that were asked: how many, their mean, its 95% interval over the questions, and the least and most of a run.
    Shares are up to 1."""

    runs: int
    mean: float
    low: float
    high: float
    least: float
    most: float


def accuracy_of(
    runs: Sequence[Outcome | Earlier], task: str, direction: str, band: str | None, value: str
) -> Accuracy | None:
    """What runs of one system answered, to items with this value of the band if there is one; None where not asked."""
    answers = [a for a in _results(runs, task) if a.direction == direction]
    rules = [a.bands.get(band, {}).get(value, {}) if band else a.rules for a in answers]
    found = [some[RULE] for some in rules if RULE in some]
    if not found:
        return None
    shares, groups = [share.accuracy for share in found], found[0].groups
    mean = statistics.fmean(shares)
    return Accuracy(len(shares), mean, *wilson_interval(mean * groups, groups), min(shares), max(shares))


def cell(runs: Sequence[Outcome | Earlier], task: str, direction: str, band: str | None, value: str) -> str:
    """Example: "81.0 [75, 86] (79–83)"."""
    found = accuracy_of(runs, task, direction, band, value)
    if found is None:
        return ""
    asked, *shares = found
    mean, low, high, least, most = (100 * share for share in shares)
    spread = f" ({least:.0f}–{most:.0f})" if asked > 1 else ""
    return f"{mean:.1f} [{low:.0f}, {high:.0f}]{spread}"
