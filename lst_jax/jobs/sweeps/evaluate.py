"""`lst sweep evaluate`: asks the finished runs of a sweep the same, several runs at a time."""

import concurrent.futures
import queue
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tqdm import tqdm

from lst_jax.checkpoints.steps import whole_steps
from lst_jax.data.tasks import registry
from lst_jax.evals.records import store
from lst_jax.evals.records.choices import ChoicesRecord
from lst_jax.evals.records.kind import Record
from lst_jax.evals.records.probe import ProbeRecord
from lst_jax.evals.records.spoken import RecognitionRecord
from lst_jax.evals.run_tasks import parse
from lst_jax.evals.tasks import DIRECTIONS, available
from lst_jax.jobs.sweeps import child, systems
from lst_jax.jobs.sweeps.local import LOGS, shares
from lst_jax.jobs.sweeps.status import RUNS, status_of
from lst_jax.jobs.sweeps.trials import Trial, read_sweep
from lst_jax.runs.directory import RunDirectory
from lst_jax.storage import objects
from lst_jax.storage.place import Place

Named = tuple[str, str | None]  # a task's name and path


class Request(NamedTuple):
    """What the runs of a sweep are asked."""

    specs: Sequence[str] = ()  # NAME=PATH of tasks
    directions: str | None = None  # of tasks; None means all that a task has
    each_checkpoint: bool = False  # tasks at every step that a run has kept, not at its last step alone
    probe: bool = False  # `lst evaluate --probe patches`, at the last step
    asr: str | None = None  # a source of `lst evaluate --asr`, at the last step
    items: int | None = None  # the first ones of a source, for `probe` and `asr`
    systems: Sequence[str] | None = None  # labels, or names as `lst sweep table` shows them; None means all


class Question(NamedTuple):
    """What a run was not asked yet at one of its checkpoints, as words of `lst evaluate`."""

    run: str
    step: int
    words: tuple[str, ...]


def evaluate_all(folder: Place, asked: Request, jobs: int) -> dict[str, str]:
    """Evaluates every run that is done on what it was not asked yet, `jobs` runs at a time.

    What was asked is known by the task's name, path and directions, and the step; of a probe by its step, and of a
    recognition by its step and source. The records lie in the runs, as `lst evaluate` writes them.
    Returns: the last line of what went wrong, by run. Raises: ConfigError where a task is not NAME=PATH; DataError where
    its file cannot be read, or no run has the name of a system.
    """
    ways = _ways(parse(asked.specs), asked.directions)
    done = [one.trial for one in status_of(folder / RUNS, read_sweep(folder).trials) if one.state == "done"]
    if asked.systems is not None:
        done = systems.chosen(asked.systems, done, [systems.Kind(t.label, t.parameters, t.steps) for t in done])
    waiting = [
        question for trial in done for question in _open_questions(folder / RUNS / trial.name, trial, ways, asked)
    ]
    free: queue.SimpleQueue[frozenset[int]] = queue.SimpleQueue()
    for cores in shares(jobs):
        free.put(cores)
    failed = {}
    with (
        concurrent.futures.ThreadPoolExecutor(jobs) as pool,
        tqdm(total=len(waiting), desc="asked", unit="checkpoint") as bar,
    ):
        futures = {pool.submit(_ask, folder, question, free): question.run for question in waiting}
        try:
            for future in concurrent.futures.as_completed(futures):
                if error := future.result():
                    failed[futures[future]] = error
                bar.update()
        finally:  # also at Ctrl-C: no further run begins
            pool.shutdown(wait=False, cancel_futures=True)
    return failed


def _ways(named: Sequence[Named], directions: str | None) -> dict[Named, tuple[str, ...]]:
    """The directions in which each task is to be asked. Raises: DataError where a file cannot be read."""
    if directions:
        return dict.fromkeys(named, tuple(directions.split(",")))
    return {
        (name, path): tuple(available(registry.read_task(name, path).items) if path else DIRECTIONS)
        for name, path in named
    }


def _open_questions(run: Place, trial: Trial, ways: Mapping[Named, Sequence[str]], asked: Request) -> list[Question]:
    records = store.read(run).records
    steps = whole_steps(RunDirectory(run).checkpoints_path) if asked.each_checkpoint else [trial.steps]
    found = [Question(trial.name, step, words) for step in steps for words in _tasks(records, trial, step, ways)]
    items = ("--items", str(asked.items)) if asked.items is not None else ()
    last = [record for record in records if record.step == trial.steps]
    if asked.probe and not any(isinstance(record, ProbeRecord) for record in last):
        found.append(Question(trial.name, trial.steps, ("--probe", "patches", *items)))
    if asked.asr and not any(isinstance(one, RecognitionRecord) and one.source == asked.asr for one in last):
        found.append(Question(trial.name, trial.steps, ("--asr", asked.asr, *items)))
    return found


def _tasks(
    records: Sequence[Record], trial: Trial, step: int, ways: Mapping[Named, Sequence[str]]
) -> list[tuple[str, ...]]:
    """The words of a command for all tasks that lack the same directions at this step."""
    answered: dict[Named, set[str]] = {}
    for one in records:
        if isinstance(one, ChoicesRecord) and (one.config_hash, one.step) == (trial.config_hash, step):
            usual = {r.direction for r in one.results if (r.patches, r.scored) == ("restart", "response")}
            answered.setdefault((one.task, one.path), set()).update(usual)
    waiting: dict[str, list[str]] = {}
    for (task, path), wanted in ways.items():
        if missing := [way for way in wanted if way not in answered.get((task, path), ())]:
            waiting.setdefault(",".join(missing), []).extend(("--task", f"{task}={path}" if path else task))
    return [(*words, "--directions", missing) for missing, words in waiting.items()]


def _ask(folder: Place, question: Question, free: queue.SimpleQueue[frozenset[int]]) -> str | None:
    """One checkpoint in a process of its own; returns the last line of its error, if any."""
    words = ["evaluate", str(folder / RUNS / question.run), "--step", str(question.step), *question.words]
    cores = free.get()
    try:
        done = subprocess.run(
            child.command(cores, words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    finally:
        free.put(cores)
    objects.write_text(
        folder / LOGS / f"{question.run}-{question.step}-evaluate-{question.words[0].lstrip('-')}.log",
        done.stdout + done.stderr,
    )
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
