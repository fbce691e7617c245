"""What each process of a job does now: RUN/hosts/0003.json, written anew by process 3 every half minute.

Only jobs of several processes write them. A process that stands still goes on writing; one that is gone does not.
Where nothing can be written, the run goes on without them.
"""

import contextlib
import datetime
import os
import socket
import threading
from typing import Any

from lst_jax.core import json_files
from lst_jax.core.errors import StorageError
from lst_jax.runs.ledger import Ledger
from lst_jax.storage import objects
from lst_jax.storage.place import Place

EVERY_SEC = 30.0
SUFFIX = ".json"


class Heartbeats(contextlib.AbstractContextManager):
    """A thread that writes this process's file within its block."""

    def __init__(self, folder: Place, process: int, ledger: Ledger, every_sec: float = EVERY_SEC):
        """Args: `folder` is RUN/hosts. `ledger` tells the step and what is being done."""
        self._place = folder / f"{process:04d}{SUFFIX}"
        self._process, self._ledger, self._every = process, ledger, every_sec
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="heartbeats", daemon=True)

    def __enter__(self) -> "Heartbeats":
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        """Does not wait for a write that may hang: the thread ends with the process."""
        self._ended.set()

    def _go_on(self) -> None:
        while True:
            with contextlib.suppress(StorageError, OSError):  # the next one may get through
                objects.write_json(self._place, self._state())
            if self._ended.wait(self._every):
                return

    def _state(self) -> dict[str, Any]:
        return {
            "process": self._process,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "step": self._ledger.step,
            "doing": self._ledger.account,
            "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }


def forget(folder: Place, count: int) -> None:
    """Removes what earlier jobs have left of processes that a job of `count` does not have."""
    with contextlib.suppress(StorageError, OSError):  # they only mislead a reader, and say when they were written
        for name in objects.names(folder):
            if name.removesuffix(SUFFIX).isdecimal() and int(name.removesuffix(SUFFIX)) >= count:
                objects.delete(folder / name)


def read(folder: Place) -> list[dict[str, Any]]:
    """The newest heartbeat of every process, in their order; what cannot be read is passed over."""
    found = []
    try:
        for name in (name for name in objects.names(folder) if name.endswith(SUFFIX)):
            with contextlib.suppress(FileNotFoundError, json_files.NotJson):  # written anew at this moment
                found.append(json_files.decode(objects.read_bytes(folder / name)))
    except (StorageError, OSError):
        return found
    return found


def in_words(beats: list[dict[str, Any]]) -> list[str]:
    """One line for each process.

    Example: 'process 1 on host-1, pid 7: after step 2, in "data"; written 2026-11-27T12:00:00+00:00'
    """
    return [
        f"process {beat.get('process')} on {beat.get('host')}, pid {beat.get('pid')}: after step {beat.get('step')}, "
        f'in "{beat.get("doing")}"; written {beat.get("written")}'
        for beat in beats
    ]
