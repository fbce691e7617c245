"""Made-up utterances for the importers' tests."""

import numpy as np
from hypothesis import strategies as st

from lst_jax.data.records import Utterance, Word

RATES = (25.0, 50.0, 12.5, 50 / 3, 1000 / 7)
CODEBOOK = 501
WORDS = st.text(min_size=1, max_size=6).filter(lambda text: text == text.strip())
PLAIN_WORDS = st.text("abcäß'.-{}|", min_size=1, max_size=6)
IDS = st.from_regex(r"[a-z0-9_-]{1,8}(/[a-z0-9._-]{0,6}[a-z0-9]){0,2}", fullmatch=True)


@st.composite
def utterance_parts(draw, words=WORDS, ids=IDS):
    """What `built` makes an utterance of: any gaps, also none; words of at least a frame; no speaker or source.

    The records are made outside, since their run-time type checks draw random numbers, which strategies must not.
    """
    spans = draw(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5), words), max_size=6))
    tail = draw(st.integers(0 if spans else 1, 4))
    at, placed = 0, []
    for gap, length, text in spans:
        placed.append((text, at + gap, at + gap + length))
        at += gap + length
    units = draw(st.lists(st.integers(0, CODEBOOK - 1), min_size=at + tail, max_size=at + tail))
    return draw(ids), units, placed


def built(parts):
    """The utterance of `utterance_parts`."""
    name, units, placed = parts
    return Utterance(name, np.array(units, np.uint16), tuple(Word(*word) for word in placed), None, None)


def utterance(name="u1", source=None, speaker=None):
    """Eight frames with the words "a" at 2-4 and "b" at 6-7."""
    return Utterance(
        name, np.array([5, 5, 9, 9, 9, 5, 3, 3], np.uint16), (Word("a", 2, 5), Word("b", 6, 8)), speaker, source
    )
