"""Items to records: what every engine does with the items of a shard.

Whatever goes wrong with one item is its rejection; the others go on.
"""

import dataclasses
import functools
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from lst_jax.core.errors import DataError, RejectedItem, UserError, first_line
from lst_jax.data import records
from lst_jax.data.alignment import Placed, to_frames
from lst_jax.prepare import audio, manifest, recordings, tags
from lst_jax.prepare.accounts import Made, Rejection
from lst_jax.prepare.aligners import fit
from lst_jax.prepare.aligners.protocol import (
    Aligner,
    BatchAligner,
    LanguageAligner,
    LengthAligner,
    RetryingAligner,
    WordsAligner,
)
from lst_jax.prepare.corpora import fields
from lst_jax.prepare.speech_tokenizers.protocol import BatchUnitTokenizer, BlockUnitTokenizer, UnitTokenizer

GROUP = 128  # recordings that a model sees together, and memory holds: 0.25 GB of 30 s each
GROUP_SEC = 30.0 * GROUP  # a group of long recordings ends behind so many seconds
OUTSIDE, TAGS, OTHER_WORDS = "s of speech outside words", "marks that are no words", "words unlike the transcript's"
RETRIED = "placed by a second search"


@typing.runtime_checkable
class Maker(typing.Protocol):
    """Makes the records of items; pickles as its settings."""

    batched: bool  # several items at a time, by one process
    light: bool  # made faster than an item is handed to another process

    def __call__(self, item: Any) -> Made:
        """The record of one item."""

    def make(self, items: Sequence[Any]) -> list[Made]:
        """The records of the items of a shard, in their order."""


@dataclasses.dataclass(frozen=True)
class Sound:
    """The sound of an item, and the words of its transcript.

    `samples` is None where a recording is too long to be held. `blocks` gives it from the start at each call.
    """

    blocks: Callable[[], Iterable[np.ndarray]]
    samples: np.ndarray | None
    level_db: np.ndarray  # of each 10 ms
    words: list[str]
    tags: list[str]


class SpeechMaker:
    """Item → utterance record. Pickles as its settings; each process loads its own tokenizer and decoder."""

    def __init__(
        self, load_units: Callable[[], UnitTokenizer], aligner: Aligner, source: str | None, channel: str | None = None
    ):
        """`load_units` gives the unit tokenizer (`registry.loader`). `source` is written into every record.

        `channel` is used of recordings that have several, where the item does not say which.
        """
        self.load_units, self.aligner, self.source, self.channel = load_units, aligner, source, channel
        self.light = False

    @functools.cached_property
    def unit_tokenizer(self) -> UnitTokenizer:
        """The unit tokenizer, loaded at the first use."""
        return self.load_units()

    def __reduce__(self):
        """See the class."""
        return type(self), (self.load_units, self.aligner, self.source, self.channel)

    @property
    def batched(self) -> bool:
        """Whether a model is among the two."""
        return isinstance(self.unit_tokenizer, BatchUnitTokenizer) or isinstance(self.aligner, BatchAligner)

    def __call__(self, item: manifest.Item | manifest.BadItem) -> Made:
        """Units, alignment, record; anything wrong with the item becomes its rejection."""
        return self.make([item])[0]

    def make(self, items: Sequence[manifest.Item | manifest.BadItem]) -> list[Made]:
        """See `Maker.make`; models see a group of recordings at a time, others one."""
        made, most_sec = [], GROUP_SEC if self.batched else 0.0
        sounds: list[Sound | RejectedItem] = []
        held_sec = 0.0
        for number, item in enumerate(items):
            sounds += each(self._load, [item])
            held_sec += 0.0 if isinstance(sounds[-1], RejectedItem) else len(sounds[-1].level_db) / fit.FRAMES_PER_SEC
            if held_sec >= most_sec or len(sounds) == GROUP or number == len(items) - 1:
                made += self._make_group(items[number + 1 - len(sounds) : number + 1], sounds)
                sounds, held_sec = [], 0.0
        return made

    def _make_group(
        self, items: Sequence[manifest.Item | manifest.BadItem], sounds: Sequence[Sound | RejectedItem]
    ) -> list[Made]:
        ids = self._encode(sounds)
        placed = self._align(items, sounds, ids)
        made = each(self._record, items, sounds, ids, placed)
        return [
            rejection_of(item, one) if isinstance(one, RejectedItem) else one
            for item, one in zip(items, made, strict=True)
        ]

    def _load(self, item: manifest.Item | manifest.BadItem) -> Sound:
        if isinstance(item, manifest.BadItem):
            raise RejectedItem(item.reason, item.message)
        fields.check_language(item, self.aligner.languages if isinstance(self.aligner, LanguageAligner) else None)
        text, marks = tags.without_tags(item.text)
        if not text:
            raise RejectedItem("empty transcript", "its text is empty; add the words or leave it out")
        recording = dataclasses.replace(item.recording, channel=self._channel(item))
        streams = isinstance(self.unit_tokenizer, BlockUnitTokenizer) and isinstance(self.aligner, LengthAligner)
        try:
            samples = recording.samples(recordings.LONGEST_SEC if streams else recordings.LONGEST_WHOLE_SEC)
        except RejectedItem as error:
            if error.reason != recordings.TOO_LONG or not streams:
                raise
            return Sound(recording.blocks, None, audio.levels(recording.blocks()), text.split(), marks)
        return Sound(lambda: [samples], samples, audio.levels([samples]), text.split(), marks)

    def _channel(self, item: manifest.Item) -> str | None:
        """What the item says; else, where there are several, what the command says, or whose the words are."""
        if item.channel is not None or recordings.channels_of(item.audio) == 1:
            return item.channel
        if self.channel is not None or not isinstance(self.aligner, LengthAligner):
            return self.channel
        return self.aligner.channel_of(item.id)

    def _encode(self, sounds: Sequence[Sound | RejectedItem]) -> list[np.ndarray | RejectedItem]:
        tokenizer = self.unit_tokenizer
        if isinstance(tokenizer, BatchUnitTokenizer):
            return _together(lambda some: tokenizer.encode_batch([s.samples for s in some], audio.RATE), sounds)
        if isinstance(tokenizer, BlockUnitTokenizer):
            return each(lambda sound: tokenizer.encode_blocks(sound.blocks, audio.RATE), sounds)
        return each(lambda sound: tokenizer.encode(sound.samples, audio.RATE), sounds)

    def _align(
        self,
        items: Sequence[manifest.Item | manifest.BadItem],
        sounds: Sequence[Sound | RejectedItem],
        ids: Sequence[np.ndarray | RejectedItem],
    ) -> list[list[Placed] | RejectedItem]:
        """Words of the items that have units."""
        aligner = self.aligner
        if isinstance(aligner, BatchAligner):
            return _together(
                lambda items, sounds, _: aligner.align_batch(
                    [item.id for item in items], [s.samples for s in sounds], [s.words for s in sounds]
                ),
                items,
                sounds,
                ids,
            )

        def align(item: manifest.Item, sound: Sound, _: np.ndarray) -> list[Placed]:
            length_sec = len(sound.level_db) / fit.FRAMES_PER_SEC
            if isinstance(aligner, WordsAligner):
                return aligner.align_words(item.id, item.words, length_sec, sound.words)
            if sound.samples is None:
                return aligner.align_length(item.id, length_sec, sound.words)  # ty: ignore[missing-attribute]
            return aligner.align(item.id, sound.samples, sound.words)

        return each(align, items, sounds, ids)

    def _record(self, item: manifest.Item, sound: Sound, ids: np.ndarray, placed: list[Placed]) -> Made:
        words = to_frames(placed, self.unit_tokenizer.unit_rate, len(ids))
        utterance = records.Utterance(item.id, ids, words, item.speaker, self.source)
        records.check_utterance(utterance, self.unit_tokenizer.codebook_size)
        different = fit.differing(sound.words, [word for word, *_ in placed])[0] if placed else 0
        notes = {
            OUTSIDE: fit.outside_sec(sound.level_db, placed),
            TAGS: len(sound.tags),
            OTHER_WORDS: different,
        }
        if isinstance(self.aligner, RetryingAligner):
            notes[RETRIED] = int(self.aligner.take_retried(item.id))
        guessed = tuple(self.aligner.guessed(sound.words))
        return Made(records.encode(utterance), len(ids), len(words), None, guessed, notes)


