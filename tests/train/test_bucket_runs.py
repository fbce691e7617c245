"""Runs that lie in a bucket, wholly: trained, killed, gone on with, evaluated and reported there."""

import contextlib
import dataclasses
import json
import random
import shutil
import signal
import subprocess
import sys
import time

import fake_gcs
import numpy as np
import pytest
import training_run
from test_train import learned
from training_run import make_base_config as make_config

from lst_jax.bench.slow_bucket import free_port
from lst_jax.checkpoints.steps import whole_steps
from lst_jax.checkpoints.store import Checkpoints
from lst_jax.cli import main
from lst_jax.config import to_mapping
from lst_jax.prepare import audio
from lst_jax.prepare.speech_tokenizers.log_mel_kmeans import LogMelKMeans
from lst_jax.runs import ledger
from lst_jax.runs.directory import RunDirectory
from lst_jax.storage import objects
from lst_jax.storage.place import to_place
from lst_jax.train import loop

pytestmark = pytest.mark.usefixtures("no_appends")
RECIPE = """import json, pathlib
from ml_collections import ConfigDict

def get_config(arg):
    return ConfigDict(json.loads(pathlib.Path(__file__).with_suffix(".json").read_text()))
"""


@pytest.fixture(scope="module")
def local(data, tmp_path_factory):
    """What an unbroken run of this machine has learned, and its folder."""
    run = tmp_path_factory.mktemp("runs") / "local"
    assert loop.train(RunDirectory(run), make_config(data)) == 0
    return run


@pytest.fixture(scope="module")
def run(bucket, data, tmp_path_factory):
    """A run in the bucket that was killed in the middle of the save of step 6, and gone on with."""
    run = RunDirectory(f"{bucket}/run")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    command = [sys.executable, training_run.__file__, str(run.path), data, "base", "6"]
    died = subprocess.run(command, cwd=elsewhere, env=environment(elsewhere, 8), capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert whole_steps(run.checkpoints_path) == [3] and list(elsewhere.iterdir()) == []
    steps = [r["step"] for r in run.read_metrics() if r["kind"] == "train"]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) >= 6  # all kept; a save goes on beside the next steps
    assert loop.train(RunDirectory(run.path), make_config(data)) == 0
    return run


def environment(compiled, devices):
    return fake_gcs.environment(
        XLA_FLAGS="--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
        f"--xla_cpu_use_fusion_emitters=false --xla_force_host_platform_device_count={devices}",
    )


def test_losses_are_those_of_a_run_on_a_disk(run, local):
    assert learned(run.path) == learned(local)
    assert whole_steps(run.checkpoints_path) == [6, 8]


def test_starts_and_the_ledger_tell_of_both_starts(run):
    assert [start["step"] for start in run.read_starts()] == [0, 3]
    first, second = ledger.split(run.read_ledger())
    assert (first.from_step, second.from_step, second.to_step) == (0, 3, 8)
    assert first.seconds["lost"] > 0 and second.seconds["checkpoint"] > 0


def test_tensorboard_s_files_hold_every_step_once(run):
    from tensorboardX.proto.event_pb2 import Event  # ty: ignore[missing-module-member]

    steps = []
    for name in objects.names(run.tensorboard_path):
        content = objects.read_bytes(run.tensorboard_path / name)
        while content:
            size = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + size])
            steps += [event.step] if any(v.tag == "train/loss" for v in event.summary.value) else []
            content = content[16 + size :]
    assert steps == list(range(1, 9))


