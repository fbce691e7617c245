"""Parts of what gives several items each: files of a tree, lines with many utterances, recordings with their segments."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from lst_jax.prepare.corpora.line_parts import part_name
from lst_jax.prepare.corpora.protocol import InputFile, Part

T = TypeVar("T")


class Group(NamedTuple):
    """Consecutive things, whose items from `skip` on are meant: `take` of them, or all where it is 0."""

    things: list
    skip: int
    take: int

    def chosen(self, items: Iterator[T]) -> Iterator[T]:
        """Those of the items of all `things` that are meant."""
        return chosen(items, self.skip, self.take)


def chosen(items: Iterator[T], skip: int, take: int) -> Iterator[T]:
    """See `Group`."""
    return itertools.islice(items, skip, skip + take if take else None)


def grouped(things: Iterable[tuple[T, int]], part_items: int, exact: bool) -> Iterator[Group]:
    """Groups of (thing, how many items it gives).

    Whole things, of at least `part_items` items together; or, if `exact`, exactly so many items but for the last group,
    so that a thing may belong to several groups.
    Example: [("a", 2), ("b", 3)], 2 -> a | b; exact -> a | b, 2 items | b, skipping 2 items
    """
    held: list[tuple[T, int]] = []
    skip = count = 0  # items of the first thing that went before, and items that are held
    for thing, items in things:
        held.append((thing, items))
        count += items
        while exact and count - skip >= part_items:
            yield Group([one for one, _ in held], skip, part_items)
            skip += part_items
            while held and skip >= held[0][1]:
                skip, count = skip - held[0][1], count - held[0][1]
                del held[0]
        if not exact and count >= part_items:
            yield Group([one for one, _ in held], 0, 0)
            held, count = [], 0
    if held and count > skip:
        yield Group([one for one, _ in held], skip, count - skip if exact else 0)


class Entry(NamedTuple):
    """Files of a tree that belong together: their names, how many items they give, and the bytes that are read as text."""

    names: tuple[str, ...]
    items: int
    size: int
    version: str


def entry_parts(file: InputFile, number: int, part_items: int, exact: bool, entries: Iterable[Entry]) -> Iterator[Part]:
    """Parts of a tree, found as `entries` are. `Part.first` and `count` are those of `Group`."""
    for index, group in enumerate(grouped(((one, one.items) for one in entries), part_items, exact)):
        digest = hashlib.sha256(repr(group).encode(errors="surrogateescape"))
        yield Part(
            part_name(number, index),
            file.place,
            digest.hexdigest()[:16],
            first=group.skip,
            count=group.take,
            entries=tuple(name for one in group.things for name in one.names),
            input_name=file.name,
            size=sum(one.size for one in group.things[bool(group.skip) :]),
        )
