"""What an aligner is: it places the words of a transcript in the time of a recording."""

import typing
from collections.abc import Sequence

import numpy as np

from lst_jax.core.errors import RejectedItem
from lst_jax.data.alignment import Placed


@typing.runtime_checkable
class Aligner(typing.Protocol):
    """Places words in time. `name` goes into the metadata and changes whenever any time could."""

    name: str

    def align(self, item_id: str, audio: np.ndarray, words: Sequence[str]) -> list[Placed]:
        """(word, start_sec, end_sec) of each of `words`, in order, for float32 audio at 16 kHz.

        Raises: RejectedItem where the words cannot be placed.
        """

    def guessed(self, words: Sequence[str]) -> list[str]:
        """Those of the spoken words whose pronunciation is a guess."""


@typing.runtime_checkable
class LanguageAligner(Aligner, typing.Protocol):
    """An aligner of some languages. An item that says it is in another one is rejected before it is aligned.

    `languages` are two letters each, as "en"; None takes any.
    """

    languages: frozenset[str] | None


@typing.runtime_checkable
class LengthAligner(Aligner, typing.Protocol):
    """An aligner that needs no sound, only its length: it knows the words' times from elsewhere."""

    def for_items(self, item_ids: Sequence[str]) -> "LengthAligner":
        """This aligner, told which items it will be asked for."""

    def channel_of(self, item_id: str) -> str | None:
        """The channel that the item's words are of, where it is known. Raises: RejectedItem."""

    def align_length(self, item_id: str, length_sec: float, words: Sequence[str]) -> list[Placed]:
        """`align` of a recording that lasts `length_sec`. Raises: RejectedItem."""


@typing.runtime_checkable
class WordsAligner(LengthAligner, typing.Protocol):
    """An aligner that takes the words which come with an item (`Item.words`)."""

    def align_words(
        self, item_id: str, placed: Sequence[Placed] | None, length_sec: float, words: Sequence[str]
    ) -> list[Placed]:
        """`align_length` of an item that brings `placed`. Raises: RejectedItem."""


@typing.runtime_checkable
class RetryingAligner(Aligner, typing.Protocol):
    """An aligner that searches again, more slowly, where its first search fails."""

    def take_retried(self, item_id: str) -> bool:
        """Whether the item was placed by the second search. It is told once."""


@typing.runtime_checkable
class BatchAligner(Aligner, typing.Protocol):
    """A model: it is faster with several recordings at a time, and it runs in one process."""

    def align_batch(
        self, item_ids: Sequence[str], recordings: Sequence[np.ndarray], texts: Sequence[Sequence[str]]
    ) -> list[list[Placed] | RejectedItem]:
        """`align` of several recordings. A recording that cannot be placed gets a RejectedItem in its place."""
