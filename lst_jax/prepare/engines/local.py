"""The local engine: processes of this machine."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from lst_jax.prepare.corpora.protocol import Part
from lst_jax.prepare.engines import processes
from lst_jax.prepare.engines.protocol import Tick, Work, audio_state
from lst_jax.prepare.merging import Group
from lst_jax.prepare.part_files import Entry


@dataclasses.dataclass(frozen=True)
class Local:
    """`workers` processes share the items, also within a part. Models have one process, and texts go by whole parts."""

    workers: int = 1

    def make_parts(self, work: Work, parts: Iterable[Part], tick: Tick) -> None:
        """See `Engine.make_parts`."""
        if work.maker.batched or (work.maker.light and self.workers == 1):
            for part in parts:
                tick(work.make(part), part.size)
        elif work.maker.light:
            self._by_parts(work, parts, tick)
        else:
            self._by_items(work, parts, tick)

    def merge(self, work: Work, groups: Iterable[Group], tick: Tick) -> None:
        """See `Engine.merge`."""
        every = list(groups)
        copies = sum(len(group.parts) > 1 for group in every)  # others only get another name
        workers = min(self.workers, max(copies, 1))
        for group, _ in zip(every, processes.ordered_map(work.merge, every, workers, 1), strict=True):
            tick(1, sum(part.bytes for part in group.parts))

    def _by_parts(self, work: Work, parts: Iterable[Part], tick: Tick) -> None:
        pending: collections.deque[Part] = collections.deque()

        def taken() -> Iterator[Part]:
            for part in parts:
                pending.append(part)
                yield part

        first = list(itertools.islice(source := taken(), 2))
        workers = self.workers if len(first) > 1 else 1
        for items in processes.ordered_map(work.make, itertools.chain(first, source), workers, 1):
            tick(items, pending.popleft().size)

    def _by_items(self, work: Work, parts: Iterable[Part], tick: Tick) -> None:
        """This process reads the items and writes the parts; the others make records."""
        pending: collections.deque[tuple[Part, Any]] = collections.deque()  # None behind the items of a part

        def taken() -> Iterator[Any]:
            for part in parts:
                for item in work.readers.read(part):
                    pending.append((part, (item.id, audio_state(item))))
                    yield item
                pending.append((part, None))

        entries: list[Entry] = []
        for made in itertools.chain(processes.ordered_map(work.maker, taken(), self.workers), [None]):
            while pending and pending[0][1] is None:
                part, _ = pending.popleft()
                work.write(part, entries)
                tick(0, part.size)
                entries = []
            if made is not None:
                _, (item_id, state) = pending.popleft()
                entries.append(Entry(item_id, state, made))
                tick(1, 0)
