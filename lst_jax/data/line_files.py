"""Lines of text files, plain or compressed, each with its place; a bad line stops the reading, or is counted."""

import gzip
import io
import json
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any

from lst_jax.core.errors import DataError, RejectedItem, first_line

COMPRESSED = (".gz", ".zst")
NOT_TEXT = "not text"  # reason: half of a surrogate pair, or a NUL
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST_LINE = 1 << 28  # bytes: a file without line ends must not fill memory


def suffix(path: pathlib.Path) -> str:
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
        with _opened(path) as file:
            for number, line in enumerate(_cut(file), 1):
                place = f"{path}: line {number}"
                try:
                    yield number, place, _decoded(line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line)
                except RejectedItem as error:
                    if not skip_bad:
                        raise DataError(f"{place}: {error}") from error
                    yield number, place, error
    except (OSError, EOFError, zlib.error, *_zstd_errors(path)) as error:  # a compressed file that was cut, or is none
        raise DataError(f"{path}: cannot be read ({first_line(error)}); make the file again") from error


def json_lines(path: pathlib.Path, skip_bad: bool = False) -> Iterator[tuple[str, dict[str, Any] | RejectedItem]]:
    """(place, object) of the lines of a JSON-lines file that are not blank; `skip_bad` as of `lines`.

    Raises: DataError naming file and line.
    """
    for _, place, line in lines(path, skip_bad):
        if isinstance(line, RejectedItem):
            yield place, line
            continue
        if not line.strip():
            continue
        try:
            yield place, _object(line)
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


def _zstd_errors(path: pathlib.Path) -> tuple[type[Exception], ...]:
    if path.suffix != ".zst":
        return ()
    import zstandard

    return (zstandard.ZstdError,)


def _opened(path: pathlib.Path) -> io.BufferedIOBase:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix == ".zst":
        try:
            import zstandard  # here alone: few files need it
        except ModuleNotFoundError as error:
            raise DataError(f"{path}: needs the package zstandard; pip install zstandard, or decompress it") from error
        return io.BufferedReader(zstandard.open(path, "rb"))
    return path.open("rb")


def _cut(file: io.BufferedIOBase) -> Iterator[bytes]:
    while line := file.readline(LONGEST_LINE):
        yield line


def _decoded(line: bytes) -> str:
    if len(line) == LONGEST_LINE:
        raise RejectedItem("too long", f"has more than {LONGEST_LINE} bytes; is it a text file?")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RejectedItem("not UTF-8", f"is not UTF-8 text ({error.reason}); convert it") from error


def _object(line: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RejectedItem("not JSON", f"is not JSON ({first_line(error)}); write one object a line") from error
    if not isinstance(fields, dict):
        raise RejectedItem("not JSON", f"must be a JSON object, not {type(fields).__name__}; write one object a line")
    return fields
