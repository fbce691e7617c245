"""Runs of other people: a table of N, D, C and a loss of any name becomes points of a scaling law (docs/formats.md).

Nothing is asked for that only our own runs have, and nothing is assumed in silence: `Runs.notes` say in a line each which
columns were read, what was computed, and which rows were left out.
"""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lst_jax.core.errors import DataError
from lst_jax.laws import amounts, sheets
from lst_jax.laws.columns import BIG_IN_A_UNIT, LETTERS, Columns, Found, find
from lst_jax.laws.points import Point, is_points, parse_points
from lst_jax.laws.sheets import Row, Sheet, one_line, shortened
from lst_jax.storage.place import Place, to_place

LOSS = ("",)  # the kinds of losses of such runs: see `points.measure_of`
NUMBERS = ("params", "tokens", "flops", "loss", "seconds")
PER_TOKEN = 6.0  # FLOPs per parameter and token: forward and backward pass of a transformer (arXiv 2001.08361)
FEWEST = 1e3  # parameters or tokens: a table that has no more says them in another unit
LARGEST = 1e100  # of any number, so that no product of two overflows
ODD_COST, WRONG_COST = 3.0, 100.0  # factors between C and 6·N·D that are said, and that are refused
MOST_SYSTEMS = 12
MOST_NAMED = 5  # rows in a note
NUMBER_FIX = "write a number above 0 such as 1.5e9 or 1.5B, or leave the row out"


@dataclasses.dataclass(frozen=True)
class Runs:
    """Points of a file. `kinds` are those of its losses: None where the file is our own, and the user says which."""

    points: list[Point]
    kinds: tuple[str, ...] | None
    notes: tuple[str, ...]


def read_runs(path: str | os.PathLike | Place, columns: Columns | None = None) -> Runs:
    """The runs of a file: our own JSON lines, or anyone's CSV, JSON lines or JSON list of objects.

    A file of our own is read as a table where `columns` say anything.
    Raises: DataError naming the line and the field; ConfigError of an option; StorageError.
    """
    path, columns = to_place(path), columns or Columns()
    text = sheets.read_text(path)
    if not columns.given and is_points(str(path), text):
        return Runs(parse_points(str(path), text), None, ())
    sheet = sheets.parse(str(path), text)
    found = find(sheet, columns)
    rows, left_out = _complete(sheet, found)
    values = _numbers(sheet, rows, found, columns.decimal)
    values, computed = _with_cost(sheet, values)
    points = _points(sheet, rows, found, values, pathlib.PurePath(str(path)).stem)
    return Runs(
        points, LOSS, (_columns_note(sheet, found, values), *computed, *_rows_notes(sheet, rows, found, left_out))
    )


def _complete(sheet: Sheet, found: Mapping[str, Found]) -> tuple[list[Row], list[tuple[Row, str]]]:
    """The rows with a value in every column that is read; the others with the name of the first that lacks one."""
    needed = [column for what, column in found.items() if what in (*NUMBERS, "system")]
    rows, left_out = [], []
    for row in sheet.rows:
        lacking = next((column.name for column in needed if amounts.is_missing(row.cells[column.index])), None)
        if lacking is None:
            rows.append(row)
        else:
            left_out.append((row, lacking))
    if not rows:
        raise DataError(
            f"{sheet.path}: all {len(left_out)} rows have an empty or nan cell, the first in {left_out[0][1]!r}; name "
            "columns that are filled"
        )
    return rows, left_out


def _numbers(
    sheet: Sheet, rows: Sequence[Row], found: Mapping[str, Found], decimal: str | None
) -> dict[str, np.ndarray]:
    """The columns of numbers: each [rows], above 0, in parameters, tokens, FLOPs and the loss's own unit."""
    own = {what: column for what, column in found.items() if what in NUMBERS}
    cells = {what: [row.cells[column.index] for row in rows] for what, column in own.items()}
    if decimal is None:
        try:
            texts = (cell for column in cells.values() for cell in column if isinstance(cell, str))
            decimal = amounts.decimal_mark(texts, sheet.delimiter == ",")
        except ValueError as error:
            raise DataError(f"{sheet.path}: {error}") from error
    values = {}
    for what, column in own.items():
        read = [_number(sheet, row, column, decimal) for row in rows]
        _check_unit(sheet, column, read)
        values[what] = np.array(read) * column.unit
    return values


def _number(sheet: Sheet, row: Row, column: Found, decimal: str) -> float:
    cell = row.cells[column.index]
    where = f"{sheet.path}: {row.where}: {column.name}={_quoted(cell)}"
    if amounts.has_unit(cell) and (column.unit != 1 or column.what in ("loss", "seconds")):
        rule = "has a unit, and so has its column" if column.unit != 1 else "has a unit, and should have none"
        raise DataError(f"{where}: {rule}; write a plain number")
    try:
        value = amounts.amount(cell, decimal)
    except ValueError:
        mark = " with a decimal comma" if decimal == "," else ""
        raise DataError(f"{where}: is no number{mark}; {NUMBER_FIX}") from None
    if not 0 < value * column.unit < LARGEST:
        raise DataError(f"{where}: must be above 0 and below {LARGEST:g}; {NUMBER_FIX}")
    return value


