"""`lst sweep evaluate`: asks the finished runs of a sweep the same tasks, several at a time."""

import concurrent.futures
import queue
import subprocess
from collections.abc import Sequence

from tqdm import tqdm

from lst_jax.evals.records import store
from lst_jax.evals.records.choices import ChoicesRecord
from lst_jax.evals.run_tasks import parse
from lst_jax.jobs.sweeps import child
from lst_jax.jobs.sweeps.local import LOGS, shares
from lst_jax.jobs.sweeps.status import RUNS, status_of
from lst_jax.jobs.sweeps.trials import Trial, read_sweep
from lst_jax.storage import objects
from lst_jax.storage.place import Place


def evaluate_all(folder: Place, specs: Sequence[str], directions: str | None, jobs: int) -> dict[str, str]:
    """Evaluates every run that is done on each `NAME=PATH` that it was not asked yet, `jobs` runs at a time.

    What was asked is known by the task's name, path and directions, and the run's last step. The records lie in the
    runs, as `lst evaluate` writes them.
    Returns: the last line of what went wrong, by run. Raises: ConfigError where a task is not NAME=PATH.
    """
    named = parse(specs)
    done = [s.trial for s in status_of(folder / RUNS, read_sweep(folder).trials) if s.state == "done"]
    missing = {trial.name: _not_asked(folder / RUNS / trial.name, trial, named, directions) for trial in done}
    waiting = [name for name, tasks in missing.items() if tasks]
    free: queue.SimpleQueue[frozenset[int]] = queue.SimpleQueue()
    for cores in shares(jobs):
        free.put(cores)
    failed = {}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool, tqdm(total=len(waiting), desc="asked", unit="run") as bar:
        asked = {pool.submit(_ask, folder, name, missing[name], directions, free): name for name in waiting}
        try:
            for future in concurrent.futures.as_completed(asked):
                if error := future.result():
                    failed[asked[future]] = error
                bar.update()
        finally:  # also at Ctrl-C: no further run begins
            pool.shutdown(wait=False, cancel_futures=True)
    return failed


def _not_asked(
    run: Place, trial: Trial, named: Sequence[tuple[str, str | None]], directions: str | None
) -> list[tuple[str, str | None]]:
    answered = {
        (one.task, one.path): {result.direction for result in one.results}
        for one in store.read(run).records
        if isinstance(one, ChoicesRecord) and one.step == trial.steps and one.config_hash == trial.config_hash
    }
    wanted = set(directions.split(",")) if directions else set()
    return [one for one in named if one not in answered or not wanted <= answered[one]]


def _ask(
    folder: Place,
    name: str,
    tasks: Sequence[tuple[str, str | None]],
    directions: str | None,
    free: queue.SimpleQueue[frozenset[int]],
) -> str | None:
    """One run in a process of its own; returns the last line of its error, if any."""
    asked = [word for task, path in tasks for word in ("--task", f"{task}={path}" if path else task)]
    words = ["evaluate", str(folder / RUNS / name), *asked, *(["--directions", directions] if directions else [])]
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
    objects.write_text(folder / LOGS / f"{name}-evaluate.log", done.stdout + done.stderr)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
