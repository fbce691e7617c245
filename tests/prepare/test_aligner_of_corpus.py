"""`--aligner corpus`: words whose times the corpus itself has."""

import pytest

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare.aligners.protocol import LengthAligner, WordsAligner
from lst_jax.prepare.aligners.registry import load_aligner

PLACED = (("Hello", 0.1, 0.4), ("there.", 0.4, 0.9))


def test_the_words_of_an_item_are_taken_as_they_are():
    aligner = load_aligner("corpus")
    assert isinstance(aligner, WordsAligner) and isinstance(aligner, LengthAligner) and aligner.name == "corpus"
    assert aligner.align_words("u", PLACED, 0.85, ["hello", "there"]) == list(PLACED)


@pytest.mark.parametrize(
    ("placed", "length_sec", "words", "reason"),
    [
        (None, 1.0, ["hello"], "no alignment"),
        (PLACED, 0.7, ["hello", "there"], "other length"),
        (PLACED, 1.0, ["quite", "another", "text"], "other words"),
    ],
)
def test_words_that_do_not_fit_are_refused(placed, length_sec, words, reason):
    with pytest.raises(RejectedItem) as caught:
        load_aligner("corpus").align_words("u", placed, length_sec, words)
    assert caught.value.reason == reason


def test_settings_of_other_aligners_are_refused():
    for spec, settings in (("corpus:x", {}), ("corpus", {"least_score": -3.0}), ("corpus", {"options": {"tier": "x"}})):
        with pytest.raises(DataError, match="leave it out|takes no path"):
            load_aligner(spec, **settings)
