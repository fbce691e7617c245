"""Event files for TensorBoard. They are beside the run: where they cannot be written, the run goes on without them."""

import contextlib
import errno
import os
import pathlib
import shutil
import socket
import struct
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

from tensorboardX.proto.event_pb2 import Event  # ty: ignore[missing-module-member]
from tensorboardX.proto.summary_pb2 import Summary  # ty: ignore[missing-module-member]
from tensorboardX.record_writer import masked_crc32c

from lst_jax.core.errors import StorageError, first_line
from lst_jax.storage import objects
from lst_jax.storage.place import Place

KEYS = ("step", "kind")  # of a record, which are no scalars
FILE_VERSION = "brain.Event:2"  # TensorBoard's own, of the records below


class EventFile:
    """Writes the records of a run as scalars `KIND/NAME`, one event for each record.

    Every event is one unbuffered write of this thread: a failure is seen where it happens, and nothing waits for a
    queue that nobody empties. After the first failure, which is one warning, all else is dropped.
    """

    def __init__(self, folder: pathlib.Path, records: Iterable[Mapping[str, Any]]):
        """Replaces the files in `folder` by one that holds `records`."""
        self._folder = folder
        self._file: BinaryIO | None = None
        with self._warning():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
            self._file = (folder / name).open("wb", buffering=0)
            self._append(Event(wall_time=time.time(), file_version=FILE_VERSION))
        for record in records:
            self.add(record)

    def add(self, record: Mapping[str, Any]) -> None:
        """Adds the numbers of a record of metrics.jsonl."""
        with self._warning():
            self._append(_event_of(record))

    def keep(self) -> None:
        """Every event has been written already."""

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            with self._warning():
                self._file.close()
            self._file = None

    def _append(self, event: Event) -> None:
        if self._file is None:
            return
        record = _framed(event)
        if self._file.write(record) != len(record):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextlib.contextmanager
    def _warning(self):
        try:
            yield
        except OSError as error:
            file, self._file = self._file, None
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()
            print(
                f"{self._folder}: cannot write for TensorBoard ({error.strerror or first_line(error)}); "
                "the run goes on without it, and its next start writes these files anew",
                file=sys.stderr,
            )


class EventSegments:
    """Event files in a bucket: each is written whole where a run is saved, and TensorBoard reads one after the other."""

    def __init__(self, folder: Place, records: Iterable[Mapping[str, Any]], step: int):
        """Replaces what is in `folder` by one file of `records`, which lead to `step`."""
        self._folder, self._last, self._failed, self._number = folder, step, False, 0
        self._waiting: list[bytes] = []
        with self._warning():
            objects.delete_folder(folder)
        for record in records:
            self.add(record)
        self.keep()

    def add(self, record: Mapping[str, Any]) -> None:
        """Adds the numbers of a record to the next file."""
        self._last = record["step"]
        self._waiting.append(_framed(_event_of(record)))

    def keep(self) -> None:
        """Writes the next file. Where it cannot be written, the run goes on without it."""
        waiting, self._waiting = self._waiting, []
        if not waiting or self._failed:
            return
        self._number += 1
        # TensorBoard goes through a folder's files by name, and asks for nothing in it but these words
        name = f"events.out.tfevents.{self._last:010d}.{self._number:06d}.{socket.gethostname()}"
        first = _framed(Event(wall_time=time.time(), file_version=FILE_VERSION))
        with self._warning():
            objects.write_bytes(self._folder / name, b"".join([first, *waiting]))

    def close(self) -> None:
        """Writes the last file."""
        self.keep()

    @contextlib.contextmanager
    def _warning(self):
        try:
            yield
        except StorageError as error:
            if not self._failed:
                print(
                    f"{first_line(error)}; the run goes on without TensorBoard, and its next start writes these files anew",
                    file=sys.stderr,
                )
            self._failed = True


def _event_of(record: Mapping[str, Any]) -> Event:
    values = [
        Summary.Value(tag=f"{record['kind']}/{key}", simple_value=value)
        for key, value in record.items()
        if key not in KEYS and isinstance(value, (int, float))
    ]
    return Event(wall_time=time.time(), step=record["step"], summary=Summary(value=values))


def _framed(event: Event) -> bytes:
    """TensorBoard's record: length, its checksum, the event, its checksum."""
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))