def test_evaluations_and_the_page_are_written_there(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main.main(["evaluate", str(run.path), "--json"]) == 0
    assert main.main(["report", str(run.path)]) == 0
    assert f"wrote {run.path}/report.html" in capsys.readouterr().out
    there = objects.sizes(run.path)
    assert {"report.html", "report.json", "pictures/likelihood.png", "pictures/wall_time.png"} <= there.keys()
    assert any(name.startswith("evaluations/likelihood") for name in there)
    assert "data:image/png;base64," in objects.read_text(run.path / "report.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # the next test generates, too
def test_the_newest_checkpoint_generates(run, capsys):
    assert main.main(["generate", str(run.path), "--to", "speech", "--max-tokens", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tokens"] == 4


def test_prompts_and_tasks_are_read_there(run, bucket, tmp_path, monkeypatch, capsys):
    """What a command says of objects is what it says of files."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    said = []
    for place in (tmp_path / "local", to_place(f"{bucket}/inputs")):
        frames = np.random.default_rng(0).normal(size=(200, 320)).astype(np.float32)
        LogMelKMeans.fit([frames], 4, 0).save(str(place / "units.safetensors"))
        audio.write_wav(place / "a.wav", np.sin(np.arange(8000) / 9).astype(np.float32))
        objects.write_text(place / "units.txt", "5 5 9")
        objects.write_text(
            place / "task.jsonl", '{"id": "a", "choices": [{"text": "b"}, {"text": "c d"}], "label": 0}\n'
        )
        common = ["generate", str(run.path), "--max-tokens", "3", "--to", "text", "--json"]
        sound = ["--audio", str(place / "a.wav"), "--units-model", str(place / "units.safetensors")]
        assert main.main([*common, *sound]) == 0
        assert main.main([*common, "--units", str(place / "units.txt")]) == 0
        assert main.main(["evaluate", str(run.path), "--tasks", f"mine={place / 'task.jsonl'}", "--json"]) == 0
        said.append(capsys.readouterr().out.replace(str(place), "PLACE"))
    assert said[0] == said[1] and "PLACE/task.jsonl" in said[0]
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.slow
def test_another_run_begins_with_its_parameters(run, bucket, data):
    begun = RunDirectory(f"{bucket}/begun")
    config = make_config(data, steps=1, init_from=f"{run.path}/checkpoints/00000006")
    assert loop.train(begun, config) == 0
    assert begun.read_starts()[0]["init_from"] == f"{run.path}/checkpoints/00000006"


@pytest.mark.slow
def test_a_run_copied_down_goes_on_in_segments(run, data, local, tmp_path):
    objects.download(run.path, tmp_path / "run")
    here = RunDirectory(tmp_path / "run")
    objects.delete_folder(here.checkpoints_path / "00000008")
    assert here.in_segments and whole_steps(here.checkpoints_path) == [6]
    assert learned(here.path) == learned(local) and main.main(["report", str(here.path)]) == 0
    assert loop.train(here, make_config(data)) == 0
    assert learned(here.path) == learned(local) and whole_steps(here.checkpoints_path) == [6, 8]
    assert not here.metrics_path.exists() and here.read_starts()[-1]["step"] == 6


@pytest.fixture
def copied_up(bucket, local, tmp_path):
    """A run of a disk that was lost after its last save but one, copied up as `gcloud storage cp -r` does."""
    run = RunDirectory(f"{bucket}/{tmp_path.name}")
    shutil.copytree(local, tmp_path / "lost")
    shutil.rmtree(tmp_path / "lost" / "checkpoints" / "00000008")
    with (tmp_path / "lost" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "ki')
    objects.upload(tmp_path / "lost", run.path)
    return run


def test_a_run_copied_up_is_reported_and_evaluated_there(copied_up, local, capsys):
    assert learned(copied_up.path) == learned(local) and len(copied_up.read_starts()) == 1
    assert copied_up.read_ledger() == RunDirectory(local).read_ledger()
    assert main.main(["report", str(copied_up.path)]) == 0
    assert "8 of 8" in capsys.readouterr().out
    assert main.main(["evaluate", str(copied_up.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 6


def test_a_run_copied_up_goes_on_there_and_is_read_when_copied_down_again(copied_up, local, data, tmp_path, capsys):
    assert loop.train(RunDirectory(copied_up.path), make_config(data)) == 0
    assert learned(copied_up.path) == learned(local) and whole_steps(copied_up.checkpoints_path) == [6, 8]
    assert objects.read_bytes(copied_up.metrics_path).endswith(b"}\n")  # without steps 7 and 8, and half a line
    assert [start["step"] for start in copied_up.read_starts()] == [0, 6]
    first, second = ledger.split(copied_up.read_ledger())
    assert (first.from_step, second.from_step, second.to_step) == (0, 6, 8) and first.seconds["lost"] > 0
    objects.download(copied_up.path, tmp_path / "down")
    down = RunDirectory(tmp_path / "down")
    assert down.in_segments and learned(down.path) == learned(local) and whole_steps(down.checkpoints_path) == [6, 8]
    assert down.read_ledger() == copied_up.read_ledger() and down.read_starts() == copied_up.read_starts()
    assert main.main(["report", str(down.path)]) == 0 and "2 start(s)" in capsys.readouterr().out


def test_checkpoints_of_a_disk_without_commit_files_are_kept(copied_up):
    """Orbax before 0.12.8 wrote none; half a save of a bucket has none, and no time of its end."""
    for name in [name for name in objects.sizes(copied_up.path) if name.endswith("commit_success.txt")]:
        objects.delete(copied_up.path / name)
    half = copied_up.checkpoint_path(7)
    objects.write_text(half / "_CHECKPOINT_METADATA", '{"commit_timestamp_nsecs": null}')
    with copied_up.locked("lst train"):
        assert objects.names(copied_up.checkpoints_path)[-1] == "00000006"
    with Checkpoints(copied_up.checkpoints_path, 2) as checkpoints:
        assert checkpoints.latest() == 6 and not objects.exists(half)


def write_recipe(folder, data):
    config = make_config(data)
    config = dataclasses.replace(config, eval=dataclasses.replace(config.eval, completion_items=0))
    (folder / "recipe.py").write_text(RECIPE)
    (folder / "recipe.json").write_text(json.dumps(to_mapping(config)))
    return folder / "recipe.py"


def start(run, recipe, count):
    command = [sys.executable, "-m", "lst_jax", "train", str(run), "--config", recipe, "--processes", str(count)]
    command += ["--coordinator", f"127.0.0.1:{free_port()}", "--process-id"]
    return [
        subprocess.Popen([*command, str(i)], env=environment(recipe.parent, 1), stderr=subprocess.PIPE, text=True)
        for i in range(count)
    ]


@pytest.mark.slow
def test_two_processes_killed_at_random_moments_learn_what_an_unbroken_job_learns(bucket, data, tmp_path):
    recipe, moments = write_recipe(tmp_path, data), random.Random(5)
    began = time.monotonic()
    unbroken = start(tmp_path / "unbroken", recipe, 2)
    said = [p.communicate(timeout=300)[1] for p in unbroken]
    assert [p.returncode for p in unbroken] == [0, 0], said
    whole_sec = time.monotonic() - began
    run = RunDirectory(f"{bucket}/two")
    for _ in range(4):
        job = start(run.path, recipe, 2)
        with contextlib.suppress(subprocess.TimeoutExpired):  # a job that is done is not waited for
            job[0].wait(moments.uniform(0.4, 1.1) * whole_sec)
        for process in job:
            process.kill()
            process.communicate()
        if promised := whole_steps(run.checkpoints_path):
            assert [r["step"] for r in run.read_metrics(max(promised)) if r["kind"] == "train"] == list(
                range(1, max(promised) + 1)
            )
    last = start(run.path, recipe, 2)
    said = [p.communicate(timeout=300)[1] for p in last]
    assert [p.returncode for p in last] == [0, 0], said
    assert learned(run.path) == learned(tmp_path / "unbroken")
