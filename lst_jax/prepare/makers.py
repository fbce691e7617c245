"""Items to records: what every engine does with the items of a shard."""

import functools
import typing
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lst_jax.core.errors import RejectedItem
from lst_jax.data import records
from lst_jax.data.alignment import Placed, to_frames
from lst_jax.prepare import audio, manifest
from lst_jax.prepare.aligners.protocol import Aligner, BatchAligner
from lst_jax.prepare.directory import Made, Rejection
from lst_jax.prepare.speech_tokenizers.protocol import BatchUnitTokenizer, UnitTokenizer

GROUP = 128  # recordings that a model sees together, and memory holds: 0.25 GB of 30 s each


@typing.runtime_checkable
class Maker(typing.Protocol):
    """Makes the records of items; pickles as its settings."""

    batched: bool  # several items at a time, by one process

    def __call__(self, item: Any) -> Made:
        """The record of one item."""

    def make(self, items: Sequence[Any]) -> list[Made]:
        """The records of the items of a shard, in their order."""


class SpeechMaker:
    """Item → utterance record. Pickles as its settings; each process loads its own tokenizer and decoder."""

    def __init__(self, load_units: Callable[[], UnitTokenizer], aligner: Aligner, source: str | None):
        """`load_units` gives the unit tokenizer (`registry.loader`). `source` is written into every record."""
        self.load_units, self.aligner, self.source = load_units, aligner, source

    @functools.cached_property
    def unit_tokenizer(self) -> UnitTokenizer:
        """The unit tokenizer, loaded at the first use."""
        return self.load_units()

    def __reduce__(self):
        """See the class."""
        return type(self), (self.load_units, self.aligner, self.source)

    @property
    def batched(self) -> bool:
        """Whether a model is among the two."""
        return isinstance(self.unit_tokenizer, BatchUnitTokenizer) or isinstance(self.aligner, BatchAligner)

    def __call__(self, item: manifest.Item) -> Made:
        """Units, alignment, record; anything wrong with the item becomes its rejection."""
        return self.make([item])[0]

    def make(self, items: Sequence[manifest.Item]) -> list[Made]:
        """See `Maker.make`; models see GROUP recordings at a time."""
        made = []
        for start in range(0, len(items), GROUP):
            made += self._make_group(items[start : start + GROUP])
        return made

    def _make_group(self, items: Sequence[manifest.Item]) -> list[Made]:
        samples = _each(_load, items)
        ids = self._encode(samples)
        placed = self._align(items, samples, ids)
        made = _each(self._record, items, ids, placed)
        return [
            Made(None, 0, 0, Rejection(item.id, one.reason, str(one)), ()) if isinstance(one, RejectedItem) else one
            for item, one in zip(items, made, strict=True)
        ]

    def _encode(self, samples: Sequence[np.ndarray | RejectedItem]) -> list[np.ndarray | RejectedItem]:
        tokenizer = self.unit_tokenizer
        if isinstance(tokenizer, BatchUnitTokenizer):
            return _together(lambda recordings: tokenizer.encode_batch(recordings, audio.RATE), samples)
        return _each(lambda recording: tokenizer.encode(recording, audio.RATE), samples)

    def _align(
        self,
        items: Sequence[manifest.Item],
        samples: Sequence[np.ndarray | RejectedItem],
        ids: Sequence[np.ndarray | RejectedItem],
    ) -> list[list[Placed] | RejectedItem]:
        """Words of the items that have units."""
        aligner = self.aligner
        if isinstance(aligner, BatchAligner):
            return _together(
                lambda items, recordings, _: aligner.align_batch(
                    [item.id for item in items], recordings, [item.text.split() for item in items]
                ),
                items,
                samples,
                ids,
            )
        return _each(
            lambda item, recording, _: aligner.align(item.id, recording, item.text.split()), items, samples, ids
        )

    def _record(self, item: manifest.Item, ids: np.ndarray, placed: list[Placed]) -> Made:
        words = to_frames(placed, self.unit_tokenizer.unit_rate, len(ids))
        utterance = records.Utterance(item.id, ids, words, item.speaker, self.source)
        records.check_utterance(utterance, self.unit_tokenizer.codebook_size)
        return Made(
            records.encode(utterance), len(ids), len(words), None, tuple(self.aligner.guessed(item.text.split()))
        )


class TextMaker:
    """Document → text record."""

    batched = False

    def __call__(self, item: manifest.TextItem) -> Made:
        """The record; an empty document is a rejection."""
        if not item.text.strip():
            return Made(None, 0, 0, Rejection(item.id, "empty document", "its text is empty; leave it out"), ())
        return Made(records.encode(records.TextDocument(item.id, item.text)), 0, len(item.text.split()), None, ())

    def make(self, items: Sequence[manifest.TextItem]) -> list[Made]:
        """See `Maker.make`."""
        return [self(item) for item in items]


def _load(item: manifest.Item) -> np.ndarray:
    if not item.text:
        raise RejectedItem("empty transcript", "its text is empty; add the words or leave it out")
    return audio.load_audio(item.audio_path)


def _each(function: Callable[..., Any], *columns: Sequence[Any]) -> list[Any]:
    """function(row) of each row of `columns`; a RejectedItem, raised or already in the row, is its result."""
    results = []
    for row in zip(*columns, strict=True):
        rejected = _rejected(row)
        try:
            results.append(function(*row) if rejected is None else rejected)
        except RejectedItem as error:
            results.append(error)
    return results


def _together(function: Callable[..., list[Any]], *columns: Sequence[Any]) -> list[Any]:
    """As `_each`, where `function` takes whole columns of the rows without a RejectedItem."""
    rows = list(zip(*columns, strict=True))
    good = [row for row in rows if _rejected(row) is None]
    found = iter(function(*map(list, zip(*good, strict=True))) if good else ())
    return [next(found) if (rejected := _rejected(row)) is None else rejected for row in rows]


def _rejected(row: Sequence[Any]) -> RejectedItem | None:
    return next((value for value in row if isinstance(value, RejectedItem)), None)
