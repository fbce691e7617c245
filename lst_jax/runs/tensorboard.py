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

from lst_jax.core.errors import first_line

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
        values = [
            Summary.Value(tag=f"{record['kind']}/{key}", simple_value=value)
            for key, value in record.items()
            if key not in KEYS and isinstance(value, (int, float))
        ]
        with self._warning():
            self._append(Event(wall_time=time.time(), step=record["step"], summary=Summary(value=values)))

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            with self._warning():
                self._file.close()
            self._file = None

    def _append(self, event: Event) -> None:
        """TensorBoard's record: length, its checksum, the event, its checksum."""
        if self._file is None:
            return
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        record = length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))
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
