"""Prepare and train, killed at any moment: the same command goes on, and ends with the bits of an unbroken pipeline."""

import os
import random
import shutil
import signal
import subprocess
import time

import pipeline
import pytest


def finish(folder, compiled):
    process = pipeline.start([pipeline.__file__, str(folder)], compiled)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """(inputs, result of an unbroken pipeline, where programs lie compiled, about the seconds that it takes then)"""
    folder, compiled = tmp_path_factory.mktemp("unbroken"), tmp_path_factory.mktemp("compiled")
    pipeline.make_inputs(folder / "inputs")
    began = time.monotonic()
    finish(folder, compiled)
    seconds = (time.monotonic() - began) / 2  # the other half is for compiling
    return folder / "inputs", pipeline.result(folder), compiled, seconds


def killed_after(folder, compiled, seconds):
    """Kills the pipeline and its workers; returns whether it had not ended before."""
    process = pipeline.start([pipeline.__file__, str(folder)], compiled)
    try:
        _, said = process.communicate(timeout=seconds)
        assert process.returncode == 0, said
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True


@pytest.mark.parametrize(("kills", "seed"), [(2, 1), pytest.param(20, 2, marks=pytest.mark.slow)])
def test_a_pipeline_killed_at_random_moments_ends_as_an_unbroken_one(unbroken, tmp_path, kills, seed):
    """Moments reach from the start of a process to its end; a pipeline that is done begins anew in another folder."""
    inputs, expected, compiled, whole_sec = unbroken
    moments, done, number = random.Random(seed), 0, 0
    while done < kills:
        folder, number = tmp_path / str(number), number + 1
        shutil.copytree(inputs, folder / "inputs")
        while done < kills and killed_after(folder, compiled, moments.uniform(0.15, 1) * whole_sec):
            done += 1
        finish(folder, compiled)
        found = pipeline.result(folder)
        assert found.keys() == expected.keys()
        assert [name for name in found if found[name] != expected[name]] == []
