"""`lst doctor`: one line a finding, the fix in the line, and exit code 1 where a job would fail."""

import collections
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import time

import pytest
import training_run

from lst_jax.bench.slow_bucket import free_port
from lst_jax.cli.main import main
from lst_jax.data import shards
from lst_jax.doctor import clocks, host, places
from lst_jax.storage import bucket

Usage = collections.namedtuple("Usage", "total used free")


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe over made-up records, which `--config any.py` names."""
    training_run.make_data(tmp_path)
    config = training_run.make_config(tmp_path)
    monkeypatch.setattr("lst_jax.recipes.load.load_recipe", lambda reference, changes: config)
    return config


def examined(capsys, *words) -> tuple[int, list[str]]:
    """The exit code and the lines."""
    code = main(["doctor", *words])
    return code, capsys.readouterr().out.splitlines()


def test_a_healthy_machine_has_only_good_findings_and_nothing_is_left_behind(tmp_path, recipe, capsys):
    before = sorted(tmp_path.rglob("*"))
    code, lines = examined(capsys, "--run", str(tmp_path / "runs" / "a"), "--config", "any.py")
    assert code == 0 and not [line for line in lines if line.startswith("fail")], lines
    assert sorted(tmp_path.rglob("*")) == before
    text = "\n".join(lines)
    assert re.search(rf"ok +{tmp_path}/runs/a: written with \d+ MB/s, read with \d+ MB/s, deleted", text)
    assert "12 records that fit the recipe" in text and "20 records that fit the recipe" in text
    assert re.search(r"ok +disk of .*checkpoints take about", text) and re.search(r"devices: \d+ x cpu, JAX \d", text)


def test_a_missing_bucket_is_said_with_its_fix(monkeypatch, capsys):
    class NoBucket:
        def pipe_file(self, key, content, **options):
            raise FileNotFoundError(key)

    monkeypatch.setattr(bucket, "system_of", lambda place: NoBucket())
    code, lines = examined(capsys, "--run", "gs://missing/runs/a")
    (line,) = [line for line in lines if line.startswith("fail")]
    assert code == 1 and "gs://missing/runs/a" in line
    assert line.endswith("cannot be written, as its bucket is not there; correct the address")


def test_a_disk_without_room_for_the_checkpoints_fails(tmp_path, recipe, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10, 10, 10))
    code, lines = examined(capsys, "--run", str(tmp_path / "a"), "--config", "any.py")
    (line,) = [line for line in lines if line.startswith("fail")]
    assert code == 1 and f"disk of {tmp_path}/a: 0.0 GB free, 3 checkpoints take about" in line
    assert line.endswith("; free some, lower train.checkpoint_keep, or use another place")


def test_a_slow_place_is_a_warning(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(places, "SLOW_MB_PER_SEC", 1e9)
    code, lines = examined(capsys, "--run", str(tmp_path))
    assert code == 0 and any(line.startswith("warn") and "use a bucket in the region" in line for line in lines)


def test_a_record_of_another_tokenizer_fails_and_the_others_are_still_checked(tmp_path, recipe, capsys):
    found = shards.read_metadata(tmp_path / "speech")
    shards.write_metadata(tmp_path / "speech", dataclasses.replace(found, tokenizer_fingerprint="0" * 64))
    code, lines = examined(capsys, "--config", "any.py")
    (line,) = [line for line in lines if line.startswith("fail")]
    assert code == 1 and "tokenizer_fingerprint=0000" in line
    assert line.endswith("use the tokenizer that prepared the source")
    assert any("20 records that fit" in line for line in lines)


def test_records_that_are_not_there_fail(tmp_path, recipe, capsys):
    shutil.rmtree(tmp_path / "text")
    code, lines = examined(capsys, "--config", "any.py")
    assert code == 1 and any(line.startswith("fail") and f"{tmp_path}/text" in line for line in lines)


def test_a_package_out_of_its_range_fails_with_both_versions(monkeypatch):
    monkeypatch.setattr(host.importlib.metadata, "metadata", lambda name: {"Requires-Python": ">=3.11"})
    monkeypatch.setattr(
        host.importlib.metadata, "requires", lambda name: ["numpy>=99", "jax>=0.1", "none-such-package"]
    )
    found = {finding.what: finding for finding in host.packages()}
    assert found["python"].level == "ok" and "jax" not in found and "packages" not in found
    assert found["numpy"].level == "fail" and found["numpy"].said.endswith("is not >=99")
    assert found["none-such-package"].said == "is not installed"


def test_a_backend_that_does_not_start_fails_with_its_reason(monkeypatch):
    def refuse():
        raise RuntimeError("Unable to initialize backend 'tpu': no device\nmore")

    monkeypatch.setattr("jax.local_devices", refuse)
    (finding,) = host.devices()
    assert finding.level == "fail" and "no device" in finding.line and "\n" not in finding.line


def test_a_model_whose_sizes_do_not_go_together_fails_before_the_job(tmp_path, recipe, monkeypatch, capsys):
    width = recipe.model.patch_decoder.width
    stack = dataclasses.replace(recipe.model.global_transformer, width=width, heads=1)
    model = dataclasses.replace(recipe.model, global_transformer=stack, queries_per_patch=4)
    wrong = dataclasses.replace(recipe, model=model)
    monkeypatch.setattr("lst_jax.recipes.load.load_recipe", lambda reference, changes: wrong)
    code, lines = examined(capsys, "--config", "any.py")
    (line,) = [line for line in lines if line.startswith("fail")]
    assert code == 1 and line.startswith("fail  model: ") and "model.queries_per_patch=" in line


def test_options_that_go_together_are_asked_for_together(capsys):
    assert main(["doctor", "--set", "train.steps=5"]) == 2
    assert "give --config beside it" in capsys.readouterr().err
    assert main(["doctor", "--coordinator", "a:1"]) == 2


def test_the_probe_is_deleted_where_it_cannot_be_read(tmp_path, monkeypatch, capsys):
    def refuse(place):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(places.objects, "read_bytes", refuse)
    code, lines = examined(capsys, "--run", str(tmp_path))
    assert code == 1 and any(line.startswith("fail") and "Input/output error" in line for line in lines)
    assert list(tmp_path.iterdir()) == []


def test_processes_of_a_job_find_each_other():
    words = ["doctor", "--processes", "2", "--coordinator", f"127.0.0.1:{free_port()}", "--process-id"]
    command = [sys.executable, "-m", "lst_jax", *words]
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    started = [
        subprocess.Popen([*command, str(i)], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for i in range(2)
    ]
    for index, process in enumerate(started):
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        assert f"processes: this is {index} of 2, which have 2 devices together" in output
        assert re.search(r"ok +clocks: those of 2 processes are at most \d\.\d s apart", output)


@pytest.mark.parametrize(
    "shift, level, said",
    [
        (0.0, "ok", r"within \d+\.\d s of the server of gs://b/runs"),
        (60.0, "warn", r"(5\d|60) s ahead of the clock of the server of gs://b/runs; let the host set its clock"),
        (-60.0, "warn", r"(5\d|60) s behind the clock of the server of gs://b/runs; let the host set its clock"),
        (
            400.0,
            "fail",
            r"(39\d|400) s ahead of the clock of .*, which refuses credentials from 300 s on; let the host",
        ),
    ],
)
def test_the_clock_is_compared_with_the_one_of_the_bucket_s_server(bucket, monkeypatch, shift, level, said):
    real = time.time
    monkeypatch.setattr(clocks.time, "time", lambda: real() + shift)
    (finding,) = clocks.bucket("gs://b/runs")
    assert finding.level == level and re.search(said, finding.line), finding.line


def test_a_server_that_does_not_answer_is_said_and_fails_nothing(monkeypatch):
    monkeypatch.setenv(clocks.EMULATOR, f"http://127.0.0.1:{free_port()}")
    (finding,) = clocks.bucket("gs://b/runs")
    assert finding.level == "warn" and "not compared with the server of gs://b/runs (" in finding.line


def test_the_host_with_another_time_is_named():
    assert clocks.between([100.0, 100.2, 107.1]).line.startswith("warn  clocks: process 2 is 6.9 s ahead of")
    assert clocks.between([93.0, 100.2, 100.1]).line.startswith("warn  clocks: process 0 is 7.1 s behind")
    assert clocks.between([100.0, 104.0]).level == "ok"
