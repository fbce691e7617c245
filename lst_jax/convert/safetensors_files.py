"""Reads and writes safetensors with few arrays in memory, in one file or in shards with their index.

A file is an 8-byte length, a JSON header of that length (name -> dtype, shape, place) and the arrays one after the
other. The header is therefore written from shapes alone. Reading maps the files, so an array takes memory only while it
is used.

    write_safetensors(out, tensors)         # OUT/model.safetensors, or shards and model.safetensors.index.json
    open_safetensors(out)["lm_head.weight"].read()
"""

import concurrent.futures
import json
import math
import os
import pathlib
import struct
import threading
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np
import tqdm

from lst_jax.convert import source
from lst_jax.convert.source import Stored, bfloat16_bits, some
from lst_jax.core import json_files
from lst_jax.core.errors import DataError

SHARD_BYTES = (
    4_000_000_000  # below 5 GB, at which transformers has long cut files, and small enough for every file system
)
WRITERS = 4  # shards that are written at the same time
LONGEST_HEADER = 100_000_000  # bytes; the format's own limit
PICKLES = (".bin", ".pt", ".pth")
TRY_AGAIN = "convert or download it again"
# the format's types that are read
WIDENED = {"F32": source.WIDENED["float32"], "F16": source.WIDENED["float16"], "BF16": source.WIDENED["bfloat16"]}
# name of a type -> its name in the format, what numpy stores, and how float32 becomes that
STORED: dict[str, tuple[str, str, Callable[[np.ndarray], np.ndarray]]] = {
    "float32": ("F32", "<f4", np.asarray),
    "bfloat16": ("BF16", "<u2", bfloat16_bits),
}


