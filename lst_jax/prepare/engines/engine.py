"""Who makes the shards: processes of this machine, or Apache Beam on a cluster. The bytes are the same."""

import collections
import dataclasses
import importlib
import itertools
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lst_jax.core.errors import DataError
from lst_jax.prepare.directory import Directory
from lst_jax.prepare.engines import processes
from lst_jax.prepare.makers import Maker

Slice = tuple[int, Sequence[Any]]  # a shard's number and its items
T = typing.TypeVar("T")


@typing.runtime_checkable
class Engine(typing.Protocol):
    """Makes shards."""

    def make_shards(self, out: Directory, maker: Maker, slices: Iterable[Slice], tick: Callable[[int], Any]) -> None:
        """Writes the shard of each slice with its sidecar; `tick` hears of items that are done."""


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


def load_beam(options: Mapping[str, str | None]) -> Engine:
    """The Apache Beam engine with its pipeline's options. Raises: DataError where Beam is not installed."""
    try:
        return importlib.import_module("lst_jax.prepare.engines.beam").Beam(dict(options))  # an import of a second
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "apache_beam":
            raise
        raise DataError("--engine beam: needs Apache Beam, which is an extra; pip install 'lst_jax[beam]'") from error


def _ticking(values: Iterable[T], tick: Callable[[int], Any]) -> Iterator[T]:
    for value in values:
        tick(1)
        yield value
