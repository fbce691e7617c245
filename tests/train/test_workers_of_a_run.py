"""A run whose rows are made by several processes learns the same, and ends with them."""

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import training_run
from test_train import learned

from lst_jax.runs.directory import RunDirectory
from lst_jax.train import loop

pytestmark = pytest.mark.slow  # tests/data/test_workers.py holds the same of the stream alone
ROOT = pathlib.Path(__file__).parents[2]
WORKER = b"lst_jax.data.workers"


def with_workers(config, workers, **train):
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, workers=workers),
        train=dataclasses.replace(config.train, **train),
    )


def children(pid: int) -> list[int]:
    """The workers of a process."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and WORKER in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def test_losses_are_those_of_one_process(data, tmp_path):
    config = training_run.make_config(data)
    runs = [RunDirectory(tmp_path / name) for name in ("one", "two")]
    assert loop.train(runs[0], config) == 0
    assert loop.train(runs[1], with_workers(config, 2)) == 0
    assert learned(runs[1].path) == learned(runs[0].path)
    assert children(os.getpid()) == []


def test_a_killed_worker_ends_the_command_with_one_line_and_no_process_is_left(data, tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.write_config(with_workers(training_run.make_config(data), 2, steps=100_000))
    command = [sys.executable, "-m", "lst_jax", "train", str(run.path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (run.path / "metrics.jsonl").is_file() or len(workers := children(process.pid)) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(workers[1], signal.SIGKILL)
    errors = process.communicate(timeout=120)[1].splitlines()
    assert process.returncode == 42, errors
    assert "data.workers=2: worker 1" in errors[-1] and "signal 9 (SIGKILL)" in errors[-1]
    assert not any("Traceback" in line for line in errors)
    assert not any(pathlib.Path("/proc", str(pid)).exists() for pid in workers)
