"""Requests to stop: SIGINT, SIGTERM and SIGHUP as something that a loop can ask for."""

import contextlib
import signal
import sys

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest(contextlib.AbstractContextManager):
    """Notes a stop signal, so that a loop stops where it can. A second signal interrupts at once.

    A signal that the process ignores stays ignored: `nohup` starts commands that ignore SIGHUP.
    """

    def __init__(self, doing: str):
        """`doing`: what is printed at the first signal."""
        self.requested = False
        self._doing = doing

    def __enter__(self):
        heeded = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._note) for number in heeded}
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print(f"\n{signal.Signals(number).name}: {self._doing} (again to stop at once)", file=sys.stderr)
