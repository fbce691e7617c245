"""What is printed never ends a command, and never carries what a terminal would obey."""

import os
import subprocess
import sys

import pytest

from lst_jax.core import console

PRINTS = """
import sys
from lst_jax.core import console
with console.safe_console():
    print(sys.argv[1].encode().decode("unicode_escape"))
    print("a message", file=sys.stderr)
"""


def run(text: str, **options) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONIOENCODING": options.pop("encoding", "utf-8")}
    return subprocess.run([sys.executable, "-c", PRINTS, text], env=env, **{"capture_output": True} | options)


@pytest.mark.parametrize(
    "text, safe",
    [
        ("plain ≥ text", "plain ≥ text"),
        ("a\nb", "a\\nb"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("\u202edlrow", "\\u202edlrow"),
        ("half \ud800", "half \\ud800"),
    ],
)
def test_ids_and_paths_become_one_line_without_escapes(text, safe):
    assert console.printable(text) == safe
    assert console.printable(safe) == safe


@pytest.mark.parametrize(
    "encoding, expected", [("utf-8", "x \\x1b[31m → \\ud800\ty"), ("ascii", "x \\x1b[31m \\u2192 \\ud800\ty")]
)
def test_output_has_no_escapes_and_no_characters_that_the_terminal_lacks(encoding, expected):
    found = run("x \\x1b[31m \\u2192 \\ud800\\ty", encoding=encoding)
    assert found.returncode == 0 and found.stdout.decode(encoding) == f"{expected}\n"
    assert found.stderr == b"a message\n"


@pytest.mark.parametrize("how", ["closed", "full", "no reader"])
def test_standard_error_that_goes_away_ends_nothing(how):
    if how == "closed":
        words = ["sh", "-c", 'exec "$0" -c "$1" text 2>&-', sys.executable, PRINTS]
        found = subprocess.run(words, capture_output=True)
    elif how == "full":
        with open("/dev/full", "wb") as full:
            found = run("text", capture_output=False, stdout=subprocess.PIPE, stderr=full)
    else:
        reader, writer = os.pipe()
        os.close(reader)
        found = run("text", capture_output=False, stdout=subprocess.PIPE, stderr=writer)
        os.close(writer)
    assert found.stdout == b"text\n" and found.returncode == 0


def test_the_streams_are_as_before_afterwards():
    before = sys.stdout, sys.stderr
    with console.safe_console():
        assert sys.stdout is not before[0] and sys.stdout.encoding == before[0].encoding
    assert (sys.stdout, sys.stderr) == before
