"""Folders of several objects that are whole or not there, at a place of any kind."""

import contextlib
import pathlib
from collections.abc import Iterator

from lst_jax.core.files import whole_directory
from lst_jax.storage import objects
from lst_jax.storage.place import Place, on_mount

MARK = "unfinished.txt"  # in a folder that is being written where none can be renamed


def is_there(place: Place) -> bool:
    """Whether the place is a folder with something in it that is not being written, or a file."""
    if not objects.exists(place):
        return False
    there = objects.names(place) if objects.is_folder(place) else [place.name]
    return bool(there) and MARK not in there


@contextlib.contextmanager
def whole_folder(target: Place) -> Iterator[Place]:
    """Gives an empty folder to fill; on success it is `target`, which `is_there` before only as an empty folder.

    On a disk it is filled under another name, and renamed. In a bucket, or on the mount of one, it is filled in place
    with a mark in it that is removed last. What a killed process has left is removed at the next try.
    Raises: StorageError where the place refuses.
    """
    if isinstance(target, pathlib.Path) and not on_mount(target):
        with whole_directory(target, target.with_name(f".{target.name}.partial")) as out:
            yield out
        return
    objects.delete_folder(target)
    objects.write_text(target / MARK, "This folder is being written; whoever writes it removes this file last.\n")
    try:
        yield target
    except BaseException:
        objects.delete_folder(target)
        raise
    objects.delete(target / MARK)


@contextlib.contextmanager
def replaced_folder(target: Place, last: str) -> Iterator[Place]:
    """Gives an empty folder to fill; on success it becomes `target`, and whatever was there stays until then.

    On a disk the new folder is renamed. In a bucket, or on the mount of one, its objects are copied; the object `last`,
    without which the folder is not read, is removed first and written last.
    Raises: StorageError where the place refuses.
    """
    partial = target.with_name(f".{target.name}.partial")
    if isinstance(target, pathlib.Path) and not on_mount(target):
        with whole_directory(target, partial) as out:
            yield out
        return
    objects.delete_folder(partial)
    try:
        yield partial
        objects.delete(target / last)
        objects.delete_folder(target)
        for name in sorted(objects.sizes(partial), key=lambda name: name == last):
            objects.copy(partial / name, target / name)
    finally:
        objects.delete_folder(partial)


@contextlib.contextmanager
def filled_here(target: Place, last: str) -> Iterator[pathlib.Path]:
    """As `replaced_folder`, for a library that writes files alone: the folder that is given is one of this machine."""
    with replaced_folder(target, last) as out:
        if isinstance(out, pathlib.Path):
            out.mkdir(parents=True, exist_ok=True)
            yield out
            return
        with objects.scratch_to_fill("folder") as folder:
            yield folder
            objects.upload(folder, out)
