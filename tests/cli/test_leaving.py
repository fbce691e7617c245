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


ENDS = [
    ("raise StorageError('run: cannot write (no space left)')", 5, "lst report: run: cannot write (no space left)"),
    ("raise PeerError('lost')", 42, "lst report: lost"),
    ("raise KeyboardInterrupt", 130, "lst report: interrupted; run the same command to go on"),
    ("raise ValueError('a bug')", 1, "ValueError: a bug"),
]


@pytest.fixture(scope="module")
def left():
    """(the moment they began, a process for each of the ends): each waits some seconds, all at once."""
    began, processes = (
        time.monotonic(),
        {
            end: subprocess.Popen(
                [sys.executable, "-c", HANGS.format(end=end)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
            for end, *_ in ENDS
        },
    )
    yield began, processes
    for process in processes.values():
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("end, code, said", ENDS)
def test_an_error_ends_the_process_though_a_thread_hangs(left, end, code, said):
    began, processes = left
    stderr = processes[end].communicate(timeout=60)[1]
    assert (processes[end].returncode, stderr.splitlines()[-1]) == (code, said)
    assert time.monotonic() - began < 60  # all four of them
