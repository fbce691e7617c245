"""Standard output and error that go away: the work goes on, and the exit code is what it would have been."""

import argparse
import io
import subprocess
import sys

import pytest

from lst_jax.cli import main
from lst_jax.core import console
from lst_jax.core.errors import StorageError

WORK = """
import contextlib, os, sys
from tqdm import tqdm
from lst_jax.core import console
with console.safe_console():
    opened = open(sys.argv[1], "w")
    for step in tqdm(range(300), mininterval=0):
        print(f"step {step}", file=sys.stderr)
        print("result", step)
        with contextlib.suppress(OSError):  # as C++ does not look
            os.write(2, b"from C++\\n")
    sys.stderr.flush()
    opened.write("done")
    opened.close()
sys.exit(42)
"""


@pytest.mark.parametrize(
    "where", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", ">/dev/full 2>&1", "2>&1 | true", "2>&1 | head -1"]
)
def test_work_goes_on_where_nobody_reads(where, tmp_path):
    redirected, _, reader = where.partition(" | ")
    line = f'"$@" {redirected}' + (f" | {reader}; exit ${{PIPESTATUS[0]}}" if reader else "")
    out = tmp_path / "out"
    done = subprocess.run(
        ["bash", "-c", line, "bash", sys.executable, "-c", WORK, str(out)], capture_output=True, text=True
    )
    assert (done.returncode, out.read_text()) == (42, "done")
    assert "Traceback" not in done.stdout + done.stderr and "Exception" not in done.stdout + done.stderr


def test_characters_that_the_encoding_lacks_are_escaped():
    raw = io.BytesIO()
    stream = console.ForgivingStream(io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    print("S→T", "half \udc80", file=stream)
    assert raw.getvalue() == b"S\\u2192T half \\udc80\n" and stream.error is None


def test_streams_are_given_back():
    before = sys.stdout, sys.stderr
    with console.safe_console():
        assert sys.stdout is not before[0]
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("command, code", [("report", StorageError.exit_code), ("train", 0)])
def test_results_that_a_full_disk_took_are_an_error_but_training_has_its_run(command, code, monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        done = argparse.Namespace(command=command, run=lambda args: print("result") or 0)
        monkeypatch.setattr(main, "parse", lambda argv: done)
        monkeypatch.setattr(sys, "stdout", full)
        assert main.main([command, "RUN"]) == code
        monkeypatch.undo()
    assert ("standard output: cannot write (No space left on device)" in capsys.readouterr().err) == bool(code)
