"""Records and what is beside them: TensorBoard that cannot be written costs a warning, missing records are said."""

import json
import os

import pytest
import reported_run
import small_disk

from lst_jax.core import files
from lst_jax.core.errors import StorageError
from lst_jax.runs import metrics, tensorboard
from lst_jax.runs.directory import RunDirectory
from lst_jax.runs.ledger import Ledger
from lst_jax.runs.lines import FileLines, NoLines
from lst_jax.runs.metrics import MetricsWriter

VALUES = {f"value_{i}": float(i) for i in range(40)}


def test_a_full_disk_under_tensorboard_costs_one_warning(tmp_path, capsys):
    """The library's own writer waits for ever after eleven records, as its thread is dead."""
    run = RunDirectory(tmp_path / "run")
    with small_disk.mounted(run.tensorboard_path, 64):
        writer = MetricsWriter(run, 0)
        for step in range(1, 301):
            writer.write(step, "train", VALUES)
        writer.close()
    assert [record["step"] for record in run.read_metrics()] == list(range(1, 301))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "tensorboard: cannot write for TensorBoard (No space left on device); the run goes on without it" in said


@pytest.mark.parametrize("what", ["write", "close", "open", "folder"])
def test_any_failure_of_the_file_system_costs_one_warning(what, tmp_path, capsys, monkeypatch):
    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    folder = tmp_path / "tensorboard"
    if what == "folder":
        folder.write_text("a file in its place")
    if what == "open":
        monkeypatch.setattr(tensorboard.pathlib.Path, "open", fail)
    events = tensorboard.EventFile(folder, [{"step": 1, "kind": "train", **VALUES}])
    if what in ("write", "close"):
        events._file.close()
        events._file = type("Broken", (), {"write": fail, "close": fail})()
    if what != "close":
        events.add({"step": 2, "kind": "train", **VALUES})
        events.add({"step": 3, "kind": "train", **VALUES})
    events.close()
    events.close()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "the run goes on without it" in said


def test_records_that_are_missing_before_a_checkpoint_are_said(tmp_path):
    run = reported_run.make(tmp_path / "run")
    every = run.load_config().train.log_every
    run.metrics_path.write_text("".join(json.dumps({"step": n * every, "kind": "train"}) + "\n" for n in range(1, 4)))
    for step in (0, 1, every, 3 * every, 4 * every - 1):
        assert metrics.missing_before(run, step) is None
    line = metrics.missing_before(run, 6 * every)
    assert f"metrics.jsonl: the records of steps {3 * every + 1} to {6 * every} are missing" in line
    run.metrics_path.unlink()
    assert f"steps 1 to {every} are missing" in metrics.missing_before(run, every)


def test_records_and_ledger_are_synced_to_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    run = RunDirectory(tmp_path / "run")
    writer = MetricsWriter(run, 0)
    with Ledger(FileLines(run.ledger_path), 0, 0.0) as ledger:
        synced.clear()
        writer.write(1, "train", VALUES)
        writer.sync()
        ledger.sync()
    writer.close()
    assert synced == [str(run.metrics_path), str(run.ledger_path)]
    with Ledger(NoLines(), 0, 0.0) as ledger:
        ledger.sync()  # of a process that writes no ledger


def test_a_disk_that_fails_when_it_is_synced_is_one_line(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(5, "Input/output error")

    run = RunDirectory(tmp_path / "run")
    writer = MetricsWriter(run, 0)
    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(StorageError, match="metrics.jsonl: cannot write \\(Input/output error\\)"):
        writer.sync()
    writer.close()
