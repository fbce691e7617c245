"""Records reach services beside TensorBoard, whose failures never end a run; real clients write into files, offline."""

import importlib.util
import threading
import time

import pytest
import reported_run

from lst_jax.core.errors import ConfigError
from lst_jax.recipes.load import load_recipe
from lst_jax.runs.metrics import MetricsWriter
from lst_jax.runs.trackers import registry
from lst_jax.runs.trackers.aside import Aside


class Listed:
    """A tracker that remembers."""

    def __init__(self, fail_at=None):
        self.added, self.closed, self.fail_at = [], False, fail_at

    def add(self, step, values):
        if step == self.fail_at:
            raise RuntimeError("the service is broken\nby many lines")
        self.added.append((step, values))

    def close(self):
        self.closed = True


def write(run, aside, steps=(1, 2, 3)):
    writer = MetricsWriter(run, 0, trackers=[aside])
    for step in steps:
        writer.write(step, "train", {"loss": 5.0 - step, "reason": "words are no numbers"})
    writer.sync()
    writer.close()
    return [record["step"] for record in run.read_metrics()]


def test_a_tracker_gets_the_numbers_of_every_record(tmp_path):
    tracker = Listed()
    assert write(reported_run.make(tmp_path / "run"), Aside("listed", lambda: tracker)) == [1, 2, 3]
    assert tracker.added == [(step, {"train/loss": 5.0 - step}) for step in (1, 2, 3)] and tracker.closed


def test_a_tracker_that_fails_costs_one_line(tmp_path, capfd):
    assert write(reported_run.make(tmp_path / "a"), Aside("broken", lambda: Listed(fail_at=2))) == [1, 2, 3]
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("broken: gets no more records of this start (RuntimeError: the service is broken)")
    assert write(reported_run.make(tmp_path / "b"), Aside("closed", lambda: 1 / 0)) == [1, 2, 3]
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_tracker_that_hangs_holds_nothing_up(tmp_path, capfd):
    released = threading.Event()
    began = time.monotonic()
    write(reported_run.make(tmp_path / "run"), Aside("hanging", released.wait, close_sec=0.2))
    assert time.monotonic() - began < 20
    assert "hanging: gets no more records" in capfd.readouterr().err
    released.set()


def test_unknown_names_and_missing_packages_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match="train.trackers='comet': 'comet' is none of wandb, mlflow"):
        registry.names_of("comet")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'lst_jax\[wandb\]'"):
        registry.names_of("wandb")
    assert registry.names_of("") == []


def config_with(name):
    return load_recipe("configs/demo.py", [f"train.trackers={name}"])


def test_weights_and_biases_writes_its_files_offline_under_one_id(tmp_path, monkeypatch, capfd):
    pytest.importorskip("wandb", reason="wandb, of the extra wandb, is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = reported_run.make(tmp_path / "run")
    for _ in range(2):
        (aside,) = registry.open_all(run.path, config_with("wandb"))
        write(run, aside)
    found = sorted(path.name for path in run.path.glob("trackers/wandb/offline-run-*/*.wandb"))
    assert len(found) == 2 and set(found) == {f"run-{(run.path / registry.ID_FILE).read_text()}.wandb"}
    assert "gets no more records" not in capfd.readouterr().err


def test_weights_and_biases_without_a_key_costs_one_line_and_asks_nobody(tmp_path, monkeypatch, capfd):
    pytest.importorskip("wandb", reason="wandb, of the extra wandb, is not installed")
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    run = reported_run.make(tmp_path / "run")
    (aside,) = registry.open_all(run.path, config_with("wandb"))
    assert write(run, aside) == [1, 2, 3]
    assert "wandb: gets no more records of this start (ValueError: there is no key" in capfd.readouterr().err


def test_mlflow_has_every_number_and_goes_on_with_its_run(tmp_path, monkeypatch, capfd):
    mlflow = pytest.importorskip("mlflow", reason="mlflow, of the extra mlflow, is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "server").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    run = reported_run.make(tmp_path / "run")
    for steps in ((1, 2), (3,)):
        (aside,) = registry.open_all(run.path, config_with("mlflow"))
        write(run, aside, steps)
    assert "gets no more records" not in capfd.readouterr().err
    client = mlflow.MlflowClient()
    (experiment,) = (e for e in client.search_experiments() if e.name == "lst_jax")
    (tracked,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(tracked.info.run_id, "train/loss")
    assert [(one.step, one.value) for one in history] == [(1, 4.0), (2, 3.0), (3, 2.0)]
    assert tracked.data.params["train.steps"] == "450"
