"""Lines of text files, plain or compressed, each with its place; a bad line stops the reading, or is counted."""

import contextlib
import gzip
import io
import itertools
import json
import os
import pathlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from lst_jax.core.errors import DataError, RejectedItem, first_line
from lst_jax.storage import bucket, objects
from lst_jax.storage.place import BucketPath, Place, to_place

COMPRESSED = (".gz", ".zst")
NOT_TEXT = "not text"  # reason: half of a surrogate pair, or a NUL
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
ZSTD_BYTES = 1 << 14  # of compressed content that are unpacked at a time
READ_BYTES = 1 << 20  # of an object of a bucket, at a time; lines are cut out of them
LONGEST_LINE = 1 << 28  # bytes: a file without line ends must not fill memory


def suffix(path: pathlib.PurePath) -> str:
    """What the name of a file, or of the file that was compressed, ends with. Example: "a.TXT.gz" -> ".txt" """
    inner = path.with_suffix("") if is_compressed(path) else path
    return inner.suffix.lower()


def is_compressed(path: pathlib.PurePath | Place) -> bool:
    """Whether the name of a file says so, in small letters or capitals."""
    return path.suffix.lower() in COMPRESSED


def lines(path: str | os.PathLike | Place, skip_bad: bool = False) -> Iterator[tuple[int, str, str | RejectedItem]]:
    """(number, place, line) of a UTF-8 file, here or in a bucket; a byte order mark at its start is passed over.

    With `skip_bad`, a line that is no text comes as its RejectedItem. Example place: "a.jsonl: line 3".
    Raises: DataError naming file and line; StorageError.
    """
    place = to_place(path)
    with bucket.errors_of(place, "read") if isinstance(place, BucketPath) else contextlib.nullcontext():
        try:
            with decompressed(_opened(place), place.suffix, str(place)) as file:
                yield from numbered(file, str(place), skip_bad)
        except (OSError, EOFError, zlib.error, *zstd_errors(place.suffix)) as error:  # compressed, and cut, or is none
            if bucket.is_of_requests(error):
                raise
            raise DataError(f"{place}: cannot be read ({first_line(error)}); make the file again") from error


def _opened(place: Place) -> BinaryIO:
    """The file. Raises: DataError where there is none; OSError, StorageError."""
    if isinstance(place, pathlib.Path) and not place.is_file():
        found = "is no regular file" if place.exists() else "no such file"
        raise DataError(f"{place}: {found}; give a file of lines")
    try:
        file = objects.open_to_read(place)
    except FileNotFoundError as error:
        raise DataError(f"{place}: no such file; give a file of lines") from error
    return file if isinstance(place, pathlib.Path) else io.BufferedReader(file, READ_BYTES)


def numbered(
    file: BinaryIO, name: str, skip_bad: bool = False, first: int = 1, count: int | None = None
) -> Iterator[tuple[int, str, str | RejectedItem]]:
    """`lines` of an open file called `name`: the next `count`, or all, numbered from `first`. Raises: DataError."""
    for number, line in zip(range(first, first + count) if count else itertools.count(first), _cut(file), strict=False):
        place = f"{name}: line {number}"
        try:
            yield number, place, _decoded(line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line)
        except RejectedItem as error:
            if not skip_bad:
                raise DataError(f"{place}: {error}") from error
            yield number, place, error


def json_lines(
    path: str | os.PathLike | Place, skip_bad: bool = False
) -> Iterator[tuple[str, dict[str, Any] | RejectedItem]]:
    """(place, object) of the lines of a JSON-lines file that are not blank; `skip_bad` as of `lines`.

    Raises: DataError naming file and line.
    """
    return objects_of(lines(path, skip_bad), skip_bad)


