"""Runs a sweep on this machine: several `lst train` at a time, each on cores of its own, until all are done.

The runs are ordinary run directories, so that the same command goes on after any stop. A run that ends by a signal, or
asks to be started again (`launch.job.restarts`), is started again. A run that needs a person is left, and named at the
end. Runs of the same shapes share their compiled programs through JAX's persistent cache in the sweep's folder.
"""

import collections
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tqdm import tqdm

from lst_jax.core import files
from lst_jax.core.signals import StopRequest
from lst_jax.jobs.launch.job import restarts
from lst_jax.jobs.sweeps.status import RUNS, Status, has_process, status_of
from lst_jax.jobs.sweeps.trials import Trial
from lst_jax.runs.directory import RunDirectory

LOGS, CACHE = "logs", "cache"
MOST_RESTARTS = 5  # of one run by one command
POLL_SEC = 1.0


class Running(NamedTuple):
    """A run that is going on."""

    trial: Trial
    process: subprocess.Popen
    cores: frozenset[int]


class Outcome(NamedTuple):
    """What became of the runs: those that a person must look at, with their exit codes, and whether all was stopped."""

    failed: dict[str, int]
    stopped: bool


def run_all(folder: pathlib.Path, trials: Sequence[Trial], jobs: int) -> Outcome:
    """Trains all that are not done, the costliest first, `jobs` at a time.

    Raises: BusyError where another command runs this sweep.
    """
    stopping = StopRequest("stopping all runs, saved")
    before = status_of(folder / RUNS, trials)
    with files.exclusive_lock(folder, "lst sweep run"), stopping as stop, _progress(before) as progress:
        waiting = [s.trial for s in before if s.state != "done"]
        waiting.sort(key=lambda trial: trial.flops)
        free, running, done = _shares(jobs), [], [trial for trial in trials if trial not in waiting]
        failed: dict[str, int] = {}
        starts = collections.Counter()
        try:
            while running or (waiting and not stop.requested):
                while free and not stop.requested and (trial := _next(folder, waiting)):
                    waiting.remove(trial)
                    starts[trial.name] += 1
                    running.append(_start(folder, trial, free.pop()))
                _wait(running, stop)
                for run in [r for r in running if r.process.poll() is not None]:
                    running.remove(run)
                    free.append(run.cores)
                    code = _exit_code(run.process.returncode)
                    again = restarts(code) and starts[run.trial.name] <= MOST_RESTARTS
                    if not code:
                        done.append(run.trial)
                    elif again and not stop.requested:
                        waiting.append(run.trial)
                    elif not (stop.requested and restarts(code)):
                        failed[run.trial.name] = code
                _show(progress, folder, done, running, failed)
        finally:  # also at a second signal
            for run in running:
                run.process.kill()
    return Outcome(failed, stop.requested)


def _next(folder: pathlib.Path, waiting: Sequence[Trial]) -> Trial | None:
    """The costliest that no process is at work on: one whose sweep was killed may still be saving."""
    return next(
        (trial for trial in reversed(waiting) if not has_process(RunDirectory(folder / RUNS / trial.name))), None
    )


def _exit_code(code: int) -> int:
    """As shells count: 128 and the number of the signal that ended it. Example: -9 -> 137."""
    return code if code >= 0 else 128 - code


def _wait(running: Sequence[Running], stop: StopRequest) -> None:
    """Returns after a moment; once a stop is asked for, when all runs have saved and ended."""
    time.sleep(POLL_SEC)
    if stop.requested:
        for run in running:
            run.process.send_signal(signal.SIGTERM)
        for run in running:
            run.process.wait()


def _start(folder: pathlib.Path, trial: Trial, cores: frozenset[int]) -> Running:
    """Starts or continues a run on its cores, its output in the sweep's logs."""
    log = folder / LOGS / f"{trial.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    changes = [word for change in trial.changes for word in ("--set", change)]
    words = [
        sys.executable,
        "-m",
        "lst_jax.jobs.sweeps.child",
        ",".join(map(str, sorted(cores))),
        str(os.getpid()),
        "train",
        str(folder / RUNS / trial.name),
        "--config",
        trial.recipe,
        *changes,
    ]
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str((folder / CACHE).absolute())}
    with open(log, "ab") as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, start_new_session=True
        )
    return Running(trial, process, cores)


def _shares(jobs: int) -> list[frozenset[int]]:
    """This machine's cores in `jobs` equal parts; empty ones where it cannot bind processes to cores."""
    if not hasattr(os, "sched_setaffinity"):
        return [frozenset()] * jobs
    cores = sorted(os.sched_getaffinity(0))
    if jobs > len(cores):
        return [frozenset(cores)] * jobs
    size = len(cores) // jobs
    return [frozenset(cores[i * size : (i + 1) * size]) for i in range(jobs)]


def _progress(before: Sequence[Status]) -> tqdm:
    layout = "{l_bar}{bar}| {n:.2f} of {total:.2f} TFLOP [{elapsed}<{remaining}{postfix}]"
    return tqdm(
        total=sum(s.trial.flops for s in before) / 1e12,
        initial=sum(map(_flops, before)) / 1e12,
        desc="sweep",
        bar_format=layout,
        mininterval=1 if sys.stderr.isatty() else 20,
        miniters=0,
    )


def _flops(found: Status) -> float:
    """FLOPs that a run has done, about."""
    return found.trial.flops * min(1.0, found.step / found.trial.steps)


def _show(
    progress: tqdm, folder: pathlib.Path, done: Sequence[Trial], running: Sequence[Running], failed: Collection[str]
) -> None:
    found = status_of(folder / RUNS, [run.trial for run in running])
    flops = sum(trial.flops for trial in done) + sum(map(_flops, found))
    words = [f"{len(done)} runs done", *(f"{s.trial.name} at {s.step}/{s.trial.steps}" for s in found)]
    progress.set_postfix_str("; ".join([*words, f"{len(failed)} failed"] if failed else words), refresh=False)
    progress.update(flops / 1e12 - progress.n)
