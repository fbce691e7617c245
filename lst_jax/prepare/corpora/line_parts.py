"""Parts of files of lines, plain or compressed: cut in one pass, read by themselves.

A part of a plain file is read from its first byte. A compressed file has no such bytes; so each process keeps the file
open where it stopped, and goes on from there. Parts that a process takes in their order cost one pass over the file.
"""

import atexit
import dataclasses
import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from lst_jax.core.errors import DataError, RejectedItem, first_line
from lst_jax.data.line_files import BYTE_ORDER_MARK, COMPRESSED, LONGEST_LINE
from lst_jax.prepare.corpora.places import bad_line
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place

DAMAGED = (OSError, EOFError, zlib.error)
Line = tuple[int, str, str | RejectedItem]  # number, place for messages, text


def cut(
    file: InputFile,
    number: int,
    part_items: int,
    header: bool = False,
    weigh: Callable[[bytes], int] | None = None,
) -> Iterator[Part]:
    """Parts of a file of lines, each with its first byte, the number of its first line (from 1), and its count of lines.

    `header` leaves the first line out. `weigh` says how many items a line gives, one where it is None.
    Raises: DataError where the file cannot be read.
    """
    digest, start, first, count, items, made = hashlib.sha256(), 0, 1, 0, 0, 0

    def part() -> Part:
        name = f"{number:05d}-{made:07d}"
        return Part(name, file.place, digest.hexdigest()[:16], start, first, count, input_name=file.name)

    for line, end, line_number in offsets(file.place):
        if header and line_number == 1:
            start, first = end, 2
            continue
        digest.update(line)
        count, items = count + 1, items + (weigh(line) if weigh else 1)
        if items >= part_items:
            yield part()
            digest, start, first, count, items, made = hashlib.sha256(), end, line_number + 1, 0, 0, made + 1
    if count:
        yield part()


def lines(part: Part) -> Iterator[Line]:
    """(number, place, line without its end) of a part; a line that is no UTF-8 text comes as its RejectedItem.

    Raises: DataError where the file cannot be read, or ends before the part does.
    """
    for index, line in enumerate(_lines_from(part)):
        number = part.first + index
        yield number, f"{part.place}: line {number}", decoded(line, number)


def all_lines(place: Place) -> Iterator[Line]:
    """`lines` of a whole small file. Raises: DataError where there is none."""
    try:
        content = objects.read_bytes(place)
    except OSError as error:
        raise _damaged(place, error) from error
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n"), 1):
        yield number, f"{place}: line {number}", decoded(line, number)


def items_of(
    numbered: Iterable[Line], settings: Settings, make: Callable[[str, str], Iterable[Item | BadItem]]
) -> Iterator[Item | BadItem]:
    """What `make(line, place)` gives for each line that is not blank; a RejectedItem that it raises is a bad line.

    Raises: DataError.
    """
    for _, where, line in numbered:
        try:
            if isinstance(line, RejectedItem):
                raise line
            if line.strip():
                yield from make(line, where)
        except RejectedItem as error:
            yield bad_line(where, error, settings)


def decoded(line: bytes, number: int) -> str | RejectedItem:
    """The text of a line, without its end; a byte order mark in front of the first one is passed over."""
    if len(line) == LONGEST_LINE:
        return RejectedItem("too long", f"has more than {LONGEST_LINE} bytes; is it a text file?")
    try:
        return (line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line).decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        return RejectedItem("not UTF-8", f"is not UTF-8 text ({error.reason}); convert it")


def first_text_line(place: Place) -> str:
    """The first line of a file, for its names of columns. Raises: DataError where there is none."""
    for line, *_ in offsets(place):
        text = decoded(line, 1)
        if isinstance(text, RejectedItem):
            raise DataError(f"{place}: line 1: {text}")
        return text
    raise DataError(f"{place}: is empty; its first line must name the columns")


def opened(place: Place) -> BinaryIO:
    """A file of lines, decompressed. Raises: DataError where there is none, or a package is missing."""
    try:
        raw = objects.open_to_read(place)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise DataError(f"{place}: no such file; correct the path") from error
    if place.suffix == ".gz":
        return _Gzip(raw)
    if place.suffix != ".zst":
        return raw
    try:
        import zstandard  # here alone: few files need it
    except ModuleNotFoundError as error:
        raise DataError(f"{place}: needs the package zstandard; pip install zstandard, or decompress it") from error
    return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))


def offsets(place: Place) -> Iterator[tuple[bytes, int, int]]:
    """(line, the byte behind it, its number from 1) of each line."""
    end = 0
    with opened(place) as file:
        try:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
                end += len(line)
                yield line, end, number
        except _errors_of(place) as error:
            raise _damaged(place, error) from error


class _Gzip(gzip.GzipFile):
    """A compressed file that closes what it reads from."""

    def __init__(self, raw: BinaryIO):
        super().__init__(fileobj=raw)
        self.raw_file = raw

    def close(self) -> None:
        """See the class."""
        super().close()
        self.raw_file.close()


@dataclasses.dataclass
class _Open:
    """A file of lines, open at byte `at` of its content."""

    file: BinaryIO
    at: int


_KEPT: dict[Place, _Open] = {}  # of this process: the compressed file that was read last, where nobody reads it


def _lines_from(part: Part) -> Iterator[bytes]:
    source = _taken(part.place, part.start)
    compressed = part.place.suffix in COMPRESSED
    try:
        if not compressed:
            source.file.seek(part.start)
        while compressed and source.at < part.start:
            source.at += len(_some(source.file.read(min(part.start - source.at, 1 << 20))))
        for _ in range(part.count):
            line = _some(source.file.readline(LONGEST_LINE))
            source.at += len(line)
            yield line
    except _errors_of(part.place) as error:
        source.file.close()
        raise _damaged(part.place, error) from error
    finally:
        if compressed and not source.file.closed:
            _close_kept()
            _KEPT[part.place] = source
        else:
            source.file.close()


def _taken(place: Place, start: int) -> _Open:
    """The file that was kept if it stands at or before byte `start`, else one opened anew."""
    if place in _KEPT and _KEPT[place].at <= start:
        return _KEPT.pop(place)
    return _Open(opened(place), 0)


def _close_kept() -> None:
    for other in _KEPT.values():
        other.file.close()
    _KEPT.clear()


atexit.register(_close_kept)


def _some(content: bytes) -> bytes:
    if not content:
        raise EOFError("it ends before the part does")
    return content


def _errors_of(place: Place) -> tuple[type[Exception], ...]:
    """What a file raises that was cut, or is none of its kind."""
    if place.suffix != ".zst":
        return DAMAGED
    import zstandard

    return (*DAMAGED, zstandard.ZstdError)


def _damaged(place: Place, error: Exception) -> DataError:
    return DataError(f"{place}: cannot be read ({first_line(error)}); make the file again")
