"""Reads and writes what `torch.save` writes, without PyTorch, one tensor at a time.

Since version 1.6 such a file is a zip archive that is not compressed. FOLDER/data.pkl in it is a pickle of the object, in which
each tensor is a call of `torch._utils._rebuild_tensor_v2`; its numbers are in FOLDER/data/KEY, little-endian. A pickle is
a program. Here no name that it asks for is looked up: those of PyTorch are stood in for, and all others are refused.

    write_tensors(path, {"norm.weight": one}, "model")    # as torch.save({"model": {"norm.weight": tensor}}, path)
    read(path)["model"]["norm.weight"].stored(...)
"""

import dataclasses
import io
import math
import pathlib
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tqdm

from lst_jax.convert import source
from lst_jax.convert.source import Stored, bfloat16_bits
from lst_jax.core.errors import DataError
from lst_jax.core.files import sync_file

FOLDER = "consolidated"
ALIGNMENT = 64  # bytes, as torch.save aligns tensors, so that they can be mapped
LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # of a file in a zip archive; its last two numbers are the lengths below
ZIP64_EXTRA = 20  # bytes that Python's zipfile adds to the header of a large file
# PyTorch's types that are read
WIDENED = {
    "FloatStorage": source.WIDENED["float32"],
    "HalfStorage": source.WIDENED["float16"],
    "BFloat16Storage": source.WIDENED["bfloat16"],
}
# name of a type -> PyTorch's storage, what numpy stores, and how float32 becomes that
WRITTEN: dict[str, tuple[str, str, Callable[[np.ndarray], np.ndarray]]] = {
    "float32": ("FloatStorage", "<f4", np.asarray),
    "bfloat16": ("BFloat16Storage", "<u2", bfloat16_bits),
}


class NotPlainTensors(Exception):
    """The pickle asks for something other than tensors and plain values."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of the file: a view of the numbers of one file in the archive."""

    path: pathlib.Path
    kind: str  # PyTorch's name of the storage's type
    begin: int  # of the storage, in bytes of the file
    first: int  # number of the storage
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def stored(self, name: str) -> Stored:
        """The tensor as float32. Reading it raises DataError where its type is not a float of 16 or 32 bits."""
        return Stored(self.shape, lambda: self._read(name))

    def _read(self, name: str) -> np.ndarray:
        if self.kind not in WIDENED:
            raise DataError(
                f"{self.path}: {name} is a {self.kind}, only {', '.join(WIDENED)} are read; save it as one of these"
            )
        dtype, widen = WIDENED[self.kind]
        size = np.dtype(dtype).itemsize
        count = 1 + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        flat = np.asarray(np.memmap(self.path, dtype, "r", self.begin + self.first * size, (count,)))
        return widen(np.lib.stride_tricks.as_strided(flat, self.shape, [step * size for step in self.strides]))


def is_archive(path: pathlib.Path) -> bool:
    """Whether the file is a whole zip archive. Files of PyTorch before 1.6, and those that were cut short, are none."""
    return zipfile.is_zipfile(path)


def read(path: pathlib.Path) -> Any:
    """The object of the file, with a `Tensor` for each tensor. Nothing in the file runs.

    Raises: NotPlainTensors, zipfile.BadZipFile, pickle.UnpicklingError, KeyError, ValueError, EOFError, … for other files.
    """
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        folder = next(name for name in archive.namelist() if name.endswith("data.pkl")).removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise NotPlainTensors("its numbers are big-endian")
        return _Reader(archive.read(f"{folder}data.pkl"), path, _places(archive, file, f"{folder}data/")).load()


