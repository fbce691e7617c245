"""Files and folders that are written whole or not at all, and locks of folders. JSON is read by `json_files`."""

import contextlib
import errno
import fcntl
import glob
import json
import os
import pathlib
import shutil
import socket
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from lst_jax.core.errors import BusyError, storage_error
from lst_jax.core.paths import check_writable_place

NO_SYNC = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})  # of pipes, and file systems that cannot
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})  # of file systems without locks


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary name in the same folder to write to; on success it becomes `path`, else it is removed.

    The folder is made if needed. Data and rename are synced, so that a kill or a power cut leaves the old file or the
    new one.
    Raises: StorageError where the file system refuses, ConfigError where `path` is an address.
    """
    path = pathlib.Path(path)
    check_writable_place(path)
    # The host's name: on a shared file system two hosts may write the same file, from processes of the same number.
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary, os.O_RDONLY)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):  # renamed, or never made
            temporary.unlink()


def remove_leftovers(folder: pathlib.Path, name: str) -> None:
    """Removes what `replacing` left in `folder` when this host's process was killed while it wrote `name`.

    `name` is a glob pattern of the final names, "**/*.json" for whole trees. Temporary files of living processes stay.
    """
    parents, _, last = name.rpartition("/")
    pattern = f"{parents}/.{last}" if parents else f".{last}"
    for leftover in folder.glob(f"{pattern}.{glob.escape(socket.gethostname())}.*.tmp"):
        number = leftover.name.split(".")[-2]
        if number.isdigit() and not pathlib.Path("/proc", number).exists():
            with contextlib.suppress(OSError):
                leftover.unlink()


@contextlib.contextmanager
def whole_directory(target: pathlib.Path, partial: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives the empty folder `partial` to fill; on success it becomes `target` and replaces one that was there.

    Whatever happens, `target` is complete or as it was.
    Raises: StorageError where the file system refuses, ConfigError where `target` is an address.
    """
    check_writable_place(target)
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


@contextlib.contextmanager
def exclusive_lock(folder: pathlib.Path, command: str) -> Iterator[None]:
    """Locks `folder`, which is made if needed, for this process. A process that dies releases its lock.

    File systems without locks, as some mounts of buckets, let everyone pass.
    Raises: BusyError where another process has the lock, StorageError where the folder cannot be written, ConfigError
        where `folder` is an address.
    """
    check_writable_place(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Without following a symbolic link: it could lead to any file, which opening would empty.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.fdopen(os.open(folder / "lock", flags, 0o666), "wb")
    except OSError as error:
        raise storage_error(folder, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"{folder}: another {command} is at work here; wait for it to end, or stop it") from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise storage_error(folder, error) from error
        yield


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a UTF-8 text file atomically. Raises: StorageError."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, mapping: Mapping[str, Any]) -> None:
    """Writes a JSON file atomically. Raises: StorageError."""
    write_text(path, json.dumps(mapping, indent=1, ensure_ascii=False) + "\n")


def sync_file(file: BinaryIO) -> None:
    """Returns when what was written to `file` is on the disk. Raises: StorageError."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise storage_error(file.name, error) from error


def sync_folder(path: pathlib.Path) -> None:
    """Returns when the names in the folder are on the disk."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: pathlib.Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
