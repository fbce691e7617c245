"""Tables of other people: CSV as spreadsheets, pandas and R write it, and JSON objects, as named columns of cells.

No cell is interpreted here. What no table can be made of is refused in one line.
"""

import codecs
import csv
import dataclasses
import io
import re
from collections.abc import Sequence
from typing import Any

from lst_jax.core import json_files
from lst_jax.core.errors import DataError, first_line
from lst_jax.storage import objects
from lst_jax.storage.place import Place

DELIMITERS = ",;\t|"
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
MOST_ROWS = 5000
FEWEST_INDEXED = 3  # rows whose numbers in order are an index without a name, and not the heads of decimal numbers
LONGEST_NAMES = 200  # characters of the columns' names in a message
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # of spreadsheets' "Unicode text"
FIX = "give a file of JSON lines or CSV, one run per line"
CSV_FIX = "write a line of names and one line per run, as params,tokens,loss and 7e7,1.4e9,3.21"
JSON_FIX = 'write one JSON object per run, as {"params": 7e7, "tokens": 1.4e9, "loss": 3.21}'


@dataclasses.dataclass(frozen=True)
class Row:
    """`where` names the row in the file, as "line 7"; there is one cell per column."""

    where: str
    cells: Sequence[Any]


@dataclasses.dataclass(frozen=True)
class Sheet:
    """`delimiter` is what parts the cells of a CSV file; "," where it is JSON."""

    path: str
    names: tuple[str, ...]
    rows: tuple[Row, ...]
    delimiter: str

    def described_names(self) -> str:
        """The columns' names for a message; an index column of pandas or R has none."""
        words = ", ".join(repr(name) for name in self.names if name)
        return words if len(words) <= LONGEST_NAMES else words[:LONGEST_NAMES] + " …"


def one_line(text: object) -> str:
    """A name out of a file, with single spaces in the place of line ends and the like."""
    return " ".join(str(text).split())


def shortened(text: str) -> str:
    """At most 60 characters of what a file holds, for a message."""
    return text if len(text) <= 60 else text[:60] + "…"


def read_text(path: Place) -> str:
    """The file's text, without a byte-order mark. Raises: DataError, StorageError."""
    try:
        content = objects.read_bytes(path)
        return content.decode("utf-16" if content.startswith(UTF_16) else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise DataError(f"{path}: cannot be read ({reason}); {FIX}") from error


def is_json(path: str, text: str) -> bool:
    """Whether a file is JSON, by its name or else by how its text begins."""
    return path.endswith(JSON_SUFFIXES) or text.lstrip().startswith(("{", "["))


def parse(path: str, text: str) -> Sheet:
    """The table of a text. Raises: DataError naming the file and the line."""
    sheet = _json(path, text) if is_json(path, text) else _csv(path, text)
    if not sheet.rows:
        raise DataError(f"{path}: holds no runs; {JSON_FIX if is_json(path, text) else CSV_FIX}")
    if len(sheet.rows) > MOST_ROWS:
        raise DataError(
            f"{path}: holds {len(sheet.rows):,} rows, over {MOST_ROWS:,}; keep one row per finished run, and no "
            "intermediate steps"
        )
    return sheet


def _csv(path: str, text: str) -> Sheet:
    stated = re.match(
        rf"sep=([{DELIMITERS}])\r?\n", text, re.IGNORECASE
    )  # a line that spreadsheets write for each other
    number = 1
    try:
        delimiter = stated.group(1) if stated else _delimiter(text)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        lines = []
        for cells in reader:
            number = reader.line_num
            if any(cell.strip() for cell in cells):
                lines.append(Row(f"line {number}", cells))
    except csv.Error as error:
        raise DataError(
            f"{path}: line {number}: from here on it cannot be read as CSV ({first_line(error)}); correct the quotation marks"
        ) from error
    head, *rows = lines[1 if stated else 0 :] or [Row("line 1", ())]
    names = tuple(map(one_line, head.cells))
    if names and all(re.fullmatch(r"[-+\d.,e ]+", name) for name in names):
        raise DataError(f"{path}: {head.where}: holds numbers where the columns' names should be; {CSV_FIX}")
    if _has_unnamed_index(names, rows):
        names = ("", *names)
    return Sheet(path, names, tuple(_padded(path, row, len(names), delimiter) for row in rows), delimiter)


def _delimiter(text: str) -> str:
    """The one that makes the most names of the first line; a comma where none makes more."""
    names = {}
    for delimiter in DELIMITERS:
        reader = csv.reader(io.StringIO(text.lstrip("\r\n"), newline=""), delimiter=delimiter)
        names[delimiter] = len(next(reader, ()))
    return max(names, key=names.__getitem__)


def _has_unnamed_index(names: Sequence[str], rows: Sequence[Row]) -> bool:
    """Whether every row begins with its number, for which the first line has no name (R's `write.table`)."""
    if len(rows) < FEWEST_INDEXED or any(len(row.cells) != len(names) + 1 for row in rows):
        return False
    firsts = [row.cells[0].strip() for row in rows]
    return any(firsts == [str(start + i) for i in range(len(rows))] for start in (0, 1))


def _padded(path: str, row: Row, width: int, delimiter: str) -> Row:
    """The row with as many cells as there are names; trailing cells may be missing, or be empty and too many."""
    more = row.cells[width:]
    if any(cell.strip() for cell in more):
        raise DataError(
            f"{path}: {row.where}: has {len(row.cells)} cells, and the first line {width} names; put a cell with "
            f"{delimiter!r} in it, such as a number with a decimal comma, into quotation marks"
        )
    return Row(row.where, [*row.cells[:width], *[""] * (width - len(row.cells))])


def _json(path: str, text: str) -> Sheet:
    if text.lstrip().startswith("["):
        items = json_files.parse(text, path, JSON_FIX, kind=list, strict_numbers=False)
        found = [(f"run {number}", item) for number, item in enumerate(items, 1)]
    else:
        found = [
            (f"line {number}", json_files.parse(line, f"{path}: line {number}", JSON_FIX, strict_numbers=False))
            for number, line in enumerate(text.split("\n"), 1)
            if line.strip()
        ]
    for where, item in found:
        if not isinstance(item, dict):
            raise DataError(f"{path}: {where}: is no JSON object; {JSON_FIX}")
    names = tuple(dict.fromkeys(name for _, item in found for name in item))
    rows = tuple(Row(where, [item.get(name) for name in names]) for where, item in found)
    return Sheet(path, tuple(map(one_line, names)), rows, ",")
