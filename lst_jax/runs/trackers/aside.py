"""A tracker in a thread of its own: a service that is slow, gone or broken costs the run one line and no time."""

import queue
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from lst_jax.core.errors import first_line
from lst_jax.runs.tensorboard import KEYS
from lst_jax.runs.trackers.protocol import Tracker

MOST_WAITING = 1000  # records; more are dropped
CLOSE_SEC = 30.0  # for what is left at the end of a run


class Aside:
    """Takes the records of a run, as `lst_jax.runs.tensorboard.EventFile` does, and hands them to a tracker."""

    def __init__(self, name: str, opened: Callable[[], Tracker], close_sec: float = CLOSE_SEC):
        """Args: `opened` opens the tracker; the thread calls it."""
        self._name, self._opened, self._close_sec = name, opened, close_sec
        self._waiting: queue.Queue[Mapping[str, Any] | None] = queue.Queue(MOST_WAITING)
        self._failed = False
        self._thread = threading.Thread(target=self._send, name=name, daemon=True)
        self._thread.start()

    def add(self, record: Mapping[str, Any]) -> None:
        """Hands a record over, without waiting."""
        if not self._failed:
            try:
                self._waiting.put_nowait(record)
            except queue.Full:
                self._give_up(f"{MOST_WAITING} records wait for it")

    def keep(self) -> None:
        """Does nothing: the service keeps what it has."""

    def close(self) -> None:
        """Waits half a minute for what is left."""
        if not self._failed:
            try:
                self._waiting.put_nowait(None)
            except queue.Full:
                return self._give_up(f"{MOST_WAITING} records wait for it")
            self._thread.join(self._close_sec)
            if self._thread.is_alive():
                self._give_up(f"it did not take the last records within {self._close_sec:.0f} seconds")

    def _send(self) -> None:
        try:
            tracker = self._opened()
            while (record := self._waiting.get()) is not None and not self._failed:
                tracker.add(record["step"], numbers_of(record))
            tracker.close()
        except Exception as error:  # each service has exceptions of its own, and none may end the run
            self._give_up(f"{type(error).__name__}: {first_line(error)}")

    def _give_up(self, cause: str) -> None:
        if not self._failed:
            self._failed = True
            print(f"{self._name}: gets no more records of this start ({cause}); the run goes on", file=sys.stderr)


def numbers_of(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a record, by the names that TensorBoard has.

    Example: {"step": 1, "kind": "train", "loss": 2.0} -> {"train/loss": 2.0}
    """
    return {
        f"{record['kind']}/{key}": value
        for key, value in record.items()
        if key not in KEYS and isinstance(value, (int, float))
    }
