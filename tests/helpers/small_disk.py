"""A real small disk for tests that fill it: a tmpfs of its own, where the machine allows a mount."""

import contextlib
import os
import pathlib
import subprocess
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def mounted(folder: pathlib.Path, kilobytes: int) -> Iterator[pathlib.Path]:
    """Mounts a tmpfs of so many kilobytes on `folder`; skips the test where that is refused."""
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(["mount", *options], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("a full disk needs the program mount")
    if done.returncode:
        pytest.skip(f"a full disk needs a mount, which is refused here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def nearly_full(disk: pathlib.Path, kilobytes: int) -> Iterator[None]:
    """Leaves so many kilobytes of `disk` free, a multiple of 4, until the end of the block."""
    filler = disk / "filler"
    status = os.statvfs(disk)
    with filler.open("wb") as file:
        file.write(bytes(max(0, status.f_bavail * status.f_frsize - kilobytes * 1024)))
    try:
        yield
    finally:
        filler.unlink()