class TextMaker:
    """Document → text record."""

    batched, light = False, True

    def __call__(self, item: manifest.TextItem | manifest.BadItem) -> Made:
        """The record; an empty document is a rejection."""
        (made,) = each(self._record, [item])
        return rejection_of(item, made) if isinstance(made, RejectedItem) else made

    def make(self, items: Sequence[manifest.TextItem | manifest.BadItem]) -> list[Made]:
        """See `Maker.make`."""
        return [self(item) for item in items]

    def _record(self, item: manifest.TextItem | manifest.BadItem) -> Made:
        if isinstance(item, manifest.BadItem):
            raise RejectedItem(item.reason, item.message)
        if not item.text.strip():
            raise RejectedItem("empty document", "its text is empty; leave it out")
        return Made(records.encode(records.TextDocument(item.id, item.text)), 0, len(item.text.split()), None, ())


def rejection_of(item: manifest.Item | manifest.TextItem | manifest.BadItem, error: RejectedItem) -> Made:
    """What became of an item that cannot be used; the message says where it is written down."""
    says_where = isinstance(item, manifest.BadItem) or not item.place
    message = str(error) if says_where else f"{item.place}: {error}"
    return Made(None, 0, 0, Rejection(item.id, error.reason, message), ())


def each(function: Callable[..., Any], *columns: Sequence[Any]) -> list[Any]:
    """function(row) of each row of `columns`; a RejectedItem, raised or already in the row, is its result.

    Any other exception is of this row alone, too: a decoder may fail in ways of its own. What ends the whole command
    are errors of the place that is written to, or of a setting.
    """
    results = []
    for row in zip(*columns, strict=True):
        refused = _refused(row)
        try:
            results.append(function(*row) if refused is None else refused)
        except RejectedItem as error:
            results.append(error)
        except DataError as error:
            results.append(RejectedItem("breaks a rule of records", str(error)))
        except UserError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {first_line(error)}"
            results.append(RejectedItem("unexpected error", f"cannot be used ({what}); leave it out, and report this"))
    return results


def _together(function: Callable[..., list[Any]], *columns: Sequence[Any]) -> list[Any]:
    """As `each`, where `function` takes whole columns of the rows without a RejectedItem.

    Where the batch fails, each of its rows is tried alone, so that one bad row is one rejection.
    """
    rows = list(zip(*columns, strict=True))
    good = [row for row in rows if _refused(row) is None]
    if not good:
        return [_refused(row) for row in rows]
    good_columns = list(map(list, zip(*good, strict=True)))
    try:
        results = function(*good_columns)
    except Exception as error:
        if isinstance(error, UserError) and not isinstance(error, DataError):
            raise
        results = each(lambda *row: function(*([value] for value in row))[0], *good_columns)
    found = iter(results)
    return [next(found) if (refused := _refused(row)) is None else refused for row in rows]


def _refused(row: Sequence[Any]) -> RejectedItem | None:
    return next((value for value in row if isinstance(value, RejectedItem)), None)
