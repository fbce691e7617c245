"""What the readers of public benchmarks share: rows of CSV files, and labels."""

import csv
import io
import os
from collections.abc import Iterator

from lst_jax.core.errors import DataError
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place


def rows(path: str | os.PathLike | Place, columns: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """(place, row) of a CSV file with a line of names, here or in a bucket. Example place: "gold.csv: line 3".

    Raises: DataError where it is no such file, a column is missing, or a row has not all columns; StorageError.
    """
    path = to_place(path)
    if objects.look(path) is None:
        raise DataError(f"{path}: no such file; correct the path")
    reader = None
    try:
        with io.TextIOWrapper(io.BytesIO(objects.read_bytes(path)), encoding="utf-8-sig", newline="") as file:
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
