"""Growing lists of JSON records in a run: lines of one file on a disk, or segments at a place without appends.

A segment is an object of JSON lines that is written whole. Records wait in memory until they are kept; `keep` writes them
as the next segment. A run on a bucket, or on the mount of one, is kept in segments. A run that was copied there from a
disk has both: its old lines in files, and the later ones in segments.
"""

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from lst_jax.core import json_files
from lst_jax.core.errors import DataError
from lst_jax.core.files import sync_file
from lst_jax.storage import claim, objects
from lst_jax.storage.place import Place

SUFFIX = ".jsonl"


class Lines(Protocol):
    """Where records are added."""

    def add(self, record: Mapping[str, Any]) -> None:
        """Adds a record. Raises: StorageError."""

    def keep(self) -> None:
        """Returns when the records outlive this machine's next power cut. Raises: StorageError."""

    def close(self) -> None:
        """Keeps the records, and closes what is open. Raises: StorageError."""


class FileLines:
    """Lines of a file of this machine: each one has left this process when it is added."""

    def __init__(self, path: Any):
        """Removes what a kill left of a last line. Raises: StorageError."""
        self._file = json_files.open_lines(path)

    def add(self, record: Mapping[str, Any]) -> None:
        """Adds a line. Raises: StorageError."""
        json_files.add_line(self._file, record)

    def keep(self) -> None:
        """Returns when the lines are on the disk. Raises: StorageError."""
        sync_file(self._file)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class SegmentLines:
    """Records in memory, written as a segment where they are kept."""

    def __init__(self, folder: Place, name: Callable[[Mapping[str, Any]], str], check: Callable[[], None]):
        """Args: `name` gives a segment's name, unlike all others, from its last record. `check` is called before."""
        self._folder, self._name, self._check = folder, name, check
        self._waiting: list[Mapping[str, Any]] = []

    def add(self, record: Mapping[str, Any]) -> None:
        """Adds a record to the next segment."""
        self._waiting.append(dict(record))

    def keep(self) -> None:
        """Returns when the segment is there. Raises: StorageError; BusyElsewhereError where `check` says so."""
        if self._waiting:
            self._check()
            text = "".join(json.dumps(record) + "\n" for record in self._waiting)
            objects.write_text(self._folder / f"{self._name(self._waiting[-1])}{SUFFIX}", text)
            self._waiting = []

    def close(self) -> None:
        """Writes the last segment."""
        self.keep()


class NoLines:
    """For the processes of a job that write no files."""

    def add(self, record: Mapping[str, Any]) -> None:
        """Drops the record."""

    def keep(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def read_file(place: Place, needed: Mapping[str, type]) -> list[dict[str, Any]]:
    """The records of one file of lines, here or copied to a bucket; none where there is none.

    A last line that a kill cut short is passed over. Raises: as `read_segments` does.
    """
    if isinstance(place, pathlib.Path):
        return json_files.read_lines(place, needed)
    try:
        return json_files.parse_lines(objects.read_bytes(place), str(place), needed)
    except FileNotFoundError:
        return []


def read_segments(
    folder: Place, needed: Mapping[str, type] | None = None, suffix: str = SUFFIX
) -> list[dict[str, Any]]:
    """The records of all segments of a folder, in the order of their names; none where there is no folder.

    Args: `needed` are fields that every record has, and their types.
    Raises: DataError where a line is not a JSON object, or a record lacks a field; StorageError.
    """
    places = [folder / n for n in objects.names(folder) if n.endswith(suffix) and not n.endswith(claim.SUFFIX)]
    contents = zip(places, _contents(folder, places), strict=True)
    return [record for place, content in contents for record in _records(place, content, needed or {})]


def read_segment(place: Place) -> list[dict[str, Any]]:
    """The records of one object of JSON lines. Raises: as `read_segments` does."""
    return _records(place, _contents(place.parent, [place])[0], {})


def _records(place: Place, content: bytes, needed: Mapping[str, type]) -> list[dict[str, Any]]:
    found = []
    for number, line in enumerate(content.splitlines(), 1):
        where = f"{place}: line {number}"
        found.append(json_files.parse(line, where, "remove it", strict_numbers=False))
        json_files.check_fields(found[-1], needed, where, "remove the line")
    return found


def _contents(folder: Place, places: Sequence[Place]) -> list[bytes]:
    try:
        return objects.read_many(places)
    except OSError as error:
        raise DataError(
            f"{folder}: a segment cannot be read ({error.strerror or 'it was removed meanwhile'}); try again"
        ) from error
