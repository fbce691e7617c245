"""Tensors in safetensors files, one file or several with an index, read and written one tensor at a time.

    stem.safetensors                          where one file is enough
    stem-00001-of-00003.safetensors …         else, and stem.safetensors.index.json: {"weight_map": {name: file}}
"""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import tqdm

from lst_jax.convert.source import Stored
from lst_jax.errors import DataError
from lst_jax.files import write_json

SHARD_BYTES = 4 << 30
FLOAT_BYTES = 4
# what weights are stored in; all are read as float32
DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16}


def find(folder: pathlib.Path, stem: str) -> bool:
    """Whether the folder has tensors of that name."""
    return (folder / f"{stem}.safetensors").is_file() or (folder / f"{stem}.safetensors.index.json").is_file()


def open_shards(folder: pathlib.Path, stem: str) -> dict[str, Stored]:
    """All tensors by name, as float32; float32 ones are views of the mapped files.

    Raises: DataError where a file is missing, cut short or no safetensors, or a tensor is not where the index says.
    """
    index = folder / f"{stem}.safetensors.index.json"
    if not index.is_file():
        return open_shard(folder / f"{stem}.safetensors")
    try:
        places = json.loads(index.read_text())["weight_map"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{index}: is no index of safetensors ({error}); copy it again") from error
    tensors: dict[str, Stored] = {}
    for name in sorted(set(places.values())):
        tensors |= open_shard(folder / name)
    for name in sorted(tensors.keys() ^ places.keys()):
        raise DataError(f"{index}: {name} is not in both the index and the files; copy the directory again")
    return tensors


def open_shard(path: pathlib.Path) -> dict[str, Stored]:
    """The tensors of one file. Raises: DataError."""
    header, start = _header(path)
    header.pop("__metadata__", None)
    try:
        entries = {name: (one["dtype"], tuple(map(int, one["shape"])), *map(int, one["data_offsets"]))
                   for name, one in header.items()}
        end = start + max((entry[3] for entry in entries.values()), default=0)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{path}: its header is damaged ({error}); copy it again") from error
    if path.stat().st_size != end:
        raise DataError(f"{path}: has {path.stat().st_size} bytes where its header says {end}: it was cut short or is "
                        "damaged; copy it again")
    for name, (dtype, shape, first, last) in entries.items():
        if dtype not in DTYPES:
            raise DataError(f"{path}: {name} is {dtype}; store weights as one of {', '.join(DTYPES)}")
        if first < 0 or last - first != np.dtype(DTYPES[dtype]).itemsize * math.prod(shape):
            raise DataError(f"{path}: {name} has {last - first} bytes for the shape {shape}; copy the file again")
    return {name: _stored(path, start + first, shape, DTYPES[dtype])
            for name, (dtype, shape, first, _) in entries.items()}


def write_shards(tensors: Mapping[str, Stored], folder: pathlib.Path, stem: str, shard_bytes: int = SHARD_BYTES,
                 metadata: Mapping[str, str] | None = None, progress: bool = False) -> None:
    """Writes float32 tensors in files of at most `shard_bytes`, or of one tensor that is larger."""
    groups: list[dict[str, Stored]] = [{}]
    for name, one in tensors.items():
        if groups[-1] and _bytes(one) + sum(map(_bytes, groups[-1].values())) > shard_bytes:
            groups.append({})
        groups[-1][name] = one
    names = [f"{stem}.safetensors"] if len(groups) == 1 else [
        f"{stem}-{i:05d}-of-{len(groups):05d}.safetensors" for i in range(1, len(groups) + 1)]
    with tqdm.tqdm(total=len(tensors), desc="write", unit="tensor", disable=not progress) as bar:
        for name, group in zip(names, groups, strict=True):
            _write_shard(group, folder / name, metadata or {}, bar)
    if len(groups) > 1:
        write_json(folder / f"{stem}.safetensors.index.json", {
            "metadata": {"total_size": sum(map(_bytes, tensors.values()))},
            "weight_map": {name: file for file, group in zip(names, groups, strict=True) for name in group}})


def _write_shard(tensors: Mapping[str, Stored], path: pathlib.Path, metadata: Mapping[str, str], bar) -> None:
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    place = 0
    for name, one in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(one.shape), "data_offsets": [place, place + _bytes(one)]}
        place += _bytes(one)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at multiples of 8 bytes
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, one in tensors.items():
            array = np.asarray(one.read(), "<f4", order="C")
            assert array.shape == one.shape, name
            file.write(array.reshape(-1).data)
            bar.update()


def _header(path: pathlib.Path) -> tuple[dict[str, Any], int]:
    """What the file says of its tensors, and where they begin."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if 8 + size > path.stat().st_size:
                raise ValueError("its header is longer than the file: it was cut short, or is something else")
            header = json.loads(file.read(size))
            if not isinstance(header, dict):
                raise ValueError("its header is no map of tensors")
            return header, 8 + size
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; copy the directory again") from error
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read as safetensors ({error}); copy it again") from error


def _stored(path: pathlib.Path, place: int, shape: tuple[int, ...], dtype: Any) -> Stored:
    def read() -> np.ndarray:
        if not math.prod(shape):
            return np.zeros(shape, np.float32)
        return np.memmap(path, dtype, "r", place, shape).view(np.ndarray).astype(np.float32, copy=False)

    return Stored(shape, read)


def _bytes(one: Stored) -> int:
    return FLOAT_BYTES * math.prod(one.shape)
