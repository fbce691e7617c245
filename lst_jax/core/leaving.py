"""Leaving the process although threads of libraries would hold it."""

import contextlib
import os
import sys
import threading
import time
from typing import NoReturn

FAILED = 1  # the interpreter's own code where an exception ends it
GRACE_SEC = 5.0  # in which a process that has failed may end by itself

_left = threading.Lock()  # whoever takes it ends the process and says why


def exit_at_once(code: int, line: str) -> NoReturn:
    """Prints the line to standard error and ends this process, without waiting for threads or other processes.

    Several threads may call this: the first one's line is printed, and the others wait for the end.
    """
    _left.acquire()
    print(line, file=sys.stderr)
    _end(code)


def exit_soon(code: int, grace_sec: float = GRACE_SEC) -> None:
    """Ends this process with `code` after `grace_sec`, unless it has ended before."""

    def end() -> None:
        time.sleep(grace_sec)
        _end(code)

    threading.Thread(target=end, name="leaving", daemon=True).start()


def say_no_more() -> None:
    """Drops what libraries print to standard error while the process ends: the error has been told in one line."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or None; no file may be opened any more
        sys.stderr.flush()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)


def _end(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or None
            stream.flush()
    os._exit(code)
