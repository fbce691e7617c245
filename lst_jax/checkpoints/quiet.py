"""Keeps Orbax and tensorstore from printing what they also raise."""

import contextlib
import inspect
import logging
import sys
import threading
from collections.abc import Iterator

LOGGERS = ("absl", "asyncio")  # Orbax logs several lines per save; asyncio logs the siblings of a failed write


class _Silence:
    """Both loggers and the hook for unraisable exceptions, as long as anyone holds it."""

    def __init__(self):
        self._lock, self._holders = threading.Lock(), 0

    def hold(self) -> None:
        with self._lock:
            self._holders += 1
            if self._holders == 1:
                self._levels = {name: logging.getLogger(name).level for name in LOGGERS}
                for name in LOGGERS:
                    logging.getLogger(name).setLevel(logging.CRITICAL)
                self._hook_before, sys.unraisablehook = sys.unraisablehook, self._hook

    def release(self) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                for name, level in self._levels.items():
                    logging.getLogger(name).setLevel(level)
                if sys.unraisablehook == self._hook:
                    sys.unraisablehook = self._hook_before

    def _hook(self, unraisable) -> None:
        """Passes over the siblings of a failed write or read: hundreds of tracebacks around the one that is raised.

        tensorstore hands their results to an event loop that has ended, and Orbax drops the coroutines that wait for
        them.
        """
        source = unraisable.object
        too_late = source is None and str(unraisable.exc_value) == "Event loop is closed"
        dropped = inspect.iscoroutine(source) and "/orbax/" in source.cr_code.co_filename
        if not (too_late or dropped):
            self._hook_before(unraisable)


_silence = _Silence()


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
    """Silences both within the block and restores the interpreter's settings behind it."""
    _silence.hold()
    try:
        yield
    finally:
        _silence.release()


def stay_quiet() -> None:
    """Keeps the silence until the process ends: a read or write has failed, and its siblings may report at any time."""
    _silence.hold()
