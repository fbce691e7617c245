"""Prepare and train, killed at any moment: the same command goes on, and ends with the bits of an unbroken pipeline."""

import os
import random
import shutil
import signal
import subprocess
import time

import pipeline
import pytest


def finish(folder, compiled, stages):
    process = pipeline.start([pipeline.__file__, str(folder), *stages], compiled)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said


def killed_after(folder, compiled, stages, seconds):
    """Kills the pipeline and its workers; returns None, or the seconds it took where it had ended before."""
    began = time.monotonic()
    process = pipeline.start([pipeline.__file__, str(folder), *stages], compiled)
    try:
        _, said = process.communicate(timeout=seconds)
        assert process.returncode == 0, said
        return time.monotonic() - began
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None


@pytest.mark.parametrize(
    ("stages", "kills", "seed"), [(["prepare"], 1, 1), pytest.param([], 20, 2, marks=pytest.mark.slow)]
)
def test_a_pipeline_killed_at_random_moments_ends_as_an_unbroken_one(tmp_path, stages, kills, seed):
    """Moments reach from the start of a process to its end; a pipeline that is done begins anew in another folder."""
    unbroken, compiled = tmp_path / "unbroken", tmp_path / "compiled"
    pipeline.make_inputs(unbroken / "inputs")
    began = time.monotonic()
    finish(unbroken, compiled, stages)
    whole_sec = (time.monotonic() - began) * (1 if stages else 0.5)  # half of training is compiling, once
    expected = pipeline.result(unbroken)
    moments, done, number = random.Random(seed), 0, 0
    while done < kills:
        folder, number = tmp_path / str(number), number + 1
        shutil.copytree(unbroken / "inputs", folder / "inputs")
        seconds = None
        while done < kills and seconds is None:
            seconds = killed_after(folder, compiled, stages, moments.uniform(0.15, 1) * whole_sec)
            done += seconds is None
        if seconds is None:
            finish(folder, compiled, stages)
        else:
            whole_sec = min(whole_sec, seconds)  # the machine was busier before
        found = pipeline.result(folder)
        assert found.keys() == expected.keys()
        assert [name for name in found if found[name] != expected[name]] == []
