"""Parquet: tables of rows, of which the parts that are wanted are read, where they lie.

Source: https://parquet.apache.org/docs/file-format/ (a footer names row groups, and within them columns). A part is
some whole row groups, or one of several equal pieces of a large one.
"""

import contextlib
import dataclasses
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare.corpora import ranges
from lst_jax.prepare.corpora.line_parts import part_name
from lst_jax.prepare.corpora.listing import input_files
from lst_jax.prepare.corpora.protocol import InputFile, Part
from lst_jax.storage.place import Place

SUFFIXES = (".parquet", ".pq")
PIECES = 16  # at most, of a row group: whoever reads the last piece decodes those before it
BATCH_BYTES = 1 << 24  # that are decoded at a time, roughly
STREAM_BYTES = 1 << 20  # of one read of a column
SHARD = re.compile(r"(.+?)-\d{5,}-of-\d{5,}(-[0-9a-f]+)?")  # as the hub and `datasets` name the files of a split
CONVERTED = re.compile(r"\d{4,}")  # as the hub names those that it made itself, in a folder called as the split
SPLITS = frozenset({"train", "validation", "valid", "dev", "test"})
DAMAGED = "unreadable rows"  # reason
WHAT = "Parquet"


@dataclasses.dataclass(frozen=True)
class Tables:
    """Parquet files at a place. What columns of theirs mean is the business of a layout."""

    where: Mapping[str, str]
    exact: bool = False
    batch_rows: int = 1024  # that are decoded at a time, at most

    def files(self, place: Place) -> list[InputFile]:
        """See `Reader.files`. A wanted split leaves out the files whose names say another one. Raises: DataError."""
        found = input_files(place, lambda name: name.lower().endswith(SUFFIXES))
        if not found:
            raise DataError(
                f"{place}: has no {' or '.join(f'*{end}' for end in SUFFIXES)}; give a folder of Parquet files"
            )
        wanted = self.where["split"] if "split" in self.where else None
        chosen = [file for file in found if wanted is None or split_of(file.place) in (None, wanted)]
        if not chosen:
            splits = sorted({str(split_of(file.place)) for file in found})
            raise DataError(f"{place}: has no files of split {wanted!r}, but of {', '.join(splits)}; correct --where")
        return chosen

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `Reader.parts`; the footer alone is read. Raises: DataError."""
        with table_at(file.place) as table:
            groups = [table.metadata.row_group(group).num_rows for group in range(table.metadata.num_row_groups)]
        digest = hashlib.sha256(f"{file.size} {file.version}".encode()).hexdigest()[:16]
        total = max(1, sum(groups))
        for index, (group, row, count) in enumerate(cut(groups, part_items, self.exact)):
            name, size = part_name(number, index), file.size * count // total
            yield Part(name, file.place, digest, group, row, count, (), file.name, size)

    def rows(
        self, table: Any, part: Part, columns: Sequence[str]
    ) -> Iterator[tuple[int, dict[str, Any] | RejectedItem]]:
        """(number from 1 in the file, values) of the rows of a part, also the split that the file's name says.

        Rows that cannot be decoded are RejectedItems. Args: `table` is the part's, open (`table_at`).
        Raises: DataError where the footer is damaged.
        """
        have = table.schema_arrow.names
        there = [name for name in dict.fromkeys((*columns, *self.where)) if name in have]
        split = split_of(part.place) if "split" not in there else None
        number = first = _rows_before(table, part) + 1
        try:
            for values in _decoded(table, part, there, self.batch_rows):
                if split is not None and isinstance(values, dict):
                    values["split"] = split
                yield number, values
                number += 1
        except DataError as error:
            for lost in range(number, first + part.count):
                yield lost, RejectedItem(DAMAGED, str(error).removeprefix(f"{part.place}: "))


def split_of(place: Place) -> str | None:
    """The split that the name of a file says. Example: data/train-00000-of-00012.parquet, train/0000.parquet -> "train" """
    stem = place.name.removesuffix(place.suffix)
    if found := SHARD.fullmatch(stem):
        return found[1]
    if CONVERTED.fullmatch(stem):
        return place.parent.name
    return stem if stem in SPLITS else None


def cut(groups: Sequence[int], part_rows: int, exact: bool = False) -> Iterator[tuple[int, int, int]]:
    """(row group, row in it, rows) where each part begins: small row groups together, a large one in pieces.

    With `exact`, all parts but the last have `part_rows` rows, wherever row groups end.
    Example: groups of 3, 3 and 20 rows, for 8 -> (0, 0, 6), (2, 0, 7), (2, 7, 7), (2, 14, 6)
    """
    if exact:
        yield from _cut_exactly(groups, part_rows)
        return
    start = total = 0
    for group, rows in enumerate(groups):
        if total and total + rows > part_rows:
            yield start, 0, total
            total = 0
        if rows > part_rows:
            size = math.ceil(rows / min(PIECES, math.ceil(rows / part_rows)))
            for row in range(0, rows, size):
                yield group, row, min(size, rows - row)
        elif rows:
            start = start if total else group
            total += rows
    if total:
        yield start, 0, total


def _cut_exactly(groups: Sequence[int], part_rows: int) -> Iterator[tuple[int, int, int]]:
    group = before = 0  # rows of the groups before `group`
    total = sum(groups)
    for row in range(0, total, part_rows):
        while before + groups[group] <= row:
            before += groups[group]
            group += 1
        yield group, row - before, min(part_rows, total - row)


@contextlib.contextmanager
def table_at(place: Place) -> Iterator[Any]:
    """A Parquet file, open (pyarrow.parquet.ParquetFile). Raises: DataError where it is none; StorageError."""
    import pyarrow.parquet  # here alone: few commands need it

    with contextlib.ExitStack() as stack:
        with ranges.damage(place, WHAT):
            file = stack.enter_context(ranges.opened(place))
            options = {"pre_buffer": False, "buffer_size": STREAM_BYTES}  # else a column of a row group is held whole
            table = stack.enter_context(pyarrow.parquet.ParquetFile(file, **options))
            _ = table.schema_arrow
        yield table


def _rows_before(table: Any, part: Part) -> int:
    with ranges.damage(part.place, WHAT):
        if part.start >= table.metadata.num_row_groups:
            raise DataError(f"{part.place}: has changed since it was listed; run the command again")
        return sum(table.metadata.row_group(group).num_rows for group in range(part.start)) + part.first


def _decoded(table: Any, part: Part, columns: Sequence[str], most: int) -> Iterator[dict[str, Any] | RejectedItem]:
    """The values of the rows of a part. Raises: DataError where they are damaged."""
    skip, left = part.first, part.count
    for group in _groups_of(table, part):
        for batch in _batches(table, part.place, group, columns, most):
            with ranges.damage(part.place, WHAT):
                wanted = batch.slice(skip, left)
            skip, left = max(0, skip - batch.num_rows), left - wanted.num_rows
            yield from _values(wanted)
            if not left:
                return
    raise DataError(f"{part.place}: has fewer rows than its footer says; make the file again")


def _batches(table: Any, place: Place, group: int, columns: Sequence[str], most: int) -> Iterator[Any]:
    """The rows of a row group, some at a time. Raises: DataError where they are damaged."""
    with ranges.damage(place, WHAT):
        said = table.metadata.row_group(group)
        rows = max(1, min(most, BATCH_BYTES * said.num_rows // max(1, said.total_byte_size)))
        batches = table.iter_batches(rows, row_groups=[group], columns=list(columns), use_threads=False)
    while True:
        with ranges.damage(place, WHAT):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _groups_of(table: Any, part: Part) -> list[int]:
    """The row groups that hold the rows of a part."""
    groups, rows = [], -part.first
    while rows < part.count and part.start + len(groups) < table.metadata.num_row_groups:
        groups.append(part.start + len(groups))
        rows += table.metadata.row_group(groups[-1]).num_rows
    return groups


def _values(batch: Any) -> list[dict[str, Any] | RejectedItem]:
    """The rows of a batch; one whose strings are not UTF-8 is a RejectedItem."""
    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        return [_row(batch, index) for index in range(batch.num_rows)]


def _row(batch: Any, index: int) -> dict[str, Any] | RejectedItem:
    try:
        return batch.slice(index, 1).to_pylist()[0]
    except UnicodeDecodeError as error:
        return RejectedItem("not UTF-8", f"is not UTF-8 text ({error.reason}); convert it")
