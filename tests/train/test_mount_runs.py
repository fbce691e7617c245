"""Runs on a mount that behaves like gcsfuse, lost with their machine at random moments."""

import contextlib
import pathlib
import random
import shutil
import subprocess
import sys
import time

import fake_gcs
import pytest
import training_run
from test_train import learned

from lst_jax.checkpoints.steps import whole_steps
from lst_jax.runs import ledger
from lst_jax.runs.directory import RunDirectory

LOSSES = 20  # of mount and process together
SIMILAR = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}  # as the process of the tests has them


@pytest.fixture(scope="module")
def mounted():
    """`bucket_mount.mounted`, where this machine can mount."""
    if not pathlib.Path("/dev/fuse").exists() or shutil.which("fusermount3") is None:
        pytest.skip("needs /dev/fuse and Debian's package fuse3")
    pytest.importorskip("mfusepy", reason="mfusepy is not installed", exc_type=ImportError)
    from bucket_mount import mounted

    return mounted


def start(run, data):
    command = [sys.executable, training_run.__file__, str(run), str(data)]
    return subprocess.Popen(command, env=fake_gcs.environment(**SIMILAR), stderr=subprocess.PIPE, text=True)


def finish(run, data):
    process = start(run, data)
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 0, said


@pytest.mark.slow
def test_a_machine_lost_at_any_moment_loses_nothing_before_the_newest_checkpoint(mounted, data, tmp_path):
    """Checkpoint, records and ledger agree each time; at the end all is as on a disk."""
    bucket, mount, moments = tmp_path / "bucket", tmp_path / "mount", random.Random(3)
    began = time.monotonic()
    finish(tmp_path / "disk", data)
    whole_sec, number = time.monotonic() - began, 0
    for _ in range(LOSSES):
        with mounted(bucket, mount) as program:
            process = start(mount / f"run{number}", data)
            with contextlib.suppress(subprocess.TimeoutExpired):  # a run that is done is not waited for
                process.wait(moments.uniform(0.5, 1.1) * whole_sec)
            program.kill()
            process.kill()
            process.communicate()
        number += check(bucket, mount, f"run{number}", mounted, tmp_path / "disk")
    with mounted(bucket, mount) as program:
        finish(mount / f"run{number}", data)
        assert learned(mount / f"run{number}") == learned(tmp_path / "disk")


def check(bucket, mount, name, mounted, disk):
    """Looks at a run through a new mount. Returns whether it is done."""
    with mounted(bucket, mount):
        run = RunDirectory(mount / name)
        steps = whole_steps(run.checkpoints_path)
        if not steps:
            return False
        newest = max(steps)
        assert run.in_segments and RunDirectory(mount / name).load_config() is not None
        kept = [record for record in learned(run.path) if record["step"] <= newest]
        assert kept == [record for record in learned(disk) if record["step"] <= newest]
        assert max(start.to_step for start in ledger.split(run.read_ledger())) >= newest
        return newest == 8 and not list(run.path.glob("checkpoints/*tmp*"))
