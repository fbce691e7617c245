"""What the readers of public benchmarks share: rows of CSV files, and labels."""

import csv
import os
import pathlib
from collections.abc import Iterator

from lst_jax.core.errors import DataError


def rows(path: str | os.PathLike, columns: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """(place, row) of a CSV file with a line of names. Example place: "gold.csv: line 3".

    Raises: DataError where it is no such file, a column is missing, or a row has not all columns.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; correct the path")
    reader = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path}: has no column {missing[0]!r}; is it the benchmark's file?")
            for row in reader:
                place = f"{path}: line {reader.line_num}"
                if None in row or None in row.values():
                    raise DataError(
                        f"{place}: does not have the {len(reader.fieldnames or ())} columns of the first line; correct it"
                    )
                yield place, row
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error.reason}); convert it") from error
    except csv.Error as error:  # such as a quotation mark that is never closed
        number = reader.reader.line_num if reader is not None else 1
        raise DataError(f"{path}: line {number}: cannot be read as CSV ({error}); correct it") from error


def label(value: object, place: str) -> int | None:
    """A label as a whole number; None where it is missing or empty. Raises: DataError."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return int(str(value))
    except ValueError as error:
        raise DataError(f"{place}: label={str(value)[:60]}: must be a whole number; correct it") from error
