"""What is beside a run never ends it: a real `lst train` whose terminal is gone and whose TensorBoard disk is full."""

import subprocess
import sys
import unittest.mock

import pytest
import small_disk
import training_run

from lst_jax.runs.directory import RunDirectory
from lst_jax.runs.ledger import Ledger
from lst_jax.train import loop
from lst_jax.train.recorder import Recorder


@pytest.mark.parametrize("line", ['"$@" 2>&1 | true; exit ${PIPESTATUS[0]}'])
def test_training_ends_as_ever_without_a_terminal_and_without_tensorboard(line, tmp_path):
    training_run.make_data(tmp_path)
    run = RunDirectory(tmp_path / "run")
    run.write_config(training_run.make_base_config(tmp_path, steps=4))
    with small_disk.mounted(run.tensorboard_path, 4):
        command = ["bash", "-c", line, "bash", sys.executable, "-m", "lst_jax", "train", str(run.path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [r["step"] for r in run.read_metrics() if r["kind"] == "train"] == [1, 2, 3, 4]
    assert run.checkpoint_path(4).is_dir()


def test_records_are_on_the_disk_before_a_checkpoint_can_be_seen(monkeypatch):
    order = unittest.mock.Mock()
    session, recorder, ledger = (unittest.mock.MagicMock(spec=kind) for kind in (loop.Session, Recorder, Ledger))
    session.config, session.mesh, session.state = unittest.mock.MagicMock(), None, None
    session.checkpoints, session.stream = order.checkpoints, unittest.mock.MagicMock()
    order.attach_mock(recorder, "recorder")
    order.attach_mock(ledger.sync, "ledger")
    monkeypatch.setattr(loop.processes, "gather_rows", lambda *_: None)
    monkeypatch.setattr(loop, "identity", lambda _: {})
    monkeypatch.setattr(loop, "config_hash", lambda _: "")
    loop.save(session, None, recorder, ledger)
    assert [name for name, *_ in order.mock_calls] == ["recorder.flush", "recorder.sync", "ledger", "checkpoints.save"]
