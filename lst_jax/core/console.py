"""Standard output and standard error that never end a command, and never carry what a terminal would obey."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator

PIPE_CLOSED_EXIT_CODE = 141  # 128 + SIGPIPE, as shells count: the reader went away, as `head` does


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


class ReaderGone(Exception):
    """Nobody reads standard output any more, as after `lst … | head`: the command may end quietly."""


class _Stream(io.TextIOBase):
    """A text stream that hands everything to another one; subclasses change `write` and `flush`."""

    def __init__(self, stream: io.TextIOBase):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    @property
    def encoding(self):  # ty: ignore[incompatible-property-override]
        return self.stream.encoding

    @property
    def errors(self):  # ty: ignore[incompatible-property-override]
        return self.stream.errors

    def fileno(self) -> int:
        return self.stream.fileno()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        self.stream.flush()

    def close(self) -> None:
        self.flush()


class _Output(_Stream):
    """Standard output: escapes control characters, and characters that the encoding does not have."""

    def write(self, text: str) -> int:
        encoding = self.stream.encoding or "utf-8"
        clean = without_controls(text).encode(encoding, "backslashreplace").decode(encoding)
        with self._noticing_the_end():
            self.stream.write(clean)
        return len(text)

    def flush(self) -> None:
        with self._noticing_the_end():
            self.stream.flush()

    @contextlib.contextmanager
    def _noticing_the_end(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError as error:
            discard(self.stream)
            raise ReaderGone from error


class _Messages(_Stream):
    """Standard error: what cannot be written is dropped, because a message must not end a run."""

    def write(self, text: str) -> int:
        encoding = self.stream.encoding or "utf-8"
        with self._dropping_failures():
            self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        with self._dropping_failures():
            self.stream.flush()

    @contextlib.contextmanager
    def _dropping_failures(self) -> Iterator[None]:
        try:
            yield
        except ValueError:  # the stream is closed
            return
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EIO, errno.EBADF):  # for good; a full disk may have room again
                discard(self.stream)


def discard(stream: io.TextIOBase) -> None:
    """Points a stream at /dev/null, so that what it still holds does not fail when the process ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def safe_console() -> Iterator[None]:
    """Within the block, printing is safe; see `_Output` and `_Messages`. Closed streams swallow what is printed.

    Raises: ReaderGone, from what prints in the block.
    """
    before = sys.stdout, sys.stderr
    opened = [open(os.devnull, "w", encoding="utf-8") for stream in before if stream is None]
    closed = iter(opened)
    sys.stdout = _Output(before[0] or next(closed))
    sys.stderr = _Messages(before[1] or next(closed))
    try:
        yield
    finally:
        try:
            sys.stderr.flush()
            sys.stdout.flush()
        finally:
            sys.stdout, sys.stderr = before
            for stream in opened:
                stream.close()
