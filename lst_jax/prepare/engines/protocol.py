"""What an engine is: it makes the parts of a directory, and merges them. Every engine writes the same bytes."""

import dataclasses
import itertools
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lst_jax.core.errors import DataError
from lst_jax.prepare import merging
from lst_jax.prepare.corpora import audio_place
from lst_jax.prepare.corpora.corpus import Readers, repeated
from lst_jax.prepare.corpora.protocol import Item, Part
from lst_jax.prepare.makers import GROUP, Maker
from lst_jax.prepare.merging import Group
from lst_jax.prepare.part_files import Entry, PartFiles

Tick = Callable[[int, int], Any]  # is told of items that are done, and of bytes of the input


@dataclasses.dataclass(frozen=True)
class Work:
    """All that a worker needs to make parts, anywhere: what reads them, what makes records, and where these go."""

    parts: PartFiles
    maker: Maker
    readers: Readers

    def make(self, part: Part) -> int:
        """Makes a part and returns the number of its items. Memory holds a group of items."""
        return self.write(part, self._entries(part))

    def write(self, part: Part, entries: Iterable[Entry]) -> int:
        """Writes a part whose items have been made, and returns their number."""

        def twice(item_id: str) -> DataError:
            return repeated(item_id, str(part.place), self.maker.light)

        return self.parts.write(part, entries, twice).items

    def merge(self, group: Group) -> None:
        """Makes a shard of parts."""
        merging.merge(self.parts, group)

    def _entries(self, part: Part) -> Iterator[Entry]:
        items = self.readers.read(part)
        while group := list(itertools.islice(items, GROUP)):
            for item, made in zip(group, self.maker.make(group), strict=True):
                yield Entry(item.id, audio_state(item), made)


def audio_state(item: Any) -> str | None:
    """The state of an item's recording; None where it has none."""
    return audio_place.state(item.audio) if isinstance(item, Item) else None


@typing.runtime_checkable
class Engine(typing.Protocol):
    """Does the work of a directory. What was done before a failure stays."""

    def make_parts(self, work: Work, parts: Iterable[Part], tick: Tick) -> None:
        """Makes each part; parts are taken in order, as they are needed."""

    def merge(self, work: Work, groups: Iterable[Group], tick: Tick) -> None:
        """Makes each shard. `tick` is told of shards, and of bytes of parts."""
