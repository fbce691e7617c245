"""All files below a place, folder by folder, with what tells that one was changed."""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator

from lst_jax.core.errors import DataError, first_line
from lst_jax.storage import bucket
from lst_jax.storage.place import BucketPath, Place

VERSION_KEYS = ("generation", "ETag", "etag", "mtime", "updated", "LastModified", "created")  # of fsspec's systems


@dataclasses.dataclass(frozen=True)
class Found:
    """A file: its path from the place that was walked, its bytes, and a text that changes when it is replaced."""

    path: str
    size: int
    version: str

    @property
    def name(self) -> str:
        """The last name. Example: "84/121/84-121.trans.txt" -> "84-121.trans.txt"."""
        return _last(self.path)


def walk(root: Place) -> Iterator[tuple[str, list[Found]]]:
    """(folder, its files) of each folder that has files, both in the order of their names; "" is `root` itself.

    Of this machine one folder is held at a time; links to folders are followed, but not to one that they lie in.
    A bucket is listed with one request per thousand objects. Raises: DataError, StorageError.
    """
    yield from _walk_bucket(root) if isinstance(root, BucketPath) else _walk_folder(root, "", ())


def files_in(folder: Place) -> list[Found]:
    """The files that lie in a folder itself, in the order of their names. Raises: as `walk`."""
    if isinstance(folder, pathlib.Path):
        return _listed(folder, "")[0]
    with bucket.errors_of(folder, "read"):
        infos = bucket.system_of(folder).ls(folder.key, detail=True)
    found = [Found(_last(info["name"]), int(info["size"]), _version(info)) for info in infos if info["type"] == "file"]
    return sorted((one for one in found if one.path), key=lambda one: one.path)


def look(place: Place) -> Found | None:
    """The file at a place, under its last name; None where there is none. Raises: StorageError."""
    if isinstance(place, pathlib.Path):
        if not place.is_file():
            return None
        state = place.stat()
        return Found(place.name, state.st_size, str(state.st_mtime_ns))
    try:
        with bucket.errors_of(place, "read"):
            info = bucket.system_of(place).info(place.key)
    except FileNotFoundError:
        return None
    return Found(place.name, int(info["size"]), _version(info)) if info["type"] == "file" else None


def _walk_folder(root: pathlib.Path, folder: str, above: tuple[str, ...]) -> Iterator[tuple[str, list[Found]]]:
    files, folders = _listed(root, folder)
    if files:
        yield folder, files
    here = (*above, os.path.realpath(root / folder))
    for path in folders:
        if os.path.realpath(root / path) not in here:
            yield from _walk_folder(root, path, here)


def _listed(root: pathlib.Path, folder: str) -> tuple[list[Found], list[str]]:
    """The files and the folders in a folder of this machine, by their paths from `root`, in the order of names."""
    files, folders = [], []
    try:
        with os.scandir(root / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir():
                    folders.append(path)
                elif entry.is_file():
                    state = entry.stat()
                    files.append(Found(path, state.st_size, str(state.st_mtime_ns)))
    except OSError as error:
        raise DataError(f"{root / folder}: cannot be listed ({first_line(error)}); check its rights") from error
    return sorted(files, key=lambda one: one.path), sorted(folders)


def _walk_bucket(root: BucketPath) -> Iterator[tuple[str, list[Found]]]:
    with bucket.errors_of(root, "read"):
        found = bucket.system_of(root).find(root.key, detail=True)
    files = [
        Found(key.lstrip("/").removeprefix(f"{root.key}/"), int(info["size"]), _version(info))
        for key, info in found.items()
        if not key.endswith("/")
    ]
    files.sort(key=lambda one: (_folder(one.path).split("/") if "/" in one.path else [], one.name))
    for folder, inside in itertools.groupby(files, key=lambda one: _folder(one.path)):
        yield folder, list(inside)


def _last(key: str) -> str:
    return key.rpartition("/")[2]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _version(info: dict) -> str:
    return next((str(info[key]) for key in VERSION_KEYS if key in info and info[key]), "")
