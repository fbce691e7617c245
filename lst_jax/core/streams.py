"""Standard output and standard error that may go away: a closed terminal, a reader that ended, a full disk.

A command's work must not end because nobody reads its progress any more.
"""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any


class ForgivingStream:
    """Passes text on to `stream` until a write fails; from then on text is dropped, and `error` says why.

    The descriptor then leads to /dev/null, so that neither C++ code nor Python's exit fails over it again.
    Characters that the stream's encoding does not have are written as escapes.
    """

    def __init__(self, stream: Any):
        self._stream = stream
        self.error: OSError | ValueError | None = None

    def write(self, text: str) -> int:
        """Always returns the length of `text`."""
        if self.error is None:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                encoding = getattr(self._stream, "encoding", None) or "ascii"
                self.write(text.encode(encoding, "backslashreplace").decode(encoding))
            except (OSError, ValueError) as error:  # ValueError: the stream is closed
                self._lose(error)
        return len(text)

    def writelines(self, lines) -> None:
        """Writes each of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hands on what the stream still holds, if it can."""
        if self.error is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: OSError | ValueError) -> None:
        self.error = error
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a stream without a descriptor
            descriptor = self._stream.fileno()
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


@contextlib.contextmanager
def forgiving_streams() -> Iterator[ForgivingStream]:
    """Makes `sys.stdout` and `sys.stderr` forgiving within the block; gives standard output.

    Descriptors 0 to 2 that are closed (`2>&-`) are opened on /dev/null: else the next file that the command opens
    would take the number, and what libraries print would be written into it.
    """
    _open_closed_descriptors()
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nowhere:
        sys.stdout, sys.stderr = (ForgivingStream(nowhere if stream is None else stream) for stream in before)
        ours = sys.stdout, sys.stderr
        try:
            yield ours[0]
        finally:
            for stream in ours:
                stream.flush()
            sys.stdout, sys.stderr = before


def write_failed(stream: ForgivingStream) -> str | None:
    """Why output was lost that somebody waits for; None where all was written, or the reader went away by itself."""
    stream.flush()
    error = stream.error
    if error is None or isinstance(error, ValueError) or error.errno == errno.EPIPE:
        return None
    return error.strerror or str(error)


def _open_closed_descriptors() -> None:
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
