"""Files that are written whole or not at all."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from lst_jax.errors import storage_error


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary name in the same folder to write to; on success it becomes `path`, else it is removed.

    The folder is made if needed; data and rename are synced: a kill or a power cut leaves the old file or the new.

    Raises: StorageError where the file system refuses.
    """
    path = pathlib.Path(path)
    # The host's name: on a shared file system two hosts may write the same file, from processes of the same number.
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary, os.O_RDONLY)
        os.replace(temporary, path)
        _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # renamed, or never made
            temporary.unlink()


@contextlib.contextmanager
def whole_directory(target: pathlib.Path, partial: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives the empty folder `partial` to fill; on success it becomes `target`, in the place of one that was there.

    Raises: StorageError where the file system refuses; whatever happens, `target` is complete or as it was.
    """
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(target)
    except OSError as error:
        raise storage_error(target, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a UTF-8 text file atomically. Raises: StorageError."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, mapping: Mapping[str, Any]) -> None:
    """Writes a JSON file atomically. Raises: StorageError."""
    write_text(path, json.dumps(mapping, indent=1, ensure_ascii=False) + "\n")


def _sync(path: pathlib.Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
