"""Runs a sweep on this machine: several `lst train` at a time, each on cores of its own, until all are done.

The runs are ordinary run directories: whatever is stopped or killed, the same command goes on. A run that ends by a
signal, or asks to be started again (`launch.job.restarts`), is started again. A run that needs a person is left and
named at the end, and so are its branches. A branch waits for its trunk's checkpoint, not for the trunk's end.
Runs of the same shapes share their compiled programs through JAX's persistent cache in the sweep's folder.
"""

import collections
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from tqdm import tqdm

from lst_jax.core import files
from lst_jax.core.signals import StopRequest
from lst_jax.jobs.launch.job import restarts
from lst_jax.jobs.sweeps import child
from lst_jax.jobs.sweeps.status import RUNS, Status, has_process, status_of
from lst_jax.jobs.sweeps.trials import Trial
from lst_jax.runs.directory import RunDirectory
from lst_jax.storage import claim, objects
from lst_jax.storage.place import Place

LOGS, CACHE, CLAIMS = "logs", "cache", "claims"
COMMAND = "lst sweep run"  # what messages call it
MOST_RESTARTS = 5  # of one run by one command
POLL_SEC = 1.0


class Running(NamedTuple):
    """A run that is being trained."""

    trial: Trial
    process: subprocess.Popen
    cores: frozenset[int]


class Outcome(NamedTuple):
    """The runs that a person must look at, with their exit codes, and whether the sweep was stopped."""

    failed: dict[str, int]
    stopped: bool


class Folder(NamedTuple):
    """A sweep's folder, and the folder of this machine for logs and compiled programs: the same one, or scratch."""

    place: Place
    here: pathlib.Path

    @property
    def runs(self) -> Place:
        """Where its runs lie."""
        return self.place / RUNS


@contextlib.contextmanager
def opened(place: Place) -> Iterator[Folder]:
    """Keeps other commands from running this sweep. Raises: BusyError, StorageError."""
    if isinstance(place, pathlib.Path):
        with files.exclusive_lock(place, COMMAND):
            yield Folder(place, place)
        return
    with claim.held(place / CLAIMS, COMMAND), objects.scratch("sweep") as here:
        yield Folder(place, pathlib.Path(here))


def run_all(place: Place, trials: Sequence[Trial], jobs: int) -> Outcome:
    """Trains all that are not done, `jobs` at a time: the costliest first, trunks before what branches off them.

    Raises: BusyError where another command runs this sweep.
    """
    stopping = StopRequest("stopping all runs, saved")
    before = status_of(place / RUNS, trials)
    with opened(place) as folder, stopping as stop, _progress(before) as progress:
        waiting = [s.trial for s in before if s.state != "done"]
        waiting.sort(key=lambda trial: trial.flops * trial.own_share)
        free, running, done = shares(jobs), [], [trial for trial in trials if trial not in waiting]
        failed: dict[str, int] = {}
        starts = collections.Counter()
        try:
            while running or (waiting and not stop.requested):
                while (
                    free and not stop.requested and (trial := _next(folder, waiting, {r.trial.name for r in running}))
                ):
                    waiting.remove(trial)
                    starts[trial.name] += 1
                    running.append(_start(folder, trial, free.pop()))
                _wait(running, stop)
                for run in [r for r in running if r.process.poll() is not None]:
                    running.remove(run)
                    free.append(run.cores)
                    _keep_log(folder, run.trial)
                    code = _exit_code(run.process.returncode)
                    again = restarts(code) and starts[run.trial.name] <= MOST_RESTARTS
                    if not code:
                        done.append(run.trial)
                    elif again and not stop.requested:
                        waiting.append(run.trial)
                    elif not (stop.requested and restarts(code)):
                        failed[run.trial.name] = code
                        failed |= _drop_branches(folder, waiting, run.trial, code)
                _show(progress, folder, done, running, failed)
        finally:  # also at a second signal
            for run in running:
                run.process.kill()
    return Outcome(failed, stop.requested)


def _next(folder: Folder, waiting: Sequence[Trial], running: Collection[str]) -> Trial | None:
    """The costliest that can start: its trunk's checkpoint is there, and no process of a killed sweep is still saving.

    Args: `running` are the names of the runs that this sweep trains now.
    """
    unfinished = {trial.name for trial in waiting} | set(running)
    for trial in reversed(waiting):
        ready = trial.trunk not in unfinished or _has_trunk(folder, trial)
        if ready and not has_process(RunDirectory(folder.runs / trial.name)):
            return trial
    return None


def _has_trunk(folder: Folder, trial: Trial) -> bool:
    """Whether the checkpoint is there that the run branches off; a run of its own needs none."""
    return trial.trunk is None or RunDirectory(folder.runs / trial.trunk).has_checkpoint(trial.branch_step)


def _drop_branches(folder: Folder, waiting: list[Trial], trunk: Trial, code: int) -> dict[str, int]:
    """Takes the branches out of `waiting` whose trunk failed before it saved their checkpoint; they fail with it."""
    lost = [trial for trial in waiting if trial.trunk == trunk.name and not _has_trunk(folder, trial)]
    for trial in lost:
        waiting.remove(trial)
    return {trial.name: code for trial in lost}


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


def _keep_log(folder: Folder, trial: Trial) -> None:
    """Copies the log of a run that has ended to the sweep's bucket."""
    if folder.here != folder.place:
        name = f"{trial.name}.log"
        objects.upload(folder.here / LOGS / name, folder.place / LOGS / name)


def _start(folder: Folder, trial: Trial, cores: frozenset[int]) -> Running:
    """Starts or continues a run on its cores, its output in the sweep's logs."""
    log = folder.here / LOGS / f"{trial.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    changes = [word for change in trial.changes_in(folder.runs) for word in ("--set", change)]
    place = str(folder.runs / trial.name)
    words = child.command(cores, ["train", place, "--config", trial.recipe, *changes])
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str((folder.here / CACHE).absolute())}
    with open(log, "ab") as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, start_new_session=True
        )
    return Running(trial, process, cores)


def shares(jobs: int) -> list[frozenset[int]]:
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
        total=sum(s.trial.flops * s.trial.own_share for s in before) / 1e12,
        initial=sum(map(_flops, before)) / 1e12,
        desc="sweep",
        bar_format=layout,
        mininterval=1 if sys.stderr.isatty() else 20,
        miniters=0,
    )


def _flops(found: Status) -> float:
    """About the FLOPs that a run has done itself."""
    trial = found.trial
    steps = min(max(0, found.step - trial.branch_step), trial.steps - trial.branch_step)
    return trial.flops * steps / trial.steps


def _show(
    progress: tqdm, folder: Folder, done: Sequence[Trial], running: Sequence[Running], failed: Collection[str]
) -> None:
    found = status_of(folder.runs, [run.trial for run in running])
    flops = sum(trial.flops * trial.own_share for trial in done) + sum(map(_flops, found))
    words = [f"{len(done)} runs done", *(f"{s.trial.name} at {s.step}/{s.trial.steps}" for s in found)]
    progress.set_postfix_str("; ".join([*words, f"{len(failed)} failed"] if failed else words), refresh=False)
    progress.update(flops / 1e12 - progress.n)