def write_tensors(
    path: pathlib.Path,
    tensors: Mapping[str, Stored],
    key: str,
    progress: bool = False,
    folder: str = FOLDER,
    dtype: str = "float32",
) -> None:
    """Writes {key: tensors by name}, holding one tensor at a time; `torch.load` reads it with any options.

    Args: `dtype` is one of `WRITTEN`; numbers are rounded to it.
    """
    storage, stored, narrow = WRITTEN[dtype]
    with open(path, "wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            _add(archive, f"{folder}/data.pkl", _pickled(tensors, key, storage))
            _add(archive, f"{folder}/byteorder", b"little")
            for number, (name, one) in enumerate(tqdm.tqdm(tensors.items(), desc="write", disable=not progress)):
                value = np.asarray(narrow(one.read()), stored, order="C")
                assert value.shape == one.shape, (name, value.shape, one.shape)
                _add(archive, f"{folder}/data/{number}", value.reshape(-1).data.cast("B"))
            _add(archive, f"{folder}/version", b"3\n")
        sync_file(file)


def _add(archive: zipfile.ZipFile, name: str, content: bytes | memoryview) -> None:
    """Adds a file whose content begins at a multiple of `ALIGNMENT`."""
    info = zipfile.ZipInfo(name)
    info.file_size = len(content)
    is_large = len(content) * 1.05 > zipfile.ZIP64_LIMIT
    begin = archive.fp.tell() + LOCAL_HEADER.size + len(name) + 4 + ZIP64_EXTRA * is_large
    padding = -begin % ALIGNMENT
    info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    with archive.open(info, "w") as out:
        out.write(content)


def _pickled(tensors: Mapping[str, Stored], key: str, kind: str) -> bytes:
    """The pickle, protocol 2, of {key: {name: tensor}}, where tensor number n has its numbers in the file n.

    Args: `kind` is PyTorch's name of the storages' type.
    """
    parts = [pickle.PROTO + b"\x02", pickle.EMPTY_DICT, _plain(key), pickle.EMPTY_DICT, pickle.MARK]
    for number, (name, one) in enumerate(tensors.items()):
        strides = tuple(math.prod(one.shape[i + 1 :]) for i in range(len(one.shape)))
        storage = [_plain("storage"), _name("torch", kind), _plain(str(number)), _plain("cpu")]
        parts += [_plain(name), _name("torch._utils", "_rebuild_tensor_v2"), pickle.MARK, pickle.MARK, *storage]
        parts += [_plain(math.prod(one.shape)), pickle.TUPLE, pickle.BINPERSID]
        parts += [_plain(value) for value in (0, tuple(one.shape), strides, False)]
        hooks = [_name("collections", "OrderedDict"), pickle.EMPTY_TUPLE, pickle.REDUCE]
        parts += [*hooks, pickle.TUPLE, pickle.REDUCE]
    return b"".join([*parts, pickle.SETITEMS, pickle.SETITEM, pickle.STOP])


def _plain(value: Any) -> bytes:
    """The operations that make a plain value, without the pickle's begin and end."""
    return pickletools.optimize(pickle.dumps(value, 2))[2:-1]


def _name(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _places(archive: zipfile.ZipFile, file: io.BufferedReader, folder: str) -> dict[str, tuple[int, int]]:
    """Where the content of each file below the folder begins, in bytes, and how long it is."""
    found = {}
    for info in archive.infolist():
        if info.filename.startswith(folder):
            if info.compress_type != zipfile.ZIP_STORED:
                raise NotPlainTensors("it is compressed")
            file.seek(info.header_offset)
            *_, name, extra = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
            begin = info.header_offset + LOCAL_HEADER.size + name + extra
            found[info.filename.removeprefix(folder)] = begin, info.file_size
    return found


class _Mapping(dict):
    """An OrderedDict. The state dictionary of a module has a version on it, which is passed over."""

    def __setstate__(self, _: Any) -> None:
        """Takes any state."""


class _StandIn:
    """Takes the place of an object of PyTorch that is no tensor, such as a size or a type; it does nothing."""

    def __init__(self, *_: Any):
        """Takes what the object would."""

    def __setstate__(self, _: Any) -> None:
        """Takes any state."""


class _Reader(pickle.Unpickler):
    """Reads the pickle of an archive whose files lie at `places`."""

    def __init__(self, content: bytes, path: pathlib.Path, places: Mapping[str, tuple[int, int]]):
        super().__init__(io.BytesIO(content))
        self._path, self._places = path, places

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return _Mapping
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if module == "torch" and name.endswith("Storage"):
            return name
        if module.split(".")[0] == "torch":
            return _StandIn
        raise NotPlainTensors(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        _, kind, key, _, count = pid
        return kind, key, int(count)

    def _tensor(self, storage: Any, first: int, shape: Any, strides: Any, *_: Any) -> Tensor:
        kind, key, _ = storage
        begin, length = self._places[key]
        shape, strides = tuple(map(int, shape)), tuple(map(int, strides))
        last = first + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if min(shape, default=1) < 0 or min(strides, default=0) < 0 or first < 0:
            raise NotPlainTensors("a tensor has a negative size")
        if kind in WIDENED and math.prod(shape) and (last + 1) * np.dtype(WIDENED[kind][0]).itemsize > length:
            raise NotPlainTensors("a tensor reaches beyond its file")
        return Tensor(self._path, kind, begin, int(first), shape, strides)
