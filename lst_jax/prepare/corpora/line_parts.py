"""Files of lines cut into parts, and the lines of a part: on this machine or in a bucket, plain or compressed.

A plain file is cut where lines end, and a part is read by its bytes alone. In a compressed file a part is so many lines
from a line on: who reads it reads all before it as well, unless it has just read a part before it.
"""

import contextlib
import hashlib
import io
import pathlib
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from lst_jax.core.errors import DataError, RejectedItem, StorageError, first_line
from lst_jax.data import line_files
from lst_jax.prepare.corpora.protocol import InputFile, Part
from lst_jax.storage import objects
from lst_jax.storage.place import Place

BLOCK = 1 << 22  # bytes of one read
WHOLE_BYTES = 1 << 26  # a plain file up to this size is one part, where parts may have any number of lines
ONE_REQUEST_BYTES = 1 << 26  # of a part: a larger one is read in blocks
LINE_END = 10

_stream: tuple[Place, int, BinaryIO] | None = None  # the compressed file that this process reads, and its next line


def parts(file: InputFile, number: int, part_lines: int) -> Iterator[Part]:
    """Parts of `part_lines` lines, found in one reading of the file, block by block.

    Raises: DataError where the file cannot be read; StorageError.
    """
    _refuse_empty(file)
    with _errors_of(file.place):
        if line_files.is_compressed(file.place):
            yield from _parts_of_compressed(file, number, part_lines)
        else:
            yield from _parts_of_plain(file, number, part_lines, None)


def large_parts(file: InputFile, number: int) -> Iterator[Part]:
    """Parts for whom the number of lines does not matter: a whole file, or about `WHOLE_BYTES` of a plain one.

    A file that is compressed, or small and in a bucket, is not opened: its version stands for its content.
    Raises: as `parts`.
    """
    _refuse_empty(file)
    opened = not line_files.is_compressed(file.place) and (
        isinstance(file.place, pathlib.Path) or file.size > WHOLE_BYTES
    )
    if opened:
        with _errors_of(file.place):
            yield from _parts_of_plain(file, number, None, WHOLE_BYTES)
    elif file.size:
        digest = hashlib.sha256(f"{file.size} {file.version}".encode()).hexdigest()[:16]
        yield Part(part_name(number, 0), file.place, digest, 0, 1, 0, input_name=file.name, size=file.size)


def part_name(number: int, index: int) -> str:
    """The name of part `index` of input file `number`. Example: (2, 17) -> "00002-0000017"."""
    return f"{number:05d}-{index:07d}"


def lines(part: Part, skip_bad: bool) -> Iterator[tuple[int, str, str | RejectedItem]]:
    """(number, place, line) of the lines of a part, as of `line_files.lines`; numbers are those in the file.

    Raises: DataError naming file and line; StorageError.
    """
    with _errors_of(part.place):
        if not line_files.is_compressed(part.place):
            yield from line_files.numbered(_plain(part), str(part.place), skip_bad, part.first)
            return
        yield from _lines_of_compressed(part, skip_bad)


def _refuse_empty(file: InputFile) -> None:
    """Raises: DataError where a compressed file has no bytes: nothing that compresses writes one, so a copy was cut."""
    if not file.size and line_files.is_compressed(file.place):
        raise DataError(f"{file.place}: has 0 bytes, which no compressed file has; copy it again, or remove it")


def _parts_of_plain(file: InputFile, number: int, part_lines: int | None, part_bytes: int | None) -> Iterator[Part]:
    """A part ends at the first line end at which it has `part_lines` lines, or at least `part_bytes` bytes."""
    index, start, first, count, digest = 0, 0, 1, 0, hashlib.sha256()

    def part(end: int) -> Part:
        name = part_name(number, index)
        return Part(name, file.place, digest.hexdigest()[:16], start, first, count, (), file.name, end - start)

    position, last_byte = 0, b""
    with objects.open_to_read(file.place) as opened:
        while block := opened.read(BLOCK):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == LINE_END) + 1
            used = done = 0  # bytes, and line ends, of the block that belong to parts that have ended
            while True:
                last = len(ends) if part_lines is None else done + part_lines - count - 1
                if part_bytes is not None:
                    last = min(last, max(done, int(np.searchsorted(ends, start + part_bytes - position))))
                if last >= len(ends):
                    break
                cut = int(ends[last])
                digest.update(block[used:cut])
                count += last + 1 - done
                yield part(position + cut)
                index, start, first, count = index + 1, position + cut, first + count, 0
                used, done, digest = cut, last + 1, hashlib.sha256()
            digest.update(block[used:])
            count += len(ends) - done
            position, last_byte = position + len(block), block[-1:]
    if position > start:
        count += last_byte != b"\n"  # a line without an end
        yield part(position)


def _parts_of_compressed(file: InputFile, number: int, part_lines: int) -> Iterator[Part]:
    index, count, digest = 0, 0, hashlib.sha256()

    def part() -> Part:
        first = index * part_lines + 1
        name = part_name(number, index)
        return Part(name, file.place, digest.hexdigest()[:16], 0, first, count, (), file.name)

    with _decompressed(file.place) as opened:
        while line := opened.readline(line_files.LONGEST_LINE):
            digest.update(line)
            count += 1
            if count == part_lines:
                yield part()
                index, count, digest = index + 1, 0, hashlib.sha256()
    if count:
        yield part()


def _plain(part: Part) -> BinaryIO:
    if part.size <= ONE_REQUEST_BYTES:
        return io.BytesIO(objects.read_range(part.place, part.start, part.size))
    opened = objects.open_to_read(part.place)
    opened.seek(part.start)
    return io.BufferedReader(_Limited(opened, part.size), BLOCK)


class _Limited(io.RawIOBase):
    """The next `left` bytes of a file."""

    def __init__(self, file: BinaryIO, left: int):
        self._file, self._left = file, left

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer) -> int:
        """See `io.RawIOBase`."""
        found = self._file.read(min(len(buffer), self._left))
        buffer[: len(found)] = found
        self._left -= len(found)
        return len(found)

    def close(self) -> None:
        """Closes the file as well."""
        self._file.close()
        super().close()


def _lines_of_compressed(part: Part, skip_bad: bool) -> Iterator[tuple[int, str, str | RejectedItem]]:
    global _stream
    place, line, opened = _stream or (None, 0, None)
    _stream = None
    if opened is None or place != part.place or line > part.first or part.first == 1:
        if opened is not None:
            opened.close()
        line, opened = 1, _decompressed(part.place)
    for _ in range(part.first - line):  # of a process that takes every n-th part, those that others take
        opened.readline(line_files.LONGEST_LINE)
    yield from line_files.numbered(opened, str(part.place), skip_bad, part.first, part.count or None)
    if part.count:
        _stream = part.place, part.first + part.count, opened
    else:
        opened.close()


def _decompressed(place: Place) -> BinaryIO:
    return line_files.decompressed(objects.open_to_read(place), place.suffix, str(place))


@contextlib.contextmanager
def _errors_of(place: Place) -> Iterator[None]:
    """What reading raises, as one line."""
    try:
        yield
    except StorageError:
        raise
    except (OSError, EOFError, zlib.error, *line_files.zstd_errors(place.suffix)) as error:  # cut, or not compressed
        raise DataError(f"{place}: cannot be read ({first_line(error)}); make the file again") from error
