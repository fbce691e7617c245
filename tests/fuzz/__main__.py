"""`make fuzz`: mutated files through every reader. Each must end in a result, or in one line that says what is wrong.

    python -m tests.fuzz --cases 100000 --seed 1
    python -m tests.fuzz --reader sweep --first 4711 --cases 1      # one case again

A case is known by seed, reader and number, so another run with the same seed goes on from `--first`.
"""

import argparse
import collections
import hashlib
import os
import pathlib
import pickle
import sys
import tempfile
import time
from collections.abc import Iterator

os.environ["JAX_PLATFORMS"] = "cpu"

from lst_jax.core import text_table
from lst_jax.report import results_file
from tests.fuzz import readers, samples, workers

FOUND = pathlib.Path(__file__).parent / "found"
LARGEST_KEPT = 200_000  # bytes of an input that is kept


def main() -> int:
    """Returns 1 where an input failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000, help="of all readers together (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--first", type=int, default=0, help="the number of each reader's first case")
    parser.add_argument("--reader", action="append", choices=list(readers.READERS), help="only this one; repeatable")
    parser.add_argument("--seconds", type=float, default=600.0, help="stop after so long (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--found", type=pathlib.Path, default=FOUND, help="where failing inputs go")
    parser.add_argument("--markdown", type=pathlib.Path, help="also write the section `Garbage in` of this file")
    args = parser.parse_args()
    began, verdicts = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        file = pathlib.Path(folder) / "samples"
        file.write_bytes(pickle.dumps(samples.make_all()))
        batches = _batches(args.reader or list(readers.READERS), args.cases, args.first, began + args.seconds)
        for verdict in workers.Pool(args.jobs, file, args.seed).run(batches):
            verdicts.append(verdict)
            if len(verdicts) % 500 == 0 and sys.stderr.isatty():
                print(f"\r{len(verdicts):,} of {args.cases:,}", end="", file=sys.stderr)
    rows = _rows(verdicts)
    print("\n".join(text_table.columns(rows)))
    failures = _failures(verdicts)
    for (reader, what), (count, smallest) in failures.items():
        print(
            f"{reader}: {what}: {count} times; --seed {args.seed} --reader {reader} --first {smallest.number} --cases 1"
        )
        _keep(args.found, smallest)
    if args.markdown:
        _write(args.markdown, rows, verdicts, time.monotonic() - began)
    return int(bool(failures))


def _batches(names: list[str], cases: int, first: int, until: float) -> Iterator[tuple[str, list[int]]]:
    """Readers in turn, so that whatever the time allows is spread over all."""
    shares = {name: readers.SLOW.get(name, 1.0) for name in names}
    left = {name: max(1, round(cases * share / sum(shares.values()))) for name, share in shares.items()}
    following = dict.fromkeys(names, first)
    while any(left.values()) and time.monotonic() < until:
        for name in names:
            size = min(left[name], max(1, round(workers.BATCH * shares[name])))
            if size and time.monotonic() < until:
                yield name, list(range(following[name], following[name] + size))
                left[name] -= size
                following[name] += size


def _rows(verdicts: list[workers.Verdict]) -> list[list[str]]:
    counts = collections.Counter((v.reader, v.kind) for v in verdicts)
    slowest = {name: max((v.seconds for v in verdicts if v.reader == name), default=0.0) for name in readers.READERS}
    kinds = (workers.RESULT, workers.MESSAGE, workers.FAILED)
    rows = [["reader", "inputs", "a result", "one line", "failed", "slowest"]]
    for name in readers.READERS:
        own = [counts[name, kind] for kind in kinds]
        if sum(own):
            rows.append([name, f"{sum(own):,}", *(f"{n:,}" for n in own), f"{slowest[name]:.2f} s"])
    total = [sum(counts[name, kind] for name in readers.READERS) for kind in kinds]
    last = f"{max(slowest.values(), default=0.0):.2f} s"
    return [*rows, ["all", f"{sum(total):,}", *(f"{n:,}" for n in total), last]]


def _failures(verdicts: list[workers.Verdict]) -> dict[tuple[str, str], tuple[int, workers.Verdict]]:
    """Of each kind of failure, how often, and the case with the smallest input."""
    found: dict[tuple[str, str], tuple[int, workers.Verdict]] = {}
    for verdict in verdicts:
        if verdict.kind == workers.FAILED:
            count, smallest = found.get((verdict.reader, verdict.what), (0, verdict))
            found[verdict.reader, verdict.what] = count + 1, min(smallest, verdict, key=_size)
    return found


def _size(verdict: workers.Verdict) -> int:
    return sum(map(len, verdict.files.values())) if verdict.files else 1 << 62


def _keep(folder: pathlib.Path, verdict: workers.Verdict) -> None:
    """Writes what differs from the sample to FOUND/READER/HASH/."""
    if _size(verdict) > LARGEST_KEPT:
        return
    digest = hashlib.sha256(repr(sorted(verdict.files.items())).encode()).hexdigest()[:8]
    for name, content in verdict.files.items():
        path = folder / verdict.reader / digest / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _write(path: pathlib.Path, rows: list[list[str]], verdicts: list[workers.Verdict], seconds: float) -> None:
    failed = sum(v.kind == workers.FAILED for v in verdicts)
    body = (
        f"{len(verdicts):,} mutated inputs in {seconds / 60:.1f} minutes; {failed:,} failed. An input must end in a result "
        f"or in one line of at most {workers.LONGEST_MESSAGE} characters, within {workers.LONGEST_SEC:g} s and "
        f"{workers.MEMORY >> 30} GiB beyond an idle process's.\n\n" + results_file.table(rows[0], rows[1:])
    )
    origin = results_file.provenance(sys.argv[1:], ("numpy", "sentencepiece", "soundfile"))
    origin["command"] = " ".join(["python", "-m", "tests.fuzz", *sys.argv[1:]])
    results_file.write_section(path, "Garbage in", body, origin)


if __name__ == "__main__":
    sys.exit(main())
