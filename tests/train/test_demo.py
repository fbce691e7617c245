"""The acceptance test of the demo, with its own commands: minutes long, `make test-slow`."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
KILLS = 3


def make_demo(folder):
    """`make demo` in a clean checkout, in a session of its own, so that a kill hits all of it; its log is beside it.

    It runs as a user's would: without the virtual devices of the tests, and without what an outer make hands down.
    """
    ours = ("XLA_FLAGS", "JAX_PLATFORMS", "PJRT_NPROC", "MAKEFLAGS", "MFLAGS")
    env = {k: v for k, v in os.environ.items() if k not in ours}
    with log_of(folder).open("a") as log:
        return subprocess.Popen(
            ["make", "demo", f"PYTHON={sys.executable}"],
            cwd=folder,
            start_new_session=True,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=env,
        )


def log_of(folder):
    return folder.with_suffix(".log")


def finish(folder):
    assert make_demo(folder).wait() == 0, log_of(folder).read_text()[-2000:]


def checkout(folder):
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    return folder


def losses(folder):
    lines = (folder / "runs/demo/metrics.jsonl").read_text().splitlines()
    return {r["step"]: r["loss"] for r in map(json.loads, lines) if r["kind"] == "train"}


@pytest.mark.slow
def test_a_demo_killed_three_times_ends_as_an_unbroken_one_bit_for_bit(tmp_path):
    unbroken = checkout(tmp_path / "unbroken")
    finish(unbroken)
    killed = checkout(tmp_path / "killed")
    shutil.copytree(unbroken / ".venv", killed / ".venv", symlinks=True)  # what is killed is not the installing
    (killed / ".venv" / "installed").touch()
    seconds = random.Random(time.time_ns())
    for _ in range(KILLS):
        process = make_demo(killed)
        time.sleep(seconds.uniform(20, 80))
        assert process.poll() is None, log_of(killed).read_text()[-2000:]
        process.send_signal(signal.SIGKILL)
        subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
        process.wait()
    finish(killed)
    assert losses(killed) == losses(unbroken)
    final = [json.loads((f / "runs/demo/report.json").read_text())["final_loss"] for f in (killed, unbroken)]
    assert final[0] == final[1]
    exported = [json.loads((f / "runs/demo-hf/conversion.json").read_text()) for f in (killed, unbroken)]
    assert exported[0]["arrays_sha256"] == exported[1]["arrays_sha256"]
