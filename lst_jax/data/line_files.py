"""Lines of text files, plain or compressed, each with its place; a bad line stops the reading, or is counted."""

import gzip
import io
import itertools
import json
import pathlib
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from lst_jax.core.errors import DataError, RejectedItem, first_line

COMPRESSED = (".gz", ".zst")
NOT_TEXT = "not text"  # reason: half of a surrogate pair, or a NUL
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST_LINE = 1 << 28  # bytes: a file without line ends must not fill memory


def suffix(path: pathlib.PurePath) -> str:
    """What the name of a file, or of the file that was compressed, ends with. Example: "a.txt.gz" -> ".txt" """
    return path.with_suffix("").suffix if path.suffix in COMPRESSED else path.suffix


def lines(path: pathlib.Path, skip_bad: bool = False) -> Iterator[tuple[int, str, str | RejectedItem]]:
    """(number, place, line) of a UTF-8 file; a byte order mark at its start is passed over.

    With `skip_bad`, a line that is no text comes as its RejectedItem. Example place: "a.jsonl: line 3".
    Raises: DataError naming file and line.
    """
    if not path.is_file():
        found = "is no regular file" if path.exists() else "no such file"
        raise DataError(f"{path}: {found}; give a file of lines")
    try:
        with decompressed(path.open("rb"), path.suffix, str(path)) as file:
            yield from numbered(file, str(path), skip_bad)
    except (OSError, EOFError, zlib.error, *zstd_errors(path.suffix)) as error:  # compressed, and cut, or is none
        raise DataError(f"{path}: cannot be read ({first_line(error)}); make the file again") from error


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


def json_lines(path: pathlib.Path, skip_bad: bool = False) -> Iterator[tuple[str, dict[str, Any] | RejectedItem]]:
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
    if suffix != ".zst":
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
    if suffix == ".gz":
        return _Gzip(file)
    if suffix == ".zst":
        try:
            import zstandard  # here alone: few files need it
        except ModuleNotFoundError as error:
            raise DataError(f"{name}: needs the package zstandard; pip install zstandard, or decompress it") from error
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=True)
        return io.BufferedReader(reader, 1 << 17)
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
