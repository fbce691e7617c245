"""Documents are cut where sentences or phrases end, and what cannot be spoken goes."""

import hypothesis
import hypothesis.strategies as st
import pytest

from lst_jax.core.errors import DataError
from lst_jax.prepare import manifest, utterances


@pytest.mark.parametrize(
    "text, runs",
    [
        ("so be it. let us go, then now", ["so be it.", "let us go,", "then now"]),
        ("a b c d", ["a b c d"]),
        ("ah. be. see. do.", ["ah. be. see. do."]),  # short enough: not cut at all
        ("a b c d e f g h i", ["a b c", "d e f", "g h i"]),  # no end anywhere: even parts
        ("one two, Dr. four five six", ["one two,", "Dr. four five six"]),  # an abbreviation is no end
        ("one two, J. four five six", ["one two,", "J. four five six"]),
        ("one two, three four? five six", ["one two, three four?", "five six"]),  # a sentence before a phrase
        ("one two) three.” four five", ["one two) three.”", "four five"]),
        ("a b cc dd. e", ["a b cc", "dd. e"]),  # an end that would leave one word is none
    ],
    ids=str,
)
def test_where_a_document_is_cut(text, runs):
    assert [" ".join(run) for run in utterances.cut(text.split(), 2, 4)] == runs


@hypothesis.given(
    st.lists(st.sampled_from(["a", "b,", "c.", "Dr.", 'd!"', "e"]), max_size=200),
    st.integers(1, 12),
    st.integers(0, 30),
)
def test_runs_are_the_words_in_order_and_of_the_lengths_asked_for(words, words_min, more):
    words_max = 2 * words_min - 1 + more
    runs = utterances.cut(words, words_min, words_max)
    assert [word for run in runs for word in run] == words
    assert all(len(run) <= words_max for run in runs)
    assert len(runs) == 1 or all(len(run) >= words_min for run in runs)


@pytest.mark.parametrize("words_min, words_max", [(0, 5), (4, 6), (1, 0)])
def test_lengths_that_cannot_be_kept_are_one_line(words_min, words_max):
    with pytest.raises(DataError, match=f"--words-min {words_min}: must be at least 1 and"):
        utterances.cut(["a"], words_min, words_max)


def test_a_transcript_has_only_what_can_be_spoken():
    assert (
        utterances.spoken_text(" Fly\u200b -- by\n\u201c42\u201d & co\0. \u2026 cafe\u0301 ")
        == "Fly by \u201c42\u201d & co. caf\u00e9"
    )
    assert utterances.spoken_text("-- ...") == ""


def test_utterances_carry_the_fields_and_the_id_of_their_document():
    fields = {"id": "d", "text": "x", "split": "train", "audio": "old.wav", "speaker": "s"}
    (one,) = utterances.of_document(manifest.TextItem("d", "a  b\nc"), fields, 1, 3)
    assert one == utterances.Utterance("d", "a b c", {"split": "train"})
    several = utterances.of_document(manifest.TextItem("d", "a b c d"), fields, 1, 3)
    assert [u.id for u in several] == ["d-000", "d-001"] and several[1].fields == {"split": "train"}


@pytest.mark.parametrize("name", ["", "a b", ";;a"])
def test_an_id_that_no_ctm_can_hold_is_one_line(name):
    with pytest.raises(DataError, match="which a CTM file cannot hold; change it"):
        utterances.of_document(manifest.TextItem(name, "a"), {}, 1, 3)
