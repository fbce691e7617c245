"""The local engine: processes of this machine."""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from lst_jax.prepare.directory import Directory
from lst_jax.prepare.engines import processes
from lst_jax.prepare.engines.protocol import Slice
from lst_jax.prepare.makers import Maker

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Local:
    """`workers` processes share the items, also within a shard. Models have one process, and whole shards."""

    workers: int = 1

    def make_shards(self, out: Directory, maker: Maker, slices: Iterable[Slice], tick: Callable[[int], Any]) -> None:
        """See `Engine.make_shards`; slices are taken as they are needed."""
        if maker.batched:
            for number, items in slices:
                out.write(number, maker.make(items))
                tick(len(items))
            return
        sizes: collections.deque[tuple[int, int]] = collections.deque()

        def items_of_all() -> Iterator[Any]:
            for number, items in slices:
                sizes.append((number, len(items)))
                yield from items

        made = _ticking(processes.ordered_map(maker, items_of_all(), self.workers), tick)
        for first in made:
            number, size = sizes.popleft()
            out.write(number, [first, *itertools.islice(made, size - 1)])


def _ticking(values: Iterable[T], tick: Callable[[int], Any]) -> Iterator[T]:
    for value in values:
        tick(1)
        yield value
