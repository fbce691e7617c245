"""Places: whether the run can be written, how fast, with which room, and whether the data fit the recipe."""

import os
import pathlib
import shutil
import socket
import time
from collections.abc import Iterator

from lst_jax.config import Config, SourceConfig
from lst_jax.core.errors import storage_error
from lst_jax.cost.parameters import parameters
from lst_jax.data.pipeline import open_source, open_tokenizer
from lst_jax.doctor.finding import Finding
from lst_jax.parallel import sharding
from lst_jax.step import update
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_run_place

PROBE_BYTES = 1 << 23
SLOW_MB_PER_SEC = 5.0  # a 7B's state of 84 GB then takes hours to save, even from many hosts
STATE_BYTES = 12  # of a parameter: itself and two moments, in float32
MEMORY = pathlib.Path("/proc/meminfo")


def run_place(run: str) -> Iterator[Finding]:
    """Writes, reads and deletes an object where the run is to lie. Raises: ConfigError, StorageError."""
    folder = nearest_folder(to_run_place(run))
    probe = folder / f".lst-doctor-{socket.gethostname()}-{os.getpid()}"
    content = os.urandom(PROBE_BYTES)
    try:
        began = time.perf_counter()
        objects.write_bytes(probe, content)
        wrote = time.perf_counter()
        try:
            found = objects.read_bytes(probe)
            done = time.perf_counter()
        finally:
            objects.delete(probe)
    except OSError as error:
        raise storage_error(probe, error) from error
    if found != content:
        yield Finding("fail", run, "what is read is not what was written", "use another place, or mend this one")
        return
    write, read = (PROBE_BYTES / 1e6 / max(sec, 1e-9) for sec in (wrote - began, done - wrote))
    said = f"written with {write:.0f} MB/s, read with {read:.0f} MB/s, deleted"
    if min(write, read) < SLOW_MB_PER_SEC:
        yield Finding("warn", run, said, "use a bucket in the region of this host, or a faster disk")
    else:
        yield Finding("ok", run, said)


def nearest_folder(place: Place) -> Place:
    """The place itself in a bucket, else the folder or the nearest one above that is there."""
    while isinstance(place, pathlib.Path) and not place.is_dir() and place != place.parent:
        place = place.parent
    return place


def room(run: str, config: Config, processes: int) -> Iterator[Finding]:
    """Free disk where a run of this machine lies, and free memory, against what the recipe's state takes."""
    state = STATE_BYTES * parameters(config.model, config.joint_vocab)
    folder = nearest_folder(to_run_place(run))
    if isinstance(folder, pathlib.Path):
        kept = config.train.checkpoint_keep + 1  # the next is written before the oldest is deleted
        free, needed = shutil.disk_usage(folder).free, kept * state
        said = f"{_gb(free)} free, {kept} checkpoints take about {_gb(needed)}"
        if free < needed:
            yield Finding(
                "fail", f"disk of {run}", said, "free some, lower train.checkpoint_keep, or use another place"
            )
        else:
            yield Finding("ok", f"disk of {run}", said)
    free, share = free_memory(), state // processes
    said = f"{_gb(free)} free, this host's part of a checkpoint takes about {_gb(share)}"
    if free < share:
        yield Finding("warn", "memory", said, "end other programs, or use more hosts")
    else:
        yield Finding("ok", "memory", said)


def free_memory() -> int:
    """Bytes of memory that programs can still have on this host."""
    lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


def tokenizer(config: Config) -> Iterator[Finding]:
    """The recipe's text tokenizer. Raises: DataError where it does not fit."""
    pieces = open_tokenizer(config).get_piece_size()
    yield Finding("ok", config.data.tokenizer, f"{pieces} pieces, as vocab.text_size")


def model(config: Config) -> Iterator[Finding]:
    """The recipe's model, built without its numbers. Raises: ConfigError where its sizes do not go together."""
    mesh = sharding.one_device()
    update.state_shape(config, update.build_model(config, mesh, training_rows=True), mesh)
    yield Finding("ok", "model", f"{parameters(config.model, config.joint_vocab) / 1e6:,.0f} M parameters")


def source(config: Config, one: SourceConfig) -> Iterator[Finding]:
    """One source of the recipe: its metadata, its tokenizer and its first record. Raises: DataError, StorageError."""
    records = open_source(one, config)
    began = time.perf_counter()
    _ = records[0]
    took = time.perf_counter() - began
    said = f"{len(records)} records that fit the recipe, the first is read in {took * 1e3:.0f} ms"
    yield Finding("ok", one.path, said)


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
