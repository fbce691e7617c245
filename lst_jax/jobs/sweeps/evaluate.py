"""`lst sweep evaluate`: asks the finished runs of a sweep the same tasks, several runs at a time."""

import concurrent.futures
import queue
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from tqdm import tqdm

from lst_jax.checkpoints.steps import whole_steps
from lst_jax.evals.records import store
from lst_jax.evals.records.choices import ChoicesRecord
from lst_jax.evals.run_tasks import parse
from lst_jax.jobs.sweeps import child
from lst_jax.jobs.sweeps.local import LOGS, shares
from lst_jax.jobs.sweeps.status import RUNS, status_of
from lst_jax.jobs.sweeps.trials import Trial, read_sweep
from lst_jax.runs.directory import RunDirectory
from lst_jax.storage import objects
from lst_jax.storage.place import Place


class Question(NamedTuple):
    """Tasks that a run was not asked yet at one of its checkpoints."""

    run: str
    step: int
    tasks: tuple[tuple[str, str | None], ...]


def evaluate_all(
    folder: Place, specs: Sequence[str], directions: str | None, jobs: int, each_checkpoint: bool = False
) -> dict[str, str]:
    """Evaluates every run that is done on each `NAME=PATH` that it was not asked yet, `jobs` runs at a time.

    A run is asked at its last step; with `each_checkpoint` at every step that it has kept. What was asked is known by
    the task's name, path and directions, and the step. The records lie in the runs, as `lst evaluate` writes them.
    Returns: the last line of what went wrong, by run. Raises: ConfigError where a task is not NAME=PATH.
    """
    named = parse(specs)
    waiting = [
        question
        for found in status_of(folder / RUNS, read_sweep(folder).trials)
        if found.state == "done"
        for question in _open_questions(
            folder / RUNS / found.trial.name, found.trial, named, directions, each_checkpoint
        )
    ]
    free: queue.SimpleQueue[frozenset[int]] = queue.SimpleQueue()
    for cores in shares(jobs):
        free.put(cores)
    failed = {}
    with (
        concurrent.futures.ThreadPoolExecutor(jobs) as pool,
        tqdm(total=len(waiting), desc="asked", unit="checkpoint") as bar,
    ):
        asked = {pool.submit(_ask, folder, question, directions, free): question.run for question in waiting}
        try:
            for future in concurrent.futures.as_completed(asked):
                if error := future.result():
                    failed[asked[future]] = error
                bar.update()
        finally:  # also at Ctrl-C: no further run begins
            pool.shutdown(wait=False, cancel_futures=True)
    return failed


def _open_questions(
    run: Place,
    trial: Trial,
    named: Sequence[tuple[str, str | None]],
    directions: str | None,
    each_checkpoint: bool,
) -> list[Question]:
    answered = {
        (one.step, one.task, one.path): {result.direction for result in one.results}
        for one in store.read(run).records
        if isinstance(one, ChoicesRecord) and one.config_hash == trial.config_hash
    }
    wanted = set(directions.split(",")) if directions else set()
    steps = whole_steps(RunDirectory(run).checkpoints_path) if each_checkpoint else [trial.steps]
    found = []
    for step in steps:
        asked = {one: answered.get((step, *one)) for one in named}
        tasks = tuple(one for one, ways in asked.items() if ways is None or not wanted <= ways)
        found += [Question(trial.name, step, tasks)] if tasks else []
    return found


def _ask(
    folder: Place, question: Question, directions: str | None, free: queue.SimpleQueue[frozenset[int]]
) -> str | None:
    """One checkpoint in a process of its own; returns the last line of its error, if any."""
    asked = [word for task, path in question.tasks for word in ("--task", f"{task}={path}" if path else task)]
    words = ["evaluate", str(folder / RUNS / question.run), "--step", str(question.step), *asked]
    words += ["--directions", directions] if directions else []
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
    objects.write_text(folder / LOGS / f"{question.run}-{question.step}-evaluate.log", done.stdout + done.stderr)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
