"""Being told to stop: SIGINT and SIGTERM as something that a loop can ask for."""

import contextlib
import signal
import sys


class StopRequest(contextlib.AbstractContextManager):
    """Notes SIGINT and SIGTERM, so that a loop stops where it can; a second one interrupts at once."""

    def __init__(self, doing: str):
        """`doing`: what is printed at the first one."""
        self.requested = False
        self._doing = doing

    def __enter__(self):
        self._before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print(f"\n{signal.Signals(number).name}: {self._doing} (again to stop at once)", file=sys.stderr)
