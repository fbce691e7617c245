"""JSON, read strictly: what another program or a damaged disk made of a file is refused in one line.

Refused beside what is not JSON: bytes that are not UTF-8, nesting deeper than `DEEPEST`, halves of surrogate pairs, and
a value of another kind than the caller needs. Whole numbers of more than 64 bits, numbers too large for a float, NaN and
Infinity are refused as well, except in our own records (a loss may be NaN) and in the files of downloaded models (a
`model_max_length` is often 10^30).
"""

import contextlib
import errno
import itertools
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from lst_jax.core.errors import TOO_MANY_FILES_ERRNOS, DataError, first_line, storage_error, too_many_open_files
from lst_jax.core.files import WAIT_SEC, sync_folder, with_patience
from lst_jax.core.paths import check_writable_place

DEEPEST = 64  # nested lists and objects: five in our own files, and a recursion limit of Python's far above
LARGEST = 2**64  # whole numbers are below it: seeds and counts fit, and no float or array overflows
KINDS = {dict: "a JSON object", list: "a JSON list", str: "a JSON string"}
OPENING = "[", "{"


class NotJson(ValueError):
    """Why a text is refused, as the rule of a one-line message: "is not JSON (…)"."""


def decode(text: str | bytes, kind: type | None = dict, strict_numbers: bool = True) -> Any:
    """The value of a JSON text.

    Args: `kind` is the type that the value must have; None = any. Without `strict_numbers`, NaN, Infinity and numbers
        of any size pass.
    Raises: NotJson.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        value = (_STRICT if strict_numbers else _LENIENT).decode(text)
        _check_depth(text, value)
        _check_characters(text, value)
    except RecursionError as error:
        raise NotJson(f"is not JSON that can be read: it is nested more than {DEEPEST} deep") from error
    except UnicodeDecodeError as error:
        raise NotJson(f"is not JSON: byte {error.start} is not UTF-8") from error
    except ValueError as error:
        raise NotJson(f"is not JSON ({first_line(error)})") from error
    if kind is not None and not isinstance(value, kind):
        raise NotJson(f"must be {KINDS[kind]}, not {_short(value)}")
    return value


def parse(text: str | bytes, where: str, fix: str, kind: type | None = dict, strict_numbers: bool = True) -> Any:
    """The value of a JSON text, as `decode` gives it; `where` names the file and the line.

    Raises: DataError, in one line: `<where>: <rule>; <fix>`.
    """
    try:
        return decode(text, kind, strict_numbers)
    except NotJson as error:
        raise DataError(f"{where}: {error}; {fix}") from error


def read(path: str | os.PathLike, fix: str, kind: type | None = dict, strict_numbers: bool = True) -> Any:
    """The value of a JSON file, as `decode` gives it. Raises: DataError, also where there is no file."""
    try:
        content = pathlib.Path(path).read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; {fix}") from error
    except OSError as error:
        if error.errno in TOO_MANY_FILES_ERRNOS:
            raise too_many_open_files(path) from error
        raise DataError(f"{path}: cannot be read ({error.strerror or first_line(error)}); {fix}") from error
    return parse(content, os.fspath(path), fix, kind, strict_numbers)


def read_model_file(path: str | os.PathLike) -> dict[str, Any]:
    """A JSON object of a directory that a model was downloaded to. Raises: DataError where it is missing or damaged."""
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file; give a Hugging Face model directory that has it")
    return read(path, "download the model again", strict_numbers=False)


def read_lines(path: str | os.PathLike, needed: Mapping[str, type] | None = None) -> list[dict[str, Any]]:
    """The records of one of our own files of JSON lines; none where there is no file. NaN is a number here.

    A last line that a kill cut short is passed over.
    Args: `needed` are fields that every record has, and their types.
    Raises: DataError where another line is not a JSON object, or a record lacks a field.
    """
    path = pathlib.Path(path)
    return parse_lines(path.read_bytes(), str(path), needed) if path.exists() else []


def parse_lines(content: bytes, where: str, needed: Mapping[str, type] | None = None) -> list[dict[str, Any]]:
    """The records in the content of such a file. `where` names it. Raises: as `read_lines` does."""
    found = []
    lines = content.splitlines()
    for number, line in enumerate(lines, 1):
        try:
            found.append(parse(line, f"{where}: line {number}", "remove it", strict_numbers=False))
        except DataError:
            if number == len(lines):
                break
            raise
        check_fields(found[-1], needed or {}, f"{where}: line {number}", "remove the line")
    return found


def check_fields(record: Mapping[str, Any], needed: Mapping[str, type], where: str, fix: str) -> None:
    """Raises: DataError where the record lacks one of the `needed` fields, or it is of another type."""
    for name, kind in needed.items():
        value = record[name] if name in record else None
        is_kind = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
        if not is_kind:
            raise DataError(f"{where}: {name} must be of type {kind.__name__}; {fix}")
        if isinstance(value, int) and abs(value) >= LARGEST:  # no array, and perhaps no float, holds it
            raise DataError(f"{where}: {name} must be below 2^64; {fix}")


def open_lines(path: str | os.PathLike) -> BinaryIO:
    """Opens a file of JSON lines to add to it; what a kill left of a last line is removed first.

    Raises: StorageError where the file system refuses.
    """
    check_writable_place(path)
    try:
        with contextlib.suppress(FileNotFoundError), open(path, "rb+") as f:
            f.truncate(f.read().rfind(b"\n") + 1)
        is_new = not os.path.lexists(path)
        file = open(path, "ab", buffering=0)  # without a buffer: what a full disk refuses is not tried again at close
        if is_new:
            sync_folder(pathlib.Path(path).parent)  # else a power cut may take the name away
        return file
    except OSError as error:
        raise storage_error(path, error) from error


def add_line(file: BinaryIO, mapping: Mapping[str, Any], wait_sec: float = WAIT_SEC) -> None:
    """Adds a line. The line is out of this process's hands when this returns.

    Errors that may pass are waited out, up to `wait_sec`. Raises: StorageError.
    """
    line, size = (json.dumps(mapping) + "\n").encode(), os.fstat(file.fileno()).st_size
    failed_tries = itertools.count()

    def write() -> None:
        if next(failed_tries):
            os.ftruncate(file.fileno(), size)  # what a try that failed may have left of the line
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, "the line was cut short")

    try:
        with_patience(write, wait_sec)
    except OSError as error:
        raise storage_error(file.name, error) from error


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -LARGEST < (number := int(digits)) < LARGEST:
        raise ValueError(f"the whole number {_short(digits)} has more than 64 bits")
    return number


def _float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {_short(digits)} is too large")
    return number


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


_STRICT = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_refuse_constant)
_LENIENT = json.JSONDecoder()


def _check_depth(text: str, value: Any) -> None:
    """Raises: RecursionError where the value is nested too deep for our own code, which may call itself."""
    if sum(map(text.count, OPENING)) <= DEEPEST:
        return
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST + 1:
            raise RecursionError
        level = [inner for outer in level for inner in _children(outer)]


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        return iter(value.values())
    return iter(value if isinstance(value, list) else ())


def _check_characters(text: str, value: Any) -> None:
    """Raises: ValueError for half a surrogate pair, which no file of ours can hold."""
    if "\\u" not in text:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("it has half a surrogate pair") from error


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
