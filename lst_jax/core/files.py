"""Files that are written whole or not at all, and files of JSON lines, which are added to."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import shutil
import socket
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from lst_jax.core.errors import BusyError, DataError, storage_error

NO_SYNC = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})  # of pipes, and file systems that cannot
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})  # of file systems without locks


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


@contextlib.contextmanager
def alone(folder: pathlib.Path, command: str) -> Iterator[None]:
    """Holds `folder`, made if needed, for this process; a process that dies lets go of it.

    File systems that know no locks, as some that mount buckets, let everyone pass.
    Raises: BusyError where another process holds it, StorageError where the folder cannot be written.
    """
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


def read_json_lines(path: str | os.PathLike) -> list[dict[str, Any]]:
    """The lines of a file, none where there is no file; a last line that a kill cut short is passed over.

    Raises: DataError where another line is not JSON.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return []
    found = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise DataError(f"{path}: line {number} is not JSON; remove it") from error
    return found


def open_json_lines(path: str | os.PathLike) -> BinaryIO:
    """Opens a file of JSON lines to add to it; what a kill left of a last line is removed first.

    Raises: StorageError where the file system refuses.
    """
    try:
        with contextlib.suppress(FileNotFoundError), open(path, "rb+") as f:
            f.truncate(f.read().rfind(b"\n") + 1)
        is_new = not os.path.lexists(path)
        file = open(path, "ab", buffering=0)  # without a buffer: what a full disk refuses is not tried again at close
        if is_new:
            _sync(pathlib.Path(path).parent, os.O_RDONLY | os.O_DIRECTORY)  # else a power cut may take the name away
        return file
    except OSError as error:
        raise storage_error(path, error) from error


def add_json_line(file: BinaryIO, mapping: Mapping[str, Any]) -> None:
    """Adds a line; out of this process's hands when it returns. Raises: StorageError."""
    line = (json.dumps(mapping) + "\n").encode()
    try:
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, "the line was cut short")
    except OSError as error:
        raise storage_error(file.name, error) from error


def sync_file(file: BinaryIO) -> None:
    """Returns when what was written to `file` is on the disk. Raises: StorageError."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise storage_error(file.name, error) from error


def _sync(path: pathlib.Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """A JSON object of a directory that a model was downloaded to. Raises: DataError where it is missing or another."""
    try:
        mapping = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; give a Hugging Face model directory that has it") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); download the model again") from error
    if not isinstance(mapping, dict):
        raise DataError(f"{path}: must be a JSON object; download the model again")
    return mapping
