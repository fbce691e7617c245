"""`lst bench convert`: time and memory of conversions of a made-up model, whose arrays are drawn from their shapes.

It measures what `lst convert` does: it writes a model in a format one array at a time, and computes the rows of the
proof from what lies on disk. Memory is anonymous memory, because pages of mapped files can be dropped at any time.
"""

import contextlib
import math
import pathlib
import shutil
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tqdm

from lst_jax.config import Config
from lst_jax.convert import formats, streamed
from lst_jax.convert.inputs import inputs_for
from lst_jax.convert.source import Source, Stored, expected_shapes
from lst_jax.core.errors import DataError
from lst_jax.data import made_up
from lst_jax.report import results_file

PACKAGES = ("jax", "orbax-checkpoint", "numpy", "safetensors")
STATUS = pathlib.Path("/proc/self/status")  # of Linux
WATCH_SEC = 0.02
GIB = 2**30


def measure(config: Config, names: Sequence[str], folder: pathlib.Path, progress: bool = False) -> dict[str, Any]:
    """Writes the model in each format below `folder`, one after another, and removes each again.

    The vocabulary is that of made-up text. Raises: DataError where the disk has no room; StorageError.
    """
    if not STATUS.is_file():
        raise DataError(f"{STATUS}: no such file; memory is measured on Linux only")
    with tempfile.TemporaryDirectory(prefix="lst_bench_convert_", dir=folder) as here:
        source = made_up_source(made_up.over(config, here))
        size = sum(4 * math.prod(one.shape) for one in source.arrays.values())
        free = shutil.disk_usage(here).free
        if free < 1.1 * size:
            raise DataError(
                f"--folder {folder}: has {free / GIB:.0f} GiB left, the model takes {size / GIB:.0f}; give "
                "another folder, or a smaller recipe"
            )
        inputs = inputs_for(source.config)
        with watched() as ours:
            wanted = streamed.logits(source, inputs, progress)
        found = {}
        for name in tqdm.tqdm(names, desc="formats", disable=not progress):
            found[name] = _measure(formats.FORMATS[name], source, inputs, wanted, pathlib.Path(here) / name, progress)
    return {
        "name": config.name,
        "system": config.model.architecture,
        "parameters": size // 4,
        "bytes": size,
        "largest_array_bytes": max(4 * math.prod(one.shape) for one in source.arrays.values()),
        "source": {"seconds": ours["seconds"], "peak_bytes": ours["peak_bytes"]},
        "formats": found,
    }


def _measure(form, source: Source, inputs, wanted, out: pathlib.Path, progress: bool) -> dict[str, Any]:
    out.mkdir()
    with watched() as writing:
        form.write(source, out, progress)
    with watched() as reading:
        got, who = form.logits(out, inputs)
    written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    shutil.rmtree(out)
    return {
        "write": writing,
        "logits": reading,
        "computed_by": who,
        "bytes": written,
        "max_logit_error": float(np.abs(got - wanted).max()),
    }


def made_up_source(config: Config) -> Source:
    """A model of the configuration whose arrays are drawn when they are read, with the same values each time."""

    def draw(path: str, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) == 1:
            return np.ones(shape, np.float32)
        rng = np.random.default_rng(zlib.crc32(path.encode()))
        return (rng.random(shape, dtype=np.float32) - np.float32(0.5)) * np.float32((12 / shape[0]) ** 0.5)

    shapes = expected_shapes(config.model, config.joint_vocab)
    return Source(
        config,
        {path: Stored(shape, lambda path=path, shape=shape: draw(path, shape)) for path, shape in shapes.items()},
        {"format": "made up", "path": "", "step": 0},
    )


@contextlib.contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Yields a mapping that has `seconds` and `peak_bytes` at the end; the latter of the process's anonymous memory."""
    found: dict[str, float] = {"peak_bytes": 0.0}
    over, began = threading.Event(), time.perf_counter()

    def watch():
        while not over.wait(WATCH_SEC):
            found["peak_bytes"] = max(found["peak_bytes"], anonymous_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()
        found["seconds"] = time.perf_counter() - began


def anonymous_bytes() -> float:
    """The bytes of this process's memory that it could not read from a file again."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon:"))
    return 1024.0 * int(line.split()[1])


def markdown(measured: dict[str, Any]) -> str:
    """A table with one row per format."""
    rows = [
        [
            name,
            f"{one['bytes'] / GIB:.1f}",
            f"{one['write']['seconds']:.0f}",
            f"{one['write']['peak_bytes'] / GIB:.2f}",
            f"{one['logits']['seconds']:.0f}",
            f"{one['logits']['peak_bytes'] / GIB:.2f}",
            f"{one['max_logit_error']:.1e}",
            one["computed_by"],
        ]
        for name, one in measured["formats"].items()
    ]
    return (
        f"{measured['name']}: {measured['parameters']:,} parameters made from shapes, "
        f"{measured['bytes'] / GIB:.1f} GiB in float32, the largest array "
        f"{measured['largest_array_bytes'] / GIB:.2f} GiB; GiB of memory are anonymous ones.\n\n"
        + results_file.table(
            [
                "format",
                "GiB on disk",
                "write, s",
                "most memory, GiB",
                "logits, s",
                "most memory, GiB",
                "largest difference",
                "computed by",
            ],
            rows,
        )
    )