def write_safetensors(
    out: pathlib.Path,
    tensors: Mapping[str, Stored],
    metadata: Mapping[str, str] | None = None,
    stem: str = "model",
    shard_bytes: int = SHARD_BYTES,
    progress: bool = False,
    dtype: str = "float32",
) -> None:
    """Writes the arrays in their order, `WRITERS` shards at a time, with one array in memory per shard.

    The result is OUT/STEM.safetensors, or shards of at most `shard_bytes` and OUT/STEM.safetensors.index.json. An array
    that is larger than that has a shard of its own.
    Args: `metadata` goes into every file, beside the format "pt" that transformers asks for. `dtype` is one of `STORED`;
        arrays are rounded to it.
    """
    shards = _shards(tensors, shard_bytes, dtype)
    names = (
        [f"{stem}.safetensors"]
        if len(shards) == 1
        else [f"{stem}-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    )
    total = sum(_bytes(one, dtype) for one in tensors.values())
    told = {"format": "pt"} | dict(metadata or {})
    lock = threading.Lock()  # arrays are read one at a time: what they are read from may not be made for more
    with (
        tqdm.tqdm(total=total, desc=f"write {out.name}", unit="B", unit_scale=True, disable=not progress) as bar,
        concurrent.futures.ThreadPoolExecutor(WRITERS) as pool,
    ):
        written = [
            pool.submit(_write_file, out / name, shard, told, dtype, lock, bar)
            for name, shard in zip(names, shards, strict=True)
        ]
        try:
            for one in written:
                one.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if len(shards) > 1:
        places = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        (out / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def open_safetensors(path: pathlib.Path, stem: str = "model") -> dict[str, Stored]:
    """Tensors by name, read later, of a file, or of a folder with STEM.safetensors or STEM.safetensors.index.json.

    Reading widens float16 and bfloat16 to float32, and refuses other types.
    Raises: DataError for a file that is missing, cut short or damaged, and where files and index disagree.
    """
    if path.is_file():
        return _open_file(path)
    whole, index = path / f"{stem}.safetensors", path / f"{stem}.safetensors.index.json"
    if whole.is_file():
        return _open_file(whole)
    if index.is_file():
        return _open_shards(index)
    if pickles := [file.name for file in sorted(path.glob("*")) if file.suffix in PICKLES]:
        raise DataError(
            f"{whole}: no such file, only {pickles[0]}, a pickle, which is a program and is not run here; "
            "save the model with transformers' save_pretrained, which writes safetensors"
        )
    raise DataError(f"{whole}: no such file, nor {index.name}; give a folder with weights in safetensors")


def is_there(path: pathlib.Path, stem: str = "model") -> bool:
    """Whether the folder has safetensors files of that stem."""
    return any((path / f"{stem}.safetensors{more}").is_file() for more in ("", ".index.json"))


def _bytes(one: Stored, dtype: str) -> int:
    return np.dtype(STORED[dtype][1]).itemsize * math.prod(one.shape)


def _shards(tensors: Mapping[str, Stored], limit: int, dtype: str) -> list[dict[str, Stored]]:
    """Consecutive arrays that fit together; at least one list."""
    shards, room = [{}], limit
    for name, one in tensors.items():
        if shards[-1] and _bytes(one, dtype) > room:
            shards.append({})
            room = limit
        shards[-1][name] = one
        room -= _bytes(one, dtype)
    return shards


def _write_file(
    path: pathlib.Path,
    tensors: Mapping[str, Stored],
    metadata: dict[str, str],
    dtype: str,
    lock: threading.Lock,
    bar: tqdm.tqdm,
) -> None:
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, one in tensors.items():
        start, end = end, end + _bytes(one, dtype)
        header[name] = {"dtype": STORED[dtype][0], "shape": list(one.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, one in tensors.items():
            size = _append(file, name, one, dtype, lock)
            with lock:
                bar.update(size)
        file.flush()
        os.fsync(file.fileno())


def _append(file: BinaryIO, name: str, one: Stored, dtype: str, lock: threading.Lock) -> int:
    """Writes the bytes of an array, which is freed afterwards. Returns their number."""
    with lock:
        value = one.read()
    assert value.shape == one.shape, (name, value.shape, one.shape)
    value = np.ascontiguousarray(STORED[dtype][2](value), STORED[dtype][1])
    file.write(value.data)
    return value.nbytes


def _open_shards(index: pathlib.Path) -> dict[str, Stored]:
    mapping = json_files.read_model_file(index)
    places = mapping["weight_map"] if "weight_map" in mapping else None
    if not isinstance(places, dict) or not all(
        isinstance(p, str) and p == pathlib.Path(p).name for p in places.values()
    ):
        raise DataError(f"{index}: weight_map must give a file of this folder for each tensor; {TRY_AGAIN}")
    found = {}
    for file in sorted(set(places.values())):
        path, expected = index.with_name(file), {name for name, place in places.items() if place == file}
        if not path.is_file():
            raise DataError(f"{path}: no such file, where {index.name} has {some(expected)}; {TRY_AGAIN}")
        held = _open_file(path)
        if missing := expected - held.keys():
            raise DataError(f"{path}: lacks {some(missing)}, which {index.name} puts there; {TRY_AGAIN}")
        if extra := held.keys() - expected:
            raise DataError(f"{path}: has {some(extra)}, which {index.name} does not put there; {TRY_AGAIN}")
        found |= held
    return found


def _open_file(path: pathlib.Path) -> dict[str, Stored]:
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(size - 8, LONGEST_HEADER):
            raise DataError(f"{path}: is cut short within its header, or no safetensors file; {TRY_AGAIN}")
        text = file.read(length)
    try:
        header = json_files.decode(text)
        header.pop("__metadata__", None)
        places = {
            name: (e["dtype"], tuple(map(int, e["shape"])), *map(int, e["data_offsets"])) for name, e in header.items()
        }
        end = _check_places(places)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: has no header of safetensors ({type(error).__name__}); {TRY_AGAIN}") from error
    if 8 + length + end != size:
        raise DataError(
            f"{path}: has {size} bytes where its header says {8 + length + end}: it is "
            f"{'cut short' if size < 8 + length + end else 'damaged'}; {TRY_AGAIN}"
        )
    return {
        name: Stored(shape, _reader(path, name, dtype, shape, 8 + length + begin))
        for name, (dtype, shape, begin, _) in places.items()
    }


def _check_places(places: Mapping[str, tuple[str, tuple[int, ...], int, int]]) -> int:
    """Bytes of all arrays. Raises: ValueError where they do not follow each other, or one is not of its size."""
    end = 0
    for dtype, shape, begin, after in sorted(places.values(), key=lambda place: place[2:]):
        size = np.dtype(WIDENED[dtype][0]).itemsize * math.prod(shape) if dtype in WIDENED else after - begin
        if begin != end or after - begin != size or size < 0 or min(shape, default=1) < 1:
            raise ValueError("places")
        end = after
    return end


def _reader(path: pathlib.Path, name: str, dtype: str, shape: tuple[int, ...], offset: int) -> Callable[[], np.ndarray]:
    def read():
        if dtype not in WIDENED:
            raise DataError(f"{path}: {name} is of type {dtype}, only {', '.join(WIDENED)} are read; save it as one")
        stored, widen = WIDENED[dtype]
        return widen(np.asarray(np.memmap(path, stored, "r", offset, shape)))

    return read
