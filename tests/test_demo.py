"""The acceptance test of the demo, with its own commands: minutes long, `make test-slow`."""

import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[1]
KILLS = 3


def make_demo(folder):
    """`make demo` in a clean checkout, in a process group of its own, so that a kill hits all of it."""
    return subprocess.Popen(["make", "demo", f"PYTHON={sys.executable}"], cwd=folder, start_new_session=True,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def checkout(folder):
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    return folder


def losses(folder):
    lines = (folder / "runs/demo/metrics.jsonl").read_text().splitlines()
    return {r["step"]: r["loss"] for r in map(json.loads, lines) if r["kind"] == "train"}


@pytest.mark.slow
def test_a_demo_killed_three_times_ends_as_an_unbroken_one_bit_for_bit(tmp_path):
    unbroken = checkout(tmp_path / "unbroken")
    assert make_demo(unbroken).wait() == 0
    killed = checkout(tmp_path / "killed")
    shutil.copytree(unbroken / ".venv", killed / ".venv", symlinks=True)  # what is killed is not the installing
    (killed / ".venv" / "installed").touch()
    seconds = random.Random(time.time_ns())
    for _ in range(KILLS):
        process = make_demo(killed)
        time.sleep(seconds.uniform(20, 120))
        process.send_signal(signal.SIGKILL)
        subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
        process.communicate()
    assert make_demo(killed).wait() == 0
    assert losses(killed) == losses(unbroken)
    final = [json.loads((f / "runs/demo/report.json").read_text())["final_loss"] for f in (killed, unbroken)]
    assert final[0] == final[1]
