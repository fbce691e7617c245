"""Words and times that the corpus itself has, as the podcasts of Spotify do: `Item.words`."""

from collections.abc import Sequence

import numpy as np

from lst_jax.core.errors import RejectedItem
from lst_jax.data.alignment import SLACK_SEC, Placed
from lst_jax.data.importers import base
from lst_jax.prepare.aligners import fit

NAME = "corpus"
MOST_DIFFERING = 0.5  # share of words that the transcript and the words with times may not have in common


class CorpusAligner:
    """Takes the words that come with an item. It needs no sound, so recordings of any length can be read in blocks."""

    name = NAME

    def for_items(self, item_ids: Sequence[str]) -> "CorpusAligner":
        """Itself: each item brings its own words."""
        return self

    def channel_of(self, item_id: str) -> None:
        """None: an item says itself which channel it is of."""
        return None

    def align(self, item_id: str, audio: np.ndarray, words: Sequence[str]) -> list[Placed]:
        """Never finds anything: the words are not in the sound. Raises: RejectedItem."""
        return self.align_words(item_id, None, 0.0, words)

    def align_length(self, item_id: str, length_sec: float, words: Sequence[str]) -> list[Placed]:
        """As `align`. Raises: RejectedItem."""
        return self.align_words(item_id, None, length_sec, words)

    def align_words(
        self, item_id: str, placed: Sequence[Placed] | None, length_sec: float, words: Sequence[str]
    ) -> list[Placed]:
        """The words that the item brings. Raises: RejectedItem where there are none, or they do not fit it."""
        if not placed:
            raise RejectedItem(
                "no alignment", f"{item_id}: the corpus has no times of its words; choose another --aligner"
            )
        last_sec = max(end_sec for *_, end_sec in placed)
        if last_sec > length_sec + SLACK_SEC:
            raise RejectedItem(
                "other length",
                f"{item_id}: its audio has {length_sec:g} s, its words end at {last_sec:g} s; are both of one recording?",
            )
        different, total = fit.differing(words, [word for word, *_ in placed])
        if words and different > MOST_DIFFERING * total:
            raise RejectedItem(
                "other words",
                f"{item_id}: the words with times are {base.short(' '.join(word for word, *_ in placed))}, its "
                f"transcript is {base.short(' '.join(words))}; correct the corpus",
            )
        return list(placed)

    def guessed(self, words: Sequence[str]) -> list[str]:
        """None: pronunciations are not this program's."""
        return []
