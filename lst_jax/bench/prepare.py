"""`lst bench prepare`: how soon preparation has its first part, how fast it goes, and that its memory does not grow.

The manifest is made up, and so are the records: reading, writing, merging and accounts are those of `lst prepare`, while
recordings are neither decoded nor aligned. Each measurement is a process of its own, so that its peak is its own.
"""

import dataclasses
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from lst_jax.core.errors import DataError
from lst_jax.data import records
from lst_jax.data.records import Word
from lst_jax.prepare import merging
from lst_jax.prepare.accounts import Made
from lst_jax.prepare.corpora.choose import open_corpus
from lst_jax.prepare.corpora.corpus import COMPARED_BYTES, PART_ITEMS
from lst_jax.prepare.corpora.protocol import Item, Part
from lst_jax.prepare.directory import Directory
from lst_jax.prepare.engines.local import Local
from lst_jax.prepare.engines.protocol import Tick, Work
from lst_jax.prepare.makers import TextMaker
from lst_jax.prepare.run import make
from lst_jax.report import results_file

PACKAGES = ("array_record", "numpy")
TEXT = "please enter your password followed by the pound key"
SECONDS = 12.5  # of an utterance, at 25 units per second
STATUS = pathlib.Path("/proc/self/status")  # of Linux
ESTIMATED_LINES = 50_000_000
NAME_BYTES = 1500  # of what is known of a part: two names, a digest, counts and a checksum


class MadeUpMaker:
    """An utterance of made-up units for each item, in the time that it takes to store one."""

    batched = light = False

    def __call__(self, item: Item) -> Made:
        """The record of one item."""
        rng = np.random.default_rng(zlib.crc32(item.id.encode()))
        units = rng.integers(0, 500, round(SECONDS * 25)).astype(np.uint16)
        words = [Word(word, 30 * i, 30 * i + 25) for i, word in enumerate(item.text.split())]
        utterance = records.Utterance(item.id, units, words, item.speaker, "bench")
        return Made(records.encode(utterance), len(units), len(words), None, ())

    def make(self, items: Sequence[Item]) -> list[Made]:
        """See `Maker.make`."""
        return [self(item) for item in items]


@dataclasses.dataclass(frozen=True)
class Timed:
    """The local engine, which writes down when the first part was finished."""

    engine: Local
    times: list[float]

    def make_parts(self, work: Work, parts: Iterable[Part], tick: Tick) -> None:
        """See `Engine.make_parts`."""

        def ticked(items: int, size: int) -> None:
            if size and not self.times:
                self.times.append(time.perf_counter())
            tick(items, size)

        self.engine.make_parts(work, parts, ticked)

    def merge(self, work: Work, groups: Iterable[merging.Group], tick: Tick) -> None:
        """See `Engine.merge`."""
        self.times.append(time.perf_counter())
        self.engine.merge(work, groups, tick)


def measure(lines: Sequence[int], workers: int) -> dict[str, Any]:
    """Prepares manifests of so many `lines`, of speech and of text. Returns JSON types. Raises: DataError."""
    found = []
    for kind in ("speech", "text"):
        for count in lines:
            with tempfile.TemporaryDirectory(prefix="lst_bench_prepare_") as folder:
                size = _write_manifest(pathlib.Path(folder) / "m.jsonl", kind, count)
                code = f"from lst_jax.bench import prepare; prepare.measure_here({kind!r}, {folder!r}, {workers})"
                done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
                if done.returncode:
                    raise DataError(f"lst bench prepare: {count} lines of {kind} failed; {done.stderr.strip()[-500:]}")
                found.append({"kind": kind, "lines": count, "manifest_bytes": size, **json.loads(done.stdout)})
    return {"workers": workers, "part_items": PART_ITEMS, "measured": found}


