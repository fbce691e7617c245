"""Copies on this machine of what lies in buckets, for libraries that open files by their names.

A copy is made once for a command. The processes that the command starts find it too, by an environment variable. The
command removes all copies when it ends.
"""

import atexit
import hashlib
import os
import pathlib
import shutil
import sys
import tempfile

from lst_jax.core.errors import StorageError, storage_error
from lst_jax.storage import bucket, objects
from lst_jax.storage.place import BucketPath, Place, to_place

VARIABLE = "LST_COPIES"  # environment variable with the folder of the copies
LARGE = 64 << 20  # bytes: a copy of so many is announced

_own: tuple[int, str] | None = None  # the process that made the folder, and the folder
_addresses: dict[str, str] = {}  # of the copies, and of the folders that they lie in


def at_hand(path: str | os.PathLike | Place) -> pathlib.Path:
    """The path itself; of an address, the path of a copy of the object, or of all objects below it.

    Objects of one folder have copies in one folder.
    Raises: DataError where nothing is there, StorageError where it cannot be read or there is no room for it.
    """
    place = to_place(path)
    if not isinstance(place, BucketPath):
        return place
    try:
        folder = _folder() / hashlib.sha256(str(place.parent).encode()).hexdigest()[:16]
        local = folder / place.name
        if not local.exists():
            _copy(place, local)
    except OSError as error:
        raise storage_error(place, error) from error
    if place.parent != place:
        _addresses[str(folder)] = str(place.parent)
    _addresses[str(local)] = str(place)
    return local


def as_given(text: str) -> str:
    """A text, such as a message or a path, in which the addresses stand in the place of their copies."""
    for local in sorted(_addresses, key=len, reverse=True):
        text = text.replace(local, _addresses[local])
    return text


def remove_copies() -> None:
    """Removes the copies that this process, and those that it has started, have made."""
    global _own
    if _own is not None and _own[0] == os.getpid():
        shutil.rmtree(_own[1], ignore_errors=True)
        if os.environ[VARIABLE] == _own[1]:
            del os.environ[VARIABLE]
    _own = None
    _addresses.clear()


def _folder() -> pathlib.Path:
    global _own
    if VARIABLE not in os.environ or not os.path.isdir(os.environ[VARIABLE]):
        os.environ[VARIABLE] = tempfile.mkdtemp(prefix="lst_copies_")
        _own = os.getpid(), os.environ[VARIABLE]
        atexit.register(remove_copies)
    return pathlib.Path(os.environ[VARIABLE])


def _copy(place: BucketPath, local: pathlib.Path) -> None:
    """Copies under another name first: another process may copy the same."""
    size = _bytes(place)
    if size > (free := shutil.disk_usage(_folder()).free):
        raise StorageError(
            f"{place}: a copy on this machine needs {size / 2**30:.1f} GiB, and {_folder().parent} has "
            f"{free / 2**30:.1f} GiB free; free space, or set TMPDIR to a larger disk"
        )
    if size >= LARGE:
        print(f"lst: copying {place} ({size / 2**30:.1f} GiB) to this machine", file=sys.stderr)
    partial = local.with_name(f".{local.name}.{os.getpid()}")
    objects.download(place, partial)
    try:
        partial.rename(local)
    except OSError:
        if not local.is_dir():
            raise
        shutil.rmtree(partial, ignore_errors=True)  # another process has made the folder meanwhile


def _bytes(place: BucketPath) -> int:
    found = objects.look(place)
    if found is not None:
        return found[0]
    sizes = objects.sizes(place)
    if not sizes:
        raise bucket.missing(place)
    return sum(sizes.values())
