"""A process whose threads do not end leaves after an error, with the error's code."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
HANGS = """
import atexit, sys, threading
from lst_jax.cli import report
from lst_jax.cli.main import main
from lst_jax.core.errors import *
def run(args):
    atexit.register(print, "noise of a library", file=sys.stderr)
    threading.Thread(target=threading.Event().wait).start()  # as a write that hangs
    {end}
report._report = run
sys.argv[1:] = ["report", "."]
sys.exit(main())
"""


@pytest.mark.parametrize(
    "end, code, said",
    [
        ("raise StorageError('run: cannot write (no space left)')", 5, "lst report: run: cannot write (no space left)"),
        ("raise PeerError('lost')", 42, "lst report: lost"),
        ("raise KeyboardInterrupt", 130, "lst report: interrupted; run the same command to go on"),
        ("raise ValueError('a bug')", 1, "ValueError: a bug"),
    ],
)
def test_an_error_ends_the_process_though_a_thread_hangs(end, code, said):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", HANGS.format(end=end)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (code, said)
    assert time.monotonic() - began < 30
