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
    objects.delete(target)
    objects.write_text(target / MARK, "This folder is being written; whoever writes it removes this file last.\n")
    try:
        yield target
    except BaseException:
        objects.delete(target)
        raise
    objects.delete(target / MARK)
