"""`lst prepare speech --dry-run`: what a corpus holds and what would be refused, from its metadata alone.

No sound is opened, and nothing is written. What only the sound can tell (silence, channels, a poor match of the words) is
not counted here.
"""

import collections
import dataclasses
from collections.abc import Iterator
from typing import Any

import tqdm

from lst_jax.core.errors import RejectedItem
from lst_jax.prepare import tags
from lst_jax.prepare.accounts import PartState
from lst_jax.prepare.audio import SHORTEST_SEC
from lst_jax.prepare.corpora import audio_place
from lst_jax.prepare.corpora.corpus import PART_ITEMS, Corpus
from lst_jax.prepare.corpora.protocol import BadItem, Item, TextItem
from lst_jax.prepare.merging import PADDING, Size, plan

UNIT_RATE = 25.0  # of the units that most tokenizers make
UNIT_BYTES = 1.3  # of a unit in a shard, compressed; measured on the demo's 500 units
TEXT_BYTES = 0.6  # of a byte of text, likewise
RECORD_BYTES = 150  # of what else a record takes
REPEATED = "id is there twice"


@dataclasses.dataclass
class DryRun:
    """Counts of a corpus."""

    corpus: Corpus
    items: int = 0
    parts: int = 0
    seconds: float = 0.0
    timed: int = 0  # items that say how long they are
    characters: int = 0
    refused: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    examples: dict[str, str] = dataclasses.field(default_factory=dict)  # the first of each reason
    shards: int = 0
    stopping: int = 0  # lines that end the command without --skip-bad

    def lines(self) -> Iterator[str]:
        """The counts for people."""
        files = len(self.corpus.files)
        yield f"{self.corpus.where}: {self.items} items in {files} file{'s' * (files != 1)}; nothing was written"
        if self.corpus.kind == "speech":
            without = self.items - self.timed
            others = f"; {without} items do not say how long they are" if without else ""
            yield f"  hours        {self.seconds / 3600:.2f} of {self.timed} items{others}"
        else:
            yield f"  text         {self.characters} characters"
        yield f"  shards       about {self.shards}"
        yield f"  refused      {self.refused.total()} from the metadata alone"
        for reason, count in self.refused.most_common():
            yield f"    {count} {reason}: {self.examples[reason]}"

    def refuse(self, item: Any, reason: str, message: str) -> None:
        """Counts an item that would be refused."""
        self.stopping += isinstance(item, BadItem) and item.stops
        self.refused[reason] += 1
        self.examples.setdefault(
            reason, message if isinstance(item, BadItem) else f"{item.place or item.id}: {message}"
        )


def look(corpus: Corpus, size: Size, progress: bool = False) -> DryRun:
    """Reads the metadata of a corpus, whose readers must be told to skip bad lines.

    Ids are compared over the whole corpus where it is small, else within each part. Raises: DataError, StorageError.
    """
    size.check()
    found, states, ids = DryRun(corpus), [], set()
    corpus = corpus.without_sound()
    if size.records is not None:
        corpus = corpus.in_exact_parts()
    with tqdm.tqdm(total=corpus.input_bytes, desc="dry run", unit="B", unit_scale=True, disable=not progress) as bar:
        for part in corpus.parts(size.records or PART_ITEMS):
            ids = ids if corpus.is_small else set()
            items, good, weight = 0, 0, PADDING
            for item in corpus.readers.read(part):
                items += 1
                bytes_of_item = _count(found, item, ids)
                good, weight = good + (bytes_of_item > 0), weight + round(bytes_of_item)
            found.items, found.parts = found.items + items, found.parts + 1
            states.append(PartState(part.name, "", "", items, good, weight, ""))
            bar.update(part.size)
    if not found.items:
        raise corpus.empty()
    found.shards = len(plan(states, size))
    return found


def _count(found: DryRun, item: Item | TextItem | BadItem, ids: set[str]) -> float:
    """Counts an item. Returns its bytes in a shard, roughly; 0 where it would be refused."""
    refused = _refusal(item, ids)
    ids.add(item.id)
    if isinstance(item, Item) and item.duration_sec is not None:
        found.seconds += item.duration_sec
        found.timed += 1
    if isinstance(item, TextItem):
        found.characters += len(item.text)
    if refused is not None or isinstance(item, BadItem):
        found.refuse(item, *(refused or ("", "")))
        return 0.0
    seconds = (item.duration_sec or 0.0) if isinstance(item, Item) else 0.0
    return RECORD_BYTES + UNIT_RATE * UNIT_BYTES * seconds + TEXT_BYTES * len(item.text.encode())


def _refusal(item: Item | TextItem | BadItem, ids: set[str]) -> tuple[str, str] | None:
    """The reason and the message, as preparation would give them; None for an item that looks good."""
    if isinstance(item, BadItem):
        return item.reason, item.message
    if item.id in ids:
        return REPEATED, f"{item.id}: the id is there twice, which ends the command; give every item its own"
    if isinstance(item, TextItem):
        return None if item.text.strip() else ("empty document", "its text is empty; leave it out")
    try:
        text, _ = tags.without_tags(item.text)
    except RejectedItem as error:
        return error.reason, str(error)
    if not text:
        return "empty transcript", "its text is empty; add the words or leave it out"
    if item.duration_sec is not None and item.duration_sec < SHORTEST_SEC:
        return "too short", f"is {item.duration_sec:g} s long, shorter than one frame of {SHORTEST_SEC} s; leave it out"
    if not audio_place.is_there(item.audio):
        return "missing audio", f"{item.audio}: no such audio file; correct the path"
    return None
