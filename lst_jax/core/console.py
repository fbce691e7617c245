"""Standard output and standard error that never end a command, and never carry what a terminal would obey.

They may go away: a closed terminal, a reader that ended, a full disk. The work goes on; `write_failed` says what was lost.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any


def printable(text: str) -> str:
    """One line that is safe to print: control characters and other invisible ones are escaped.

    Example: printable("a\\nb\\x1b[2J") -> "a\\\\nb\\\\x1b[2J".
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def without_controls(text: str) -> str:
    """The text with its lines and tabs, and with escapes for every other control character and invisible one."""
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" else printable(c) for c in text)


class ForgivingStream:
    """Passes text on to `stream` until a write fails; from then on text is dropped, and `error` says why.

    The descriptor then leads to /dev/null, so that neither C++ code nor Python's exit fails over it again.
    Characters that the stream's encoding does not have are written as escapes.
    """

    def __init__(self, stream: Any, escapes_controls: bool = False):
        """`escapes_controls`: control characters are escaped too; progress bars need them on standard error."""
        self._stream, self._escapes_controls = stream, escapes_controls
        self.error: OSError | ValueError | None = None

    def write(self, text: str) -> int:
        """Always returns the length of `text`."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        clean = without_controls(text) if self._escapes_controls else text
        self._try(self._stream.write, clean.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines) -> None:
        """Writes each of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hands on what the stream still holds, if it can."""
        self._try(self._stream.flush)

    def _try(self, function, *args) -> None:
        if self.error is None:
            try:
                function(*args)
            except (OSError, ValueError) as error:  # ValueError: the stream is closed
                self.error = error
                _lead_nowhere(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def safe_console() -> Iterator[ForgivingStream]:
    """Makes `sys.stdout` and `sys.stderr` forgiving within the block; gives standard output.

    Descriptors 0 to 2 that are closed (`2>&-`) are opened on /dev/null: else the next file that the command opens
    would take the number, and what libraries print would be written into it.
    """
    _open_closed_descriptors()
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        output = ForgivingStream(before[0] or nowhere, escapes_controls=True)
        messages = ForgivingStream(before[1] or nowhere)
        sys.stdout, sys.stderr = output, messages
        try:
            yield output
        finally:
            output.flush()
            messages.flush()
            sys.stdout, sys.stderr = before


def write_failed(stream: ForgivingStream) -> str | None:
    """Why output was lost that somebody waits for; None where all was written, or the reader went away by itself."""
    stream.flush()
    error = stream.error
    if error is None or isinstance(error, ValueError) or error.errno == errno.EPIPE:
        return None
    return error.strerror or str(error)


def _lead_nowhere(stream: Any) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a stream without a descriptor
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _open_closed_descriptors() -> None:
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
