"""A corpus: the files of all places that a command names, each with the reader of its layout."""

import bisect
import collections
import copy
import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lst_jax.core.errors import DataError
from lst_jax.data import line_files
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Part, Reader
from lst_jax.prepare.corpora.registry import Settings
from lst_jax.prepare.digests import digest

PART_ITEMS = 1000  # of a part, where nothing else is asked for
COMPARED_BYTES = 1 << 28  # up to this size of all files, ids are compared over the whole corpus
COMPRESSED = (*line_files.COMPRESSED, ".parquet")
COMPRESSION = 4  # how much more such a file holds, roughly
NAMES = 20  # of files, that are written down one by one


@dataclasses.dataclass(frozen=True)
class Readers:
    """The readers of a corpus, each with the number of its first file. It pickles in a few hundred bytes."""

    firsts: tuple[int, ...]
    readers: tuple[Reader, ...]

    def of(self, part: Part) -> Reader:
        """The reader of a part."""
        return self.readers[bisect.bisect_right(self.firsts, int(part.name.partition("-")[0])) - 1]

    def read(self, part: Part) -> Iterator[Any]:
        """The items of a part, in order. Raises: DataError, StorageError."""
        return self.of(part).read(part)


class Corpus:
    """Files with their readers, in the order in which they were named."""

    def __init__(self, kind: str, sources: Sequence[tuple[Reader, Sequence[InputFile]]], where: str):
        """`kind` is "speech" or "text"; `where` names the places in messages."""
        self.kind, self.where = kind, where
        counts = [len(files) for _, files in sources]
        firsts = [0, *itertools.accumulate(counts)][: len(counts)]
        self.readers = Readers(tuple(firsts), tuple(reader for reader, _ in sources))
        found = [file for _, files in sources for file in files]
        names = short_names([file.name for file in found])
        self.files = [dataclasses.replace(file, name=name) for file, name in zip(found, names, strict=True)]

    @functools.cached_property
    def input_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def is_small(self) -> bool:
        """Whether all of it can be read before the work starts, and its ids be held."""
        sizes = (file.size * (COMPRESSION if file.place.suffix.lower() in COMPRESSED else 1) for file in self.files)
        return sum(sizes) <= COMPARED_BYTES

    def names(self) -> list[str]:
        """What identifies the files of the input: their short names; of many, how many they are and a digest."""
        names = [file.name for file in self.files]
        return names if len(names) <= NAMES else [f"{len(names)} files, {digest(names)}"]

    @property
    def is_in_memory(self) -> bool:
        """Whether its items were given, and not read from files."""
        return all(_settings(reader) is None for reader in self.readers.readers)

    def choices(self) -> dict[str, Any]:
        """What the command chose among the items, for the identity of what is made from them."""
        settings = next((found for found in map(_settings, self.readers.readers) if found is not None), Settings())
        choices = {"where": dict(settings.where), **settings.options}
        if self.kind == "text" and settings.text_field != Settings.text_field:
            choices["text_field"] = settings.text_field
        return {key: value for key, value in choices.items() if value not in (None, {})}

    def parts(self, part_items: int) -> Iterator[Part]:
        """All parts in order, found as they are needed. Their sizes add up to `input_bytes`.

        Raises: DataError, StorageError.
        """
        for number, file in enumerate(self.files):
            reader = self.readers.readers[bisect.bisect_right(self.readers.firsts, number) - 1]
            left, before = file.size, None
            for part in reader.parts(file, number, part_items):
                if before is not None:
                    yield before
                    left -= before.size
                before = part
            if before is not None:
                yield dataclasses.replace(before, size=max(left, before.size))

    def items(self, part_items: int = PART_ITEMS) -> Iterator[Any]:
        """The items of all parts, one part after the other. Raises: DataError, StorageError."""
        return (item for part in self.parts(part_items) for item in self.readers.read(part))

    def checked_ids(self) -> list[str]:
        """The ids of all items, after each item has been read. Raises: DataError where two are equal, or none is there."""
        seen: dict[str, None] = {}
        for item in self.items():
            if item.id in seen:
                raise repeated(item.id, item.place, self.kind == "text")
            seen[item.id] = None
        if not seen:
            raise self.empty()
        return list(seen)

    def empty(self) -> DataError:
        """What is wrong with a corpus without items."""
        if self.kind == "speech":
            return DataError(f"{self.where}: has no items{self._filter()}; add lines or change the filter")
        return DataError(f"{self.where}: no documents{self._filter()}; add some or change the filter")

    def in_exact_parts(self) -> "Corpus":
        """This corpus, whose readers cut it into parts of exactly so many items (`Settings.exact`)."""
        return self._with(exact=True)

    def without_sound(self) -> "Corpus":
        """This corpus, whose readers need not read sound that lies beside its fields (`Settings.sound`)."""
        return self._with(sound=False)

    def _with(self, **changes: bool) -> "Corpus":
        other = copy.copy(self)
        other.readers = Readers(
            self.readers.firsts, tuple(_changed(reader, changes) for reader in self.readers.readers)
        )
        return other

    def _filter(self) -> str:
        found = [_settings(reader) for reader in self.readers.readers]
        chosen = next((dict(one.where) for one in found if one is not None and one.where), None)
        return f" with {chosen}" if chosen else ""


def _settings(reader: Reader) -> Settings | None:
    return getattr(reader, "settings", None)  # readers of items in memory have none


def _changed(reader: Reader, changes: Mapping[str, bool]) -> Reader:
    settings = _settings(reader)
    if settings is None:
        return reader
    return dataclasses.replace(reader, settings=dataclasses.replace(settings, **changes))


def repeated(item_id: str, place: str, is_text: bool) -> DataError:
    """What is wrong with an item whose id another one has. `place` is where it is written down, or ""."""
    where = f"{place}: " if place else ""
    if is_text:
        return DataError(f"{where}{item_id}: two documents have this id; give each its own")
    return DataError(f"{where}{item_id}: the id is there twice; give every item its own")


def short_names(paths: Sequence[str]) -> list[str]:
    """A name for each file, for ids: its own, with as many folders before it as tell it from the others.

    Example: ["a/part-0.jsonl", "b/part-0.jsonl", "b/c.txt"] -> ["a/part-0.jsonl", "b/part-0.jsonl", "c.txt"]
    """
    parts = [_parts(path) for path in paths]
    names: dict[tuple[str, ...], str] = {}
    pending, length = dict.fromkeys(parts), 1
    while pending:
        endings = collections.Counter(one[-length:] for one in pending)
        for one in list(pending):
            if endings[one[-length:]] == 1 or length >= len(one):
                names[one] = "/".join(one[-length:])
                del pending[one]
        length += 1
    return [names[one] for one in parts]


def _parts(path: str) -> tuple[str, ...]:
    if "://" in path:
        return tuple(path.split("/"))
    return pathlib.PurePath(os.path.abspath(path)).parts


def without_bad(items: Iterable[Any]) -> Iterator[Any]:
    """Those that are items."""
    return (item for item in items if not isinstance(item, BadItem))