def _check_unit(sheet: Sheet, column: Found, read: Sequence[float]) -> None:
    """Numbers that are in no unit that their column has: a million times wrong, they would still make a law."""
    if column.is_stated or column.what not in ("params", "tokens"):
        return
    if column.unit >= 1e6 and max(read) >= BIG_IN_A_UNIT:
        raise DataError(
            f"{sheet.path}: {column.name}: has {max(read):.3g} in a column of {column.unit:.0e}; say its unit with "
            f"--{column.what}-unit, which is 1 for plain numbers"
        )
    if max(read) * column.unit < FEWEST:
        raise DataError(
            f"{sheet.path}: {column.name}: is at most {max(read):.3g} {column.what}; say its unit, as "
            f"--{column.what}-unit B, which is 1 for plain numbers"
        )


def _with_cost(sheet: Sheet, values: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """The numbers with what N, D and C leave to be computed, and what was; C of the table is held against 6·N·D."""
    notes = []
    if "flops" not in values:
        values = values | {"flops": PER_TOKEN * values["params"] * values["tokens"]}
        notes.append("C = 6·N·D, as no column holds FLOPs.")
    elif "tokens" not in values:
        values = values | {"tokens": values["flops"] / (PER_TOKEN * values["params"])}
        notes.append("D = C / (6·N), as no column holds tokens.")
    else:
        ratio = float(np.median(values["flops"] / (PER_TOKEN * values["params"] * values["tokens"])))
        if max(ratio, 1 / ratio) > WRONG_COST:
            raise DataError(
                f"{sheet.path}: FLOPs are {ratio:.3g} times 6·N·D in the median run; give the right --params-unit, "
                "--tokens-unit or --flops-unit"
            )
        if max(ratio, 1 / ratio) > ODD_COST:
            notes.append(f"C is {ratio:.3g} times 6·N·D in the median run: check the units.")
    return values, notes


def _points(
    sheet: Sheet, rows: Sequence[Row], found: Mapping[str, Found], values: Mapping[str, np.ndarray], stem: str
) -> list[Point]:
    names = _run_names(rows, found.get("run"))
    systems = [shortened(one_line(row.cells[found["system"].index])) if "system" in found else stem for row in rows]
    if len(set(systems)) > MOST_SYSTEMS:
        raise DataError(
            f"{sheet.path}: {found['system'].name}: names {len(set(systems))} systems, over {MOST_SYSTEMS}; say with "
            "--system-column which column names a few"
        )
    seconds = values.get("seconds")
    return [
        Point(
            names[i],
            systems[i],
            float(values["params"][i]),
            float(values["tokens"][i]),
            float(values["flops"][i]),
            {"loss": float(values["loss"][i])},
            None,
            None,
            None,
            None if seconds is None else float(seconds[i]),
        )
        for i in range(len(rows))
    ]


def _run_names(rows: Sequence[Row], column: Found | None) -> list[str]:
    """The table's own names where it has them, with the line where one is not alone; else the lines."""
    if column is None:
        return [row.where for row in rows]
    names = [shortened(one_line(row.cells[column.index])) for row in rows]
    count = collections.Counter(names)
    return [
        name if name and count[name] == 1 else f"{name} ({row.where})".strip()
        for name, row in zip(names, rows, strict=True)
    ]


def _columns_note(sheet: Sheet, found: Mapping[str, Found], values: Mapping[str, np.ndarray]) -> str:
    parts = []
    for what, letter in LETTERS.items():
        if what in found:
            times = f" × {found[what].unit:g}" if found[what].unit != 1 else ""
            spread = f"{values[what].min():.4g} to {values[what].max():.4g}"
            parts.append(f"{letter} is {_quoted(found[what].name)}{times} ({spread})")
    if "system" in found:
        parts.append(f"the system is {_quoted(found['system'].name)}")
    return f"{len(values['loss'])} runs of {pathlib.PurePath(sheet.path).name}: {', '.join(parts)}."


def _rows_notes(
    sheet: Sheet, rows: Sequence[Row], found: Mapping[str, Found], left_out: Sequence[tuple[Row, str]]
) -> list[str]:
    notes = []
    if left_out:
        named = ", ".join(f"{row.where} ({shortened(name)})" for row, name in left_out[:MOST_NAMED])
        more = ", …" if len(left_out) > MOST_NAMED else ""
        notes.append(f"{len(left_out)} of {len(sheet.rows)} rows are left out for an empty or nan cell: {named}{more}.")
    if "run" in found:
        names = [one_line(row.cells[found["run"].index]) for row in rows]
        if len(set(names)) < len(names):
            notes.append(
                f"{_quoted(found['run'].name)} names {len(set(names))} runs on {len(names)} rows: each row counts as a run, so "
                "leave intermediate steps out."
            )
    numbers = [column.index for what, column in found.items() if what in NUMBERS]
    different = {tuple(str(row.cells[i]) for i in numbers) for row in rows}
    if len(different) < len(rows):
        notes.append(f"{len(rows) - len(different)} rows repeat the numbers of another one, and count again.")
    return notes


def _quoted(cell: Any) -> str:
    return shortened(repr(cell))
