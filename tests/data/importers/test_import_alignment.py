import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from import_samples import RATES, built, utterance_parts

from lst_jax.core.errors import RejectedItem
from lst_jax.data.alignment import check_placed, fit_frames, to_frames, to_seconds


@given(utterance_parts(), st.sampled_from(RATES), st.integers(2, 6))
def test_frames_survive_seconds_even_when_rounded_to_hundredths(parts, rate, digits):
    utterance = built(parts)
    placed = to_seconds(utterance.words, rate)
    assert to_frames(placed, rate, len(utterance.units)) == utterance.words
    if 10.0**-digits * rate < 0.5:
        rounded = [(w, round(s, digits), round(e, digits)) for w, s, e in placed]
        assert to_frames(rounded, rate, len(utterance.units)) == utterance.words


@given(st.lists(st.tuples(st.floats(0, 4), st.floats(0, 1)), max_size=12), st.integers(12, 130))
def test_any_times_in_order_give_words_that_are_in_order_and_inside(times, frames):
    placed = [(str(i), start, start + length) for i, (start, length) in enumerate(sorted(times))]
    words = to_frames(placed, 25.0, frames)
    edges = [edge for word in words for edge in (word.start_frame, word.end_frame)]
    assert [w.text for w in words] == [text for text, *_ in placed]
    assert edges == sorted(edges) and all(w.start_frame < w.end_frame for w in words)
    assert not edges or (edges[0] >= 0 and edges[-1] <= frames)


def test_words_far_beyond_the_units_are_refused_and_a_frame_or_two_is_not():
    with pytest.raises(RejectedItem, match="check the unit rate"):
        fit_frames([("a", 0.1, 2.0)], 25.0, 25)
    assert fit_frames([("a", 0.1, 1.1)], 25.0, 25)[0].end_frame == 25


@pytest.mark.parametrize(
    "placed",
    [
        [("a", math.nan, 1.0)],
        [("a", 0.0, math.inf)],
        [("a", -0.1, 1.0)],
        [("a", 1.0, 0.5)],
        [("a", 1.0, 1.5), ("b", 0.5, 2.0)],
    ],
)
def test_times_that_cannot_be_are_refused(placed):
    with pytest.raises(RejectedItem):
        check_placed(placed)
