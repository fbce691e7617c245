"""The image: what the Dockerfile copies is there and reaches the builder, and packages come before code."""

import fnmatch
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
HADOLINT = shutil.which("hadolint", path=f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
STAGES = re.split(r"(?m)^FROM ", (ROOT / "Dockerfile").read_text())[1:]


def copied(stage: str) -> list[str]:
    """What a stage copies. Example: "COPY a b ./" -> ["a", "b"]."""
    lines = re.findall(r"(?m)^COPY (.+)$", stage)
    return [source for line in lines for source in line.split()[:-1]]


def is_sent(path: str) -> bool:
    """Whether .dockerignore, whose last fitting line decides, lets the builder have it."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#") and fnmatch.fnmatch(path, line.lstrip("!")):
            sent = line.startswith("!")
    return sent


def test_all_that_is_copied_is_there_and_sent():
    sources = {source for stage in STAGES for source in copied(stage)}
    assert {"lst_jax", "configs", "pyproject.toml", "constraints.txt"} <= sources
    for source in sources:
        found = list(ROOT.glob(source))
        assert found and all(is_sent(path.name) for path in found), source
    assert not is_sent(".git") and not is_sent("corpora") and not is_sent("data") and not is_sent("tests")


def test_all_that_the_package_is_built_from_is_copied():
    metadata = (ROOT / "pyproject.toml").read_text()
    files = {*re.findall(r'file = "([^"]+)"', metadata), *re.findall(r'readme = "([^"]+)"', metadata), "LICENSE"}
    for stage in STAGES:
        if "--no-build-isolation ." in stage:
            assert all(any(fnmatch.fnmatch(name, source) for source in copied(stage)) for name in files)


def test_code_comes_after_packages_and_never_before():
    for stage in STAGES:
        base, _, name = stage.splitlines()[0].partition(" AS ")
        if name in ("tpu", "cuda"):
            assert base == f"{name}-packages" and "--no-deps" in stage and "--editable" not in stage
        else:
            assert not {"lst_jax", "configs"} & set(copied(stage)), name
    assert STAGES[-1].startswith("tpu-packages AS tpu")  # what docker builds without --target


@pytest.mark.parametrize("kind, extra", [("tpu", "requirements-tpu.txt"), ("cuda", "requirements-cuda.txt")])
def test_packages_are_of_the_versions_that_the_tests_ran_with(kind, extra):
    (stage,) = [stage for stage in STAGES if stage.splitlines()[0].endswith(f"AS {kind}-packages")]
    assert "--constraint constraints.txt" in stage and f"-r {extra}" in stage


def test_make_says_what_it_builds_and_refuses_to_build_without_a_name():
    refused = subprocess.run(["make", "--silent", "image"], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2 and refused.stderr.startswith("IMAGE: missing; run make image IMAGE=")
    shown = subprocess.run(
        ["make", "--dry-run", "image", "IMAGE=a/b:1", "IMAGE_KIND=cuda"], cwd=ROOT, capture_output=True, text=True
    )
    assert "docker build --platform linux/amd64 --target cuda --tag a/b:1 ." in shown.stdout


@pytest.mark.skipif(HADOLINT is None, reason="needs hadolint: make test-extras")
def test_hadolint_has_nothing_to_say():
    found = subprocess.run([HADOLINT, "--no-color", "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
