"""Files and folders that are written whole or not at all, and locks of folders. JSON is read by `json_files`."""

import contextlib
import datetime
import errno
import fcntl
import glob
import json
import os
import pathlib
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, TypeVar

from lst_jax.core.errors import (
    PASSING_ERRNOS,
    BusyElsewhereError,
    BusyError,
    ConfigError,
    PassingStorageError,
    storage_error,
)
from lst_jax.core.paths import check_writable_place

NO_SYNC = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})  # of pipes, and file systems that cannot
NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})  # of file systems without locks
WAIT_SEC = 30.0  # for a server that does not answer
LOCK_WAIT_SEC = 120.0  # an NFS server releases the locks of a client that died after 90 seconds
FIRST_PAUSE_SEC, LONGEST_PAUSE_SEC = 0.25, 10.0  # between two tries
LONGEST_OWNER = 4096  # bytes of a lock's file that are read
Result = TypeVar("Result")


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary name in the same folder to write to; on success it becomes `path`, else it is removed.

    The folder is made if needed. Data and rename are synced, so that a kill or a power cut leaves the old file or the
    new one.
    Raises: StorageError where the file system refuses, ConfigError where `path` is an address.
    """
    path = pathlib.Path(path)
    check_writable_place(path)
    _check_replaceable(path)
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


def _check_replaceable(path: pathlib.Path) -> None:
    """Refuses a device, a pipe or a folder: renaming over a device such as /dev/null would take it from everyone."""
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError):
        return  # not there, or to be said where it is written
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        kind = "folder" if stat.S_ISDIR(mode) else "device or a pipe"
        raise ConfigError(f"{path}: is a {kind}, and a file is to be written there; choose another name")


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
def exclusive_lock(folder: pathlib.Path, command: str, wait_sec: float = LOCK_WAIT_SEC) -> Iterator[None]:
    """Locks `folder`, which is made if needed, for this process. A process that dies releases its lock.

    The lock of another host may be that of a host that died, which the file system releases after a while: this waits
    up to `wait_sec` for it. File systems without locks, as some mounts of buckets, let everyone pass.
    Raises: BusyError where another process of this host has the lock, BusyElsewhereError where one of another host
        keeps it, StorageError where the folder cannot be written, ConfigError where `folder` is an address.
    """
    check_writable_place(folder)
    # Without following a symbolic link: it could lead to any file, which opening would empty.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with_patience(lambda: folder.mkdir(parents=True, exist_ok=True), wait_sec)
        lock = os.fdopen(with_patience(lambda: os.open(folder / "lock", flags, 0o666), wait_sec), "r+b", buffering=0)
    except OSError as error:
        raise storage_error(folder, error) from error
    with lock:
        with_patience(lambda: _take_lock(lock, folder, command), wait_sec)
        _write_owner(lock)
        yield


def with_patience(work: Callable[[], Result], wait_sec: float) -> Result:
    """What `work` returns. Where it fails in a way that may pass, it is tried again, at longer and longer intervals.

    Raises: what `work` raises, after `wait_sec` if it may pass, else at once.
    """
    deadline, pause = time.monotonic() + wait_sec, FIRST_PAUSE_SEC
    while True:
        try:
            return work()
        except (PassingStorageError, BusyElsewhereError):
            if time.monotonic() + pause > deadline:
                raise
        except OSError as error:
            if error.errno not in PASSING_ERRNOS or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SEC)


def _take_lock(lock: BinaryIO, folder: pathlib.Path, command: str) -> None:
    """Takes the lock, or raises at once."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = _owner(lock)
        if owner is None or owner["host"] == socket.gethostname():
            by = "" if owner is None else f" (process {owner['pid']}, since {owner['since']})"
            raise BusyError(
                f"{folder}: another {command} is at work here{by}; wait for it to end, or stop it"
            ) from error
        raise BusyElsewhereError(
            f"{folder}: another {command} is at work here (on host {owner['host']}, process {owner['pid']}, since "
            f"{owner['since']}); stop it, or run the same command again once the file system has released the lock "
            "of a host that died"
        ) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise storage_error(folder, error) from error


def _write_owner(lock: BinaryIO) -> None:
    """Writes into the lock's file who has it. Messages name the owner if it can be written."""
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
    with contextlib.suppress(OSError):  # the lock holds without it
        os.ftruncate(lock.fileno(), 0)
        os.pwrite(lock.fileno(), (json.dumps(owner) + "\n").encode(), 0)


def _owner(lock: BinaryIO) -> dict[str, Any] | None:
    """Who has the lock, or None where its file does not say: it is empty, or of an earlier version."""
    try:
        owner = json.loads(os.pread(lock.fileno(), LONGEST_OWNER, 0))
    except (OSError, ValueError):
        return None
    return owner if isinstance(owner, dict) and owner.keys() >= {"host", "pid", "since"} else None


def write_text(path: str | os.PathLike, text: str, wait_sec: float = WAIT_SEC) -> None:
    """Writes a UTF-8 text file atomically. Errors that may pass are waited out, up to `wait_sec`. Raises: StorageError."""

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    with_patience(write, wait_sec)


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