def objects_of(
    found: Iterable[tuple[int, str, str | RejectedItem]], skip_bad: bool = False
) -> Iterator[tuple[str, dict[str, Any] | RejectedItem]]:
    """`json_lines` of lines that `lines` or `numbered` found. Raises: DataError naming file and line."""
    for _, place, line in found:
        if isinstance(line, RejectedItem):
            yield place, line
            continue
        if not line.strip():
            continue
        try:
            yield place, json_object(line)
        except RejectedItem as error:
            if not skip_bad:
                raise DataError(f"{place}: {error}") from error
            yield place, error


def check_text(text: str, what: str) -> None:
    """Raises: RejectedItem where a text cannot be stored: half of a surrogate pair, as some scrapers cut it, or a NUL."""
    if "\0" in text:
        raise RejectedItem(NOT_TEXT, f"{what} has a NUL character; remove it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ascii(text[error.start])
        raise RejectedItem(
            NOT_TEXT, f"{what} has {half}, half of a surrogate pair, which is no character; remove it"
        ) from error


def zstd_errors(suffix: str) -> tuple[type[Exception], ...]:
    """What reading a file with this suffix may raise beside the usual errors."""
    if suffix.lower() != ".zst":
        return ()
    try:
        import zstandard
    except ModuleNotFoundError:  # which `decompressed` says in a line
        return ()
    return (zstandard.ZstdError,)


def decompressed(file: BinaryIO, suffix: str, name: str) -> BinaryIO:
    """The content of an open file whose name ends with `suffix`, which closing it closes as well.

    Raises: DataError, with `name`, where a package is needed that is not installed.
    """
    suffix = suffix.lower()
    if suffix == ".gz":
        return _Gzip(file)
    if suffix == ".zst":
        try:
            import zstandard  # here alone: few files need it
        except ModuleNotFoundError as error:
            raise DataError(f"{name}: needs the package zstandard; pip install zstandard, or decompress it") from error
        return io.BufferedReader(_Zstd(file, zstandard.ZstdDecompressor().decompressobj), 1 << 17)
    return file


class _Gzip(gzip.GzipFile):
    """Closes the file that it reads, too."""

    def __init__(self, file: BinaryIO):
        super().__init__(fileobj=file)
        self._file = file

    def close(self) -> None:
        """See the class."""
        super().close()
        self._file.close()


class _Zstd(io.RawIOBase):
    """Frames of zstd, one after the other. The package's own reader takes a cut frame for the end of the file."""

    def __init__(self, file: BinaryIO, new_frame: Callable[[], Any]):
        self._file, self._new_frame = file, new_frame
        self._frame: Any = None  # the one that has begun
        self._packed = b""  # what was read behind the end of a frame
        self._content = memoryview(b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer) -> int:
        """See `io.RawIOBase`. Raises: EOFError where the file ends within a frame; zstandard's errors."""
        while not self._content:
            packed = self._packed or self._file.read(ZSTD_BYTES)
            if not packed:
                if self._frame is not None:
                    raise EOFError("Compressed file ended before the end of its last frame")
                return 0
            self._frame = self._frame or self._new_frame()
            self._content, self._packed = memoryview(self._frame.decompress(packed)), b""
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        size = min(len(buffer), len(self._content))
        buffer[:size], self._content = self._content[:size], self._content[size:]
        return size

    def close(self) -> None:
        """Closes the file that it reads, too."""
        super().close()
        self._file.close()


def _cut(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(LONGEST_LINE):
        yield line


def _decoded(line: bytes) -> str:
    if len(line) == LONGEST_LINE:
        raise RejectedItem("too long", f"has more than {LONGEST_LINE} bytes; is it a text file?")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RejectedItem("not UTF-8", f"is not UTF-8 text ({error.reason}); convert it") from error


def json_object(line: str) -> dict[str, Any]:
    """The object of a line of JSON. Raises: RejectedItem."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RejectedItem("not JSON", f"is not JSON ({first_line(error)}); write one object per line") from error
    if not isinstance(fields, dict):
        raise RejectedItem("not JSON", f"must be a JSON object, not {type(fields).__name__}; write one object per line")
    return fields
