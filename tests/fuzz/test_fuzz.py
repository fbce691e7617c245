"""A short run of the fuzzer, and every input that once failed."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
FOUND = pathlib.Path(__file__).parent / "found"


def fuzz(*options):
    """`python -m tests.fuzz`, as `make fuzz` runs it."""
    command = [sys.executable, "-m", "tests.fuzz", "--jobs", "1", *map(str, options)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_three_hundred_inputs_end_in_a_result_or_one_line(tmp_path):
    done = fuzz("--cases", 300, "--seed", 7, "--found", tmp_path)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    last = next(line for line in done.stdout.splitlines() if line.split()[:1] == ["all"])
    assert int(last.split()[1]) >= 290 and not list(tmp_path.iterdir())


REPLAY = """
import pathlib, pickle, sys, tempfile
from tests.fuzz import samples, workers
found = pathlib.Path(sys.argv[1])
with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / "samples"
    file.write_bytes(pickle.dumps(samples.make_all()))
    case = workers.Case(file, 0)
for one in sorted(found.glob("*/*")):
    files = {str(p.relative_to(one)): p.read_bytes() for p in one.rglob("*") if p.is_file()}
    kind, what = case.run(one.parent.name, case.samples[one.parent.name] | files)
    print(kind, one, what, file=sys.__stdout__)
"""


def test_what_once_failed_ends_in_a_result_or_one_line():
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, str(FOUND)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    lines = [line for line in done.stdout.splitlines() if str(FOUND) in line]
    assert len(lines) == len(list(FOUND.glob("*/*"))) and lines
    assert not [line for line in lines if line.startswith("failed")]
