"""States of runs, from made-up run directories."""

import json
import os
import platform
import time

import pytest

from lst_jax.jobs.sweeps import status
from lst_jax.jobs.sweeps.trials import Trial

TRIAL = Trial("a", "base", "recipe.py", (), None, "0" * 16, 1000, 8, 1e4, 1e9, "made-up records")


def make_run(folder, steps=3, host=None, pid=None, age_sec=0.0, evaluated=False, saved=()):
    run = folder / "a"
    (run / "checkpoints").mkdir(parents=True)
    for step in saved:
        (run / "checkpoints" / f"{step:08d}").mkdir()
    (run / "starts.jsonl").write_text(json.dumps({"host": host or platform.node(), "pid": pid or os.getpid()}) + "\n")
    records = [{"step": s, "kind": "train", "loss": 9.0 - s} for s in range(1, steps + 1)]
    records += [{"step": steps, "kind": "eval"}] if evaluated else []
    (run / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    (run / "ledger.jsonl").write_text("")
    for path in (run / "ledger.jsonl", run / "starts.jsonl", run):
        os.utime(path, (time.time() - age_sec,) * 2)


def state(folder):
    (found,) = status.status_of(folder, [TRIAL])
    return found.state


def test_a_run_without_a_directory_is_missing(tmp_path):
    assert state(tmp_path) == "missing"
    assert status.status_of(tmp_path, [TRIAL])[0].loss is None


def test_a_run_whose_process_lives_and_writes_is_running(tmp_path):
    make_run(tmp_path)
    (found,) = status.status_of(tmp_path, [TRIAL])
    assert (found.state, found.step, found.starts, found.loss) == ("running", 3, 1, 6.0)


@pytest.mark.parametrize("options", [{"pid": 2**22 - 3}, {"age_sec": 600.0}, {"host": "elsewhere", "age_sec": 600.0}])
def test_a_run_whose_process_is_gone_or_silent_is_preempted(tmp_path, options):
    make_run(tmp_path, **options)
    assert state(tmp_path) == "preempted"


def test_a_process_of_another_machine_is_known_by_what_it_writes(tmp_path):
    make_run(tmp_path, host="elsewhere", pid=2**22 - 3)
    assert state(tmp_path) == "running"


@pytest.mark.parametrize(
    "evaluated, saved, expected", [(True, (8,), "done"), (False, (8,), "preempted"), (True, (4,), "preempted")]
)
def test_done_is_trained_evaluated_and_saved(tmp_path, evaluated, saved, expected):
    make_run(tmp_path, steps=8, evaluated=evaluated, saved=saved, pid=2**22 - 3)
    assert state(tmp_path) == expected


def test_the_summary_counts_each_state(tmp_path):
    make_run(tmp_path)
    found = status.status_of(tmp_path, [TRIAL]) + status.status_of(tmp_path / "none", [TRIAL])
    assert status.summary(found) == "1 running, 1 missing of 2 runs"