def measure_here(kind: str, folder: str, workers: int) -> None:
    """Prepares FOLDER/m.jsonl, and prints what this process saw of it as JSON."""
    start, times = time.perf_counter(), []
    corpus = open_corpus([f"{folder}/m.jsonl"], kind)
    if corpus.is_small:
        corpus.checked_ids()
    out = Directory(f"{folder}/out", {"kind": kind}, merging.Size(), False, "transcripts")
    maker = TextMaker() if kind == "text" else MadeUpMaker()
    make(corpus, out, maker, Timed(Local(workers), times), progress=False)
    report = out.close(0.5, corpus.empty, **_metadata(kind))
    sizes = [path.stat().st_size for path in pathlib.Path(folder, "out").glob("shard-*.array_record")]
    seconds = {"first_part_sec": times[0] - start, "merge_sec": time.perf_counter() - times[-1]}
    workers_peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # of the largest
    memory = {
        "peak_bytes": _peak_bytes(),
        "worker_peak_bytes": workers_peak,
        "shards": len(sizes),
        "out_bytes": sum(sizes),
    }
    print(json.dumps({"records": report.prepared, "seconds": time.perf_counter() - start, **seconds, **memory}))


def markdown(measured: dict[str, Any]) -> str:
    """A table with one row per kind and number of lines, and what it says of 50 million lines."""
    rows = [
        [
            one["kind"],
            f"{one['lines']:,}",
            f"{one['manifest_bytes'] / 1e6:.0f}",
            f"{one['first_part_sec']:.1f}",
            f"{one['seconds']:.0f}",
            f"{one['merge_sec']:.0f}",
            f"{one['lines'] / one['seconds']:,.0f}",
            f"{one['shards']}",
            f"{one['peak_bytes'] / 1e6:.0f}",
            f"{one['worker_peak_bytes'] / 1e6:.0f}" if one["worker_peak_bytes"] else "–",
        ]
        for one in measured["measured"]
    ]
    heads = ["records", "lines", "manifest, MB", "first part, s", "all, s", "of it merging, s", "lines per second"]
    table = results_file.table([*heads, "shards", "most memory, MB", "of a worker, MB"], rows)
    return (
        f"{measured['workers']} processes, parts of {measured['part_items']} items, shards of at least "
        f"{merging.SHARD_MB} MB. Recordings are neither decoded nor aligned; memory is that of the process that reads "
        f"the manifest, and of the largest of the others.\n\n{table}\n\n{_estimate(measured['measured'])}"
    )


def _estimate(measured: Sequence[dict[str, Any]]) -> str:
    """What the rows with the most lines mean for ESTIMATED_LINES, and what memory holds."""
    sentences = []
    for kind in dict.fromkeys(one["kind"] for one in measured):
        most = max((one for one in measured if one["kind"] == kind), key=lambda one: one["lines"])
        hours = most["seconds"] / most["lines"] * ESTIMATED_LINES / 3600
        names = ESTIMATED_LINES / PART_ITEMS * NAME_BYTES / 1e6 if kind == "speech" else 0
        sentences.append(
            f"At this speed {ESTIMATED_LINES:,} lines of {kind} are {hours:.1f} hours of such work"
            + (f"; the names of their parts are about {names:.0f} MB." if names else ".")
        )
    return (
        f"{' '.join(sentences)} Where the files have at most {COMPARED_BYTES >> 20} MiB, all ids are compared before "
        "the work starts, and memory holds them meanwhile; of larger ones it holds the names of parts."
    )


def _write_manifest(path: pathlib.Path, kind: str, count: int) -> int:
    """Lines as a corpus has them. Returns the bytes of the file."""
    (path.parent / "audio.flac").touch()
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_lines(kind, count))
    return path.stat().st_size


def _lines(kind: str, count: int) -> Iterator[str]:
    for number in range(count):
        name = f"speaker{number % 5000:04d}-chapter{number // 1000:05d}-{number:08d}"
        others = {"audio": "audio.flac", "offset": 12.5 * number, "duration": SECONDS, "speaker": name[:11]}
        text = {"text": f"{TEXT} {number} " * 4}
        yield json.dumps({"id": name, "text": TEXT, **others} if kind == "speech" else {"id": name, **text}) + "\n"


def _metadata(kind: str) -> dict[str, Any]:
    speech = {"kind": "utterance", "unit_rate": 25.0, "codebook_size": 500, "codebook_fingerprint": "bench"}
    text = {"kind": "text", "unit_rate": None, "codebook_size": None, "codebook_fingerprint": None}
    return {**(speech if kind == "speech" else text), "tokenizer_fingerprint": None, "aligner": None}


def _peak_bytes() -> int:
    line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
