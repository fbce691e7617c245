"""Jobs of several real processes: `lst train` started as `lst launch` renders it, stopped, killed, and gone on with."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest
import small_disk
from test_train import learned
from training_run import make_base_config, make_data, tokenizer_of

from lst_jax.bench.slow_bucket import free_port
from lst_jax.cli import main
from lst_jax.config import to_mapping
from lst_jax.core.errors import RESTART_EXIT_CODE, ConfigError, StorageError
from lst_jax.runs.directory import RunDirectory

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = """import json, pathlib
from ml_collections import ConfigDict

def get_config(arg):
    return ConfigDict(json.loads(pathlib.Path(__file__).with_suffix(".json").read_text()))
"""
# what srun does for a step of two tasks on one node; its code is the highest of theirs
SRUN = """#!{python}
import os, subprocess, sys
words = sys.argv[3:]  # after srun's own options
names = {{"SLURM_NTASKS": "2", "SLURM_STEP_NODELIST": "localhost"}}
tasks = [subprocess.Popen(words, env=os.environ | names | {{"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)}})
         for i in range(2)]
sys.exit(max(task.wait() for task in tasks))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, and a recipe over it in recipe.py."""
    folder = tmp_path_factory.mktemp("jobs")
    make_data(folder)
    tokenizer_of(folder)
    config = make_base_config(folder, steps=14, checkpoint_every=12)  # room for a stop and a hang between two saves
    config = dataclasses.replace(config, eval=dataclasses.replace(config.eval, every=14, completion_items=0))
    (folder / "recipe.py").write_text(RECIPE)
    (folder / "recipe.json").write_text(json.dumps(to_mapping(config)))
    return folder


def environment(folder, devices):
    """Of each process: so many devices, and the programs that others have compiled."""
    return os.environ | {
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
        f"--xla_cpu_use_fusion_emitters=false --xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def start(folder, run, count, *words, every=()):
    """The processes of a job, a device each; `words` go to the last one only, those of `every` to each."""
    command = [
        sys.executable,
        "-m",
        "lst_jax",
        "train",
        run,
        "--config",
        folder / "recipe.py",
        *every,
        "--processes",
        str(count),
        "--coordinator",
        f"127.0.0.1:{free_port()}",
        "--process-id",
    ]
    return [
        subprocess.Popen(
            [*command, str(i), *(words if i == count - 1 else ())],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(folder, 1),
        )
        for i in range(count)
    ]


def finish(job):
    """The exit codes, and what was said; shown where a test fails."""
    said = [process.communicate(timeout=180)[1] for process in job]
    print(*said, sep="\n---\n")
    return [process.returncode for process in job], said


def recorded(run, step):
    metrics = run / "metrics.jsonl"
    return metrics.exists() and f'"step": {step},' in metrics.read_text()


def wait_for_step(run, step, job):
    deadline = time.monotonic() + 180
    while not recorded(run, step):
        assert time.monotonic() < deadline and all(process.poll() is None for process in job), finish(job)
        time.sleep(0.01)


@pytest.fixture(scope="module")
def unbroken(folder):
    """Two processes as `lst launch --to slurm` starts them, by SLURM's own names for who is who."""
    cluster = {
        "name": "here",
        "kind": "gpu",
        "workdir": str(ROOT),
        "run_root": str(folder / "runs"),
        "grace_seconds": 60,
        "max_restarts": 0,
        "env": ["PYTHONDONTWRITEBYTECODE=1"],
        "slurm": {"nodes": 1, "gpus_per_node": 2, "partition": "all", "time": "1:00:00"},
    }
    (folder / "cluster.json").write_text(json.dumps(cluster))
    words = [
        "launch",
        "unbroken",
        "--config",
        str(folder / "recipe.py"),
        "--cluster",
        str(folder / "cluster.json"),
        "--to",
        "slurm",
        "--name",
        "job",
        "--out",
        str(folder),
    ]
    assert main.main(words) == 0
    (folder / "bin").mkdir()
    (folder / "bin" / "srun").write_text(SRUN.format(python=sys.executable))
    (folder / "bin" / "lst").write_text(f'#!/bin/sh\nexec {sys.executable} -m lst_jax "$@"\n')
    for program in (folder / "bin").iterdir():
        program.chmod(0o755)
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", folder / "job.sbatch"],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment(folder, 1) | {"PATH": path, "SLURM_JOB_ID": str(free_port())},
    )
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "unbroken"


def test_a_rendered_job_trains_as_one(unbroken):
    records = learned(unbroken)
    assert [r["step"] for r in records if r["kind"] == "train"] == list(range(1, 15))
    (begun,) = [json.loads(line) for line in (unbroken / "starts.jsonl").read_text().splitlines()]
    assert len(begun["devices"]) == 2


def kill_one(run, job):
    """Kills process 1."""
    job[1].kill()
    codes, _ = finish(job)
    assert codes[0] == RESTART_EXIT_CODE or codes[0] == -signal.SIGABRT  # launchers start both again


def hang_one(run, job):
    """Process 1 stands still: process 0 ends, and leaves its stacks."""
    job[1].send_signal(signal.SIGSTOP)
    try:
        said = job[0].communicate(timeout=120)[1]
    finally:
        job[1].kill()
    finish(job[1:])
    assert job[0].returncode == RESTART_EXIT_CODE, said
    (path,) = (run / "hangs").iterdir()
    assert str(path) in said.splitlines()[-1] and "process 0 of 2 stood still" in said.splitlines()[-1]
    text = path.read_text()
    assert "in run_steps" in text and "process 1 on" in text
    assert json.dumps(RunDirectory(run).read_metrics()[-1]["loss"]) in text


# test_lost_job.py kills a process in `make test`, and test_watchdog.py lets one stand still
@pytest.mark.slow
@pytest.mark.parametrize("end", [hang_one, kill_one])
def test_a_stop_and_the_loss_of_one_process_lose_nothing(folder, unbroken, end):
    run = folder / "runs" / f"broken-{end.__name__}"
    job = start(folder, run, 2)
    wait_for_step(run, 2, job)
    job[1].send_signal(signal.SIGTERM)
    codes, said = finish(job)
    assert codes == [RESTART_EXIT_CODE] * 2 and "saved; run the same command to go on" in said[0]
    stopped = RunDirectory(run).read_metrics()[-1]["step"]
    assert 2 <= stopped < 10 and (run / "checkpoints" / f"{stopped:08d}").is_dir()
    job = start(folder, run, 2, every=("--set", "train.hang_minutes=0.3"))
    wait_for_step(run, stopped + 2, job)
    end(run, job)
    codes, _ = finish(start(folder, run, 2))
    assert codes == [0, 0]
    assert learned(run) == learned(unbroken)


@pytest.mark.slow  # test_lost_job.py holds the same of processes that only wait
def test_a_kill_of_process_0_leaves_one_line_in_the_other(folder, unbroken):
    run = folder / "runs" / "headless"
    job = start(folder, run, 2)
    wait_for_step(run, 1, job)
    job[0].kill()
    codes, said = finish(job)
    assert codes[1] == RESTART_EXIT_CODE
    *before, last = said[1].splitlines()
    assert last.startswith("lst: lost process 0 of this job") and "start all processes again" in last
    assert len(before) <= 1  # JAX may log that it lost the process before it tells us, but no stack


def without_the_last_checkpoint(unbroken, folder, name):
    run = folder / "runs" / name
    shutil.copytree(unbroken, run)
    shutil.rmtree(run / "checkpoints" / "00000014")
    return run


def check_same_within_rounding(run, unbroken):
    """Every record is equal but for the order of sums on other devices: 1e-6 of a loss, as docs/operations.md says."""
    for ours, theirs in zip(learned(run), learned(unbroken), strict=True):
        for key, value in theirs.items():
            exact = key.partition("/")[0] not in (
                "loss",
                "grad_norm",
                "bits_per_text_token",
                "bits_per_second_speech",
                "bits_per_marker",
                "heldout",
            )
            assert ours[key] == (value if exact else pytest.approx(value, rel=1e-6)), (ours["step"], key)


@pytest.mark.slow
def test_a_lost_slice_leaves_a_job_that_goes_on_with_fewer_slices_and_the_same_batch(folder, unbroken):
    """Two slices of two hosts: all processes of one are killed, and one slice goes on."""
    run = folder / "runs" / "slices"
    sliced = ("--set", "train.rows_at_once=2", "--set", "train.checkpoint_every=3", "--set")
    job = start(folder, run, 4, every=(*sliced, "mesh.replica=2"))
    wait_for_step(run, 4, job)  # the newest checkpoint is that of step 3
    for process in job[2:]:
        process.kill()
    codes, _ = finish(job)
    assert all(code in (RESTART_EXIT_CODE, -signal.SIGABRT) for code in codes[:2]), codes
    newest = max(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdigit())
    assert 3 <= newest < 14
    codes, said = finish(start(folder, run, 2, every=(*sliced, "mesh.replica=1")))
    assert codes == [0, 0]
    each = "4 per device, 2 at a time in 2 part(s)"
    assert f"goes on with 2 devices instead of 4, and the same batch of 8 rows: {each}" in said[0]
    first, second = RunDirectory(run).read_starts()
    assert (first["step"], second["step"]) == (0, newest)
    check_same_within_rounding(run, unbroken)


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [12, 3000])
def test_a_full_disk_ends_the_job_with_the_code_on_which_a_person_acts(folder, unbroken, tmp_path, kilobytes):
    with small_disk.mounted(tmp_path / "disk", 64 * 1024) as disk:
        with small_disk.nearly_full(disk, kilobytes):
            codes, said = finish(start(folder, disk / "run", 2))
        assert codes[0] == StorageError.exit_code  # which decides, as the other one may only miss it
        assert codes[1] in (StorageError.exit_code, RESTART_EXIT_CODE, -signal.SIGABRT), codes
        assert [line for line in said[0].splitlines() if "no space left" in line and line.startswith("lst train: ")]
        codes, _ = finish(start(folder, disk / "run", 2))
        assert codes == [0, 0]
        assert learned(disk / "run") == learned(unbroken)


@pytest.mark.parametrize("count", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_another_number_of_processes_goes_on_with_the_same_batches(folder, unbroken, count):
    run = without_the_last_checkpoint(unbroken, folder, f"by-{count}")
    codes, said = finish(start(folder, run, count, every=("--set", "train.rows_at_once=4")))
    assert set(codes) == {0}
    each = {1: "8 per device, 4 at a time in 2 part(s)", 4: "2 per device, 2 at a time in 1 part(s)"}[count]
    assert f"goes on with {count} devices instead of 2, and the same batch of 8 rows: {each}" in said[0]
    check_same_within_rounding(run, unbroken)


@pytest.mark.slow
def test_one_replica_reads_the_checkpoint_for_both(folder, unbroken):
    run = without_the_last_checkpoint(unbroken, folder, "by-one")
    every = ("--set", "train.restore_one_replica=True", "--set", "mesh.replica=2")
    codes, _ = finish(start(folder, run, 2, every=every))
    assert codes == [0, 0]
    for ours, theirs in zip(learned(run), learned(unbroken), strict=True):
        assert ours.get("loss") == (pytest.approx(theirs["loss"], rel=1e-6) if "loss" in theirs else None)


def test_one_process_with_another_configuration_stops_all_by_name(folder):
    codes, said = finish(start(folder, folder / "runs" / "other", 2, "--set", "seed=5"))
    assert codes == [ConfigError.exit_code] * 2
    assert all("process 1: config_hash=" in text and "process 0 has" in text for text in said)
    assert not (folder / "runs" / "other" / "config.json").exists()
