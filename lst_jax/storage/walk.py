"""All files below a place, folder by folder: for trees of so many files that one listing of them would fill memory."""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator

from lst_jax.core.errors import DataError, first_line
from lst_jax.storage import objects
from lst_jax.storage.place import BucketPath, Place


@dataclasses.dataclass(frozen=True)
class Found:
    """A file: its path from the place that was walked, its bytes, and a text that changes when it is replaced."""

    path: str
    size: int
    version: str

    @property
    def name(self) -> str:
        """The last name. Example: "84/121/84-121.trans.txt" -> "84-121.trans.txt"."""
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """The path without the last name. Example: "84/121/84-121.trans.txt" -> "84/121"."""
        return self.path.rpartition("/")[0]


def walk(root: Place) -> Iterator[tuple[str, list[Found]]]:
    """(folder, its files) of each folder that has files, both in the order of their names; "" is `root` itself.

    Of this machine one folder is held at a time; links to folders are followed, but not to one that they lie in. Of a
    bucket the whole listing is held. Raises: DataError, StorageError.
    """
    yield from _walk_bucket(root) if isinstance(root, BucketPath) else _walk_folder(root, "", ())


def _walk_folder(root: pathlib.Path, folder: str, above: tuple[str, ...]) -> Iterator[tuple[str, list[Found]]]:
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
    if files:
        yield folder, sorted(files, key=lambda one: one.path)
    here = (*above, os.path.realpath(root / folder))
    for path in sorted(folders):
        if os.path.realpath(root / path) not in here:
            yield from _walk_folder(root, path, here)


def _walk_bucket(root: BucketPath) -> Iterator[tuple[str, list[Found]]]:
    files = [Found(path, size, version) for path, (size, version) in objects.listing(root).items()]
    files.sort(key=lambda one: (one.folder.split("/") if one.folder else [], one.name))
    for folder, inside in itertools.groupby(files, key=lambda one: one.folder):
        yield folder, list(inside)
