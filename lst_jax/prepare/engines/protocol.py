"""What an engine is: it makes the shards of a directory. Every engine writes the same bytes."""

import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lst_jax.prepare.directory import Directory
from lst_jax.prepare.makers import Maker

Slice = tuple[int, Sequence[Any]]  # a shard's number and its items


@typing.runtime_checkable
class Engine(typing.Protocol):
    """Makes shards."""

    def make_shards(self, out: Directory, maker: Maker, slices: Iterable[Slice], tick: Callable[[int], Any]) -> None:
        """Writes the shard of each slice with its sidecar. `tick` is told how many items are done."""
