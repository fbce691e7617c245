"""What the finished runs of a sweep cost and answered, each run by itself: one JSON file (docs/formats.md, "Outcomes")."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from lst_jax.core import strict
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.evals.records import store
from lst_jax.evals.records.choices import ChoicesRecord
from lst_jax.evals.records.probe import ProbeRecord
from lst_jax.evals.records.spoken import RecognitionRecord
from lst_jax.jobs.sweeps import collect, systems
from lst_jax.jobs.sweeps.status import RUNS, status_of
from lst_jax.jobs.sweeps.trials import FILE, Trial, read_sweep
from lst_jax.report import results_file
from lst_jax.runs.directory import RunDirectory
from lst_jax.storage import objects
from lst_jax.storage.place import Place

FORMAT_VERSION = 1
FIX = "give a sweep, or what lst sweep table --out wrote"


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
    positions: float | None = None  # patch positions per token of its training (paper Table 13)
    earlier: tuple[Earlier, ...] = ()  # ascending
    probe: ProbeRecord | None = None  # at the last step, like the next
    recognition: RecognitionRecord | None = None

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

    def of_labels(self, labels: Sequence[str]) -> "Outcomes":
        """The runs of these labels or systems alone, in this order. Raises: DataError where no run has one."""
        return dataclasses.replace(self, runs=tuple(systems.chosen(labels, self.runs, self._kinds())))

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

    def check_items(self) -> None:
        """Raises: DataError where runs were asked different items by the name of one task."""
        asked: dict[str, tuple[str, str]] = {}  # of each task: a run, and its items
        for run in self.runs:
            for record in (*run.tasks, *(own for one in run.earlier for own in one.tasks)):
                if record.digest is None:  # of an older version
                    continue
                first, digest = asked.setdefault(record.task, (run.run, record.digest))
                if record.digest != digest:
                    raise DataError(
                        f"{self.sweep}: {record.task}: {first} and {run.run} were asked different items; "
                        "ask one of them again, with lst evaluate --tasks"
                    )

    def of_systems(self) -> dict[str, list[Outcome]]:
        """The runs of each system, in the file's order."""
        return systems.by_name(self.runs, self._kinds())

    def _kinds(self) -> list[systems.Kind]:
        return [systems.Kind(run.system, run.parameters, run.steps) for run in self.runs]


def read(source: Place) -> Outcomes:
    """The outcomes of a sweep's folder, or those that such a file holds.

    Raises: DataError where no run is done, the file is not one of outcomes, or runs were asked different items by the
    name of one task; StorageError.
    """
    found = outcomes_of(source) if objects.exists(source / FILE) else _read_file(source)
    found.check_items()
    return found


def _read_file(source: Place) -> Outcomes:
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


def _positions(run: Place) -> float | None:
    """Patch positions per token over the steps that were logged; of a branch, since it left its trunk."""
    trained = [record for record in RunDirectory(run).read_metrics() if record["kind"] == "train"]
    tokens = sum(record["tokens"] for record in trained)
    return sum(record["patches"] for record in trained) / tokens if tokens else None


def _outcome(run: Place, trial: Trial, point: dict[str, Any]) -> Outcome:
    answered: dict[int, list[ChoicesRecord]] = {}
    inside: dict[str, ProbeRecord | RecognitionRecord] = {}
    for record in store.read(run).records:
        if isinstance(record, ChoicesRecord) and record.config_hash == trial.config_hash:
            answered.setdefault(record.step, []).append(record)
        elif isinstance(record, (ProbeRecord, RecognitionRecord)) and record.step == trial.steps:
            inside["probe" if isinstance(record, ProbeRecord) else "recognition"] = record
    last = answered.pop(trial.steps, [])
    return Outcome(
        **point,
        **inside,
        positions=_positions(run),
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
