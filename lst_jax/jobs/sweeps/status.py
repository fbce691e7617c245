"""How far the runs of a sweep are, from their directories alone."""

import dataclasses
import datetime
import os
import platform
from collections.abc import Sequence
from typing import Literal

from lst_jax.core import json_files
from lst_jax.jobs.sweeps.trials import Trial
from lst_jax.runs.directory import RunDirectory
from lst_jax.storage import claim, objects
from lst_jax.storage.place import Place

RUNS = "runs"  # of a sweep's folder
STATES = ("done", "running", "preempted", "missing")
FIX = "remove the line"
QUIET_SEC = 120.0  # a run that has written nothing for so long does not run; its ledger has a line every ten seconds


@dataclasses.dataclass(frozen=True)
class Status:
    """One run: done (trained, evaluated and saved), running, preempted (begun, not running), or missing."""

    trial: Trial
    state: Literal["done", "running", "preempted", "missing"]
    step: int
    starts: int
    loss: float | None  # of the last record


def status_of(runs: Place, trials: Sequence[Trial]) -> list[Status]:
    """Of each trial, whose run directory is `runs`/NAME."""
    return [_status(RunDirectory(runs / trial.name), trial) for trial in trials]


def _status(run: RunDirectory, trial: Trial) -> Status:
    starts = run.read_starts()
    records = run.read_metrics() if starts else []
    trained = [r for r in records if r["kind"] == "train"]
    if trained:
        json_files.check_fields(trained[-1], {"loss": float}, f"{run.metrics_path}: step {trained[-1]['step']}", FIX)
    step, loss = (trained[-1]["step"], trained[-1]["loss"]) if trained else (0, None)
    if not objects.exists(run.path):
        state = "missing"
    elif is_done(run, trial.steps, records):
        state = "done"
    else:
        state = "running" if _runs(run, starts) else "preempted"
    return Status(trial, state, step, len(starts), loss)


def is_done(run: RunDirectory, steps: int, records: Sequence[dict]) -> bool:
    """Whether the last step is evaluated and saved."""
    return run.has_checkpoint(steps) and any(r["kind"] == "eval" and r["step"] == steps for r in records)


def _runs(run: RunDirectory, starts: Sequence[dict]) -> bool:
    """Whether its process lives; of another machine, or before its first start is written, whether it wrote lately."""
    if run.in_segments:
        return claim.is_alive(run.starts_segments)
    if starts and starts[-1]["host"] == platform.node() and not alive(starts[-1]["pid"]):
        return False
    written = [path.stat().st_mtime for path in (run.ledger_path, run.starts_path, run.path) if path.exists()]
    return datetime.datetime.now().timestamp() - max(written) < QUIET_SEC


def has_process(run: RunDirectory) -> bool:
    """Whether the process that began the run last is on this machine and lives."""
    if run.in_segments:
        return claim.is_here(run.starts_segments)
    starts = run.read_starts()
    return bool(starts) and starts[-1]["host"] == platform.node() and alive(starts[-1]["pid"])


def alive(pid: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # gone, or a number that no process has
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def summary(found: Sequence[Status]) -> str:
    """Example: "5 done, 1 running, 2 missing of 8 runs"."""
    counts = {state: sum(s.state == state for s in found) for state in STATES}
    return ", ".join(f"{n} {state}" for state, n in counts.items() if n) + f" of {len(found)} runs"
