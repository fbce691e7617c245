import doctest

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lst_jax.data import patching
from lst_jax.data.patching import AlignedRule, EachUnitRule, SpeechRun, StaticRule
from lst_jax.data.patching.aligned import jitter, piece_offsets


def test_the_papers_example():
    results = doctest.testmod(patching)
    assert results.attempted == 6 and results.failed == 0


@st.composite
def runs(draw):
    marks = sorted(draw(st.sets(st.integers(0, 60), max_size=12)))
    words = [(a, b) for a, b in zip(marks, marks[1:], strict=False) if draw(st.booleans())]
    units = draw(st.integers(max([b for _, b in words], default=1), 70))
    chars = draw(
        st.lists(
            st.lists(st.integers(1, 9), min_size=1, max_size=5).map(tuple), min_size=len(words), max_size=len(words)
        )
    )
    return SpeechRun(units, np.array([a for a, _ in words], int), np.array([b for _, b in words], int), chars)


def slow_aligned(run):
    """Unit by unit: the word that a unit is in, or the silence after so many words."""
    owner = []
    for unit in range(run.units):
        inside = [i for i, (a, b) in enumerate(zip(run.word_start, run.word_end, strict=True)) if a <= unit < b]
        owner.append(("word", inside[0]) if inside else ("silence", int(np.sum(run.word_end <= unit))))
    return owner


@hypothesis.given(runs())
def test_aligned_patches_are_words_and_silences(run):
    start, end = AlignedRule().boundaries(run)
    owner = slow_aligned(run)
    assert start.tolist() == [i == 0 or owner[i] != owner[i - 1] for i in range(run.units)]
    assert end.tolist() == [i + 1 == run.units or owner[i] != owner[i + 1] for i in range(run.units)]


@hypothesis.given(runs(), st.integers(1, 10))
def test_static_patches_have_one_size_and_a_short_last_one_does_not_tell_its_end(run, size):
    start, end = StaticRule(size).boundaries(run)
    lengths = np.diff(np.append(np.flatnonzero(start), run.units))
    assert start[0] and (lengths[:-1] == size).all() and 1 <= lengths[-1] <= size
    assert np.flatnonzero(end).tolist() == [i for i in range(run.units) if (i + 1) % size == 0]


@hypothesis.given(runs())
def test_without_patching_each_unit_is_a_patch(run):
    start, end = EachUnitRule().boundaries(run)
    assert start.all() and end.all() and len(start) == len(end) == run.units


def ends_before_starts(start, end):
    return end.tolist() == [*start[1:].tolist(), True]


@hypothesis.given(runs())
def test_merged_silence_belongs_to_the_word_before_it(run):
    start, end = AlignedRule(merged=True).boundaries(run)
    said = [max(int(np.sum(run.word_start <= unit)) - 1, 0) for unit in range(run.units)]
    assert start.tolist() == [i == 0 or said[i] != said[i - 1] for i in range(run.units)]
    assert ends_before_starts(start, end)


@hypothesis.given(runs(), st.booleans())
def test_pieces_only_cut_words_further_and_take_frames_by_their_characters(run, merged):
    by_piece, end = AlignedRule(text_pieces=True, merged=merged).boundaries(run)
    by_word, _ = AlignedRule(merged=merged).boundaries(run)
    assert ends_before_starts(by_piece, end)
    inside = np.zeros(run.units, bool)
    for first, last, chars in zip(run.word_start, run.word_end, run.piece_chars, strict=True):
        inside[first + 1 : last] = True
        edges = [first + np.flatnonzero(by_piece[first + 1 : last]) + 1][0].tolist()
        assert len(edges) == min(len(chars), last - first) - 1
        wanted = [first + (last - first) * sum(chars[:i]) / sum(chars) for i in range(1, len(chars))]
        if all(b - a >= 1.5 for a, b in zip([first, *wanted], [*wanted, last], strict=True)):
            assert all(abs(edge - want) <= 0.5 for edge, want in zip(edges, wanted, strict=True))
    assert (by_piece & ~inside).tolist() == (by_word & ~inside).tolist()


@pytest.mark.parametrize(
    "chars, frames, offsets",
    [
        ((3,), 9, ()),
        ((4, 2), 9, (6,)),
        ((1, 1), 5, (3,)),
        ((9, 1, 1), 3, (1, 2)),
        ((9, 1, 1), 2, (1,)),
        ((1, 9), 3, (1,)),
        ((1, 1, 20), 4, (1, 2)),
        ((20, 1, 1), 22, (20, 21)),
        ((2, 3, 4), 1, ()),
    ],
)
def test_frames_of_a_word_are_divided_by_characters_and_every_piece_has_one_while_they_last(chars, frames, offsets):
    assert piece_offsets(chars, frames) == offsets


@hypothesis.given(runs(), st.floats(0.1, 3.0), st.integers(0, 1000))
def test_noise_keeps_order_and_ends_and_moves_no_boundary_further_than_it_may(run, frames, seed):
    start, _ = AlignedRule().boundaries(run)
    cut = start & (np.random.default_rng(seed).random(run.units) < 0.5)
    (moved, end), moved_cut = jitter(start, cut, frames, np.random.default_rng(seed))
    before, after = np.flatnonzero(start), np.flatnonzero(moved)
    assert moved[0] and len(before) == len(after) and ends_before_starts(moved, end)
    assert (np.abs(after - before) < frames + 1).all()
    assert cut[before].tolist() == moved_cut[after].tolist() and moved_cut.sum() == cut.sum()


@pytest.mark.parametrize("frames", [0.5, 1.0, 2.5])
def test_noise_is_uniform_and_right_on_average_where_there_is_room(frames):
    start = np.zeros(200_000, bool)
    start[::20] = True
    (moved, _), _ = jitter(start, start, frames, np.random.default_rng(0))
    move = np.flatnonzero(moved)[1:] - np.flatnonzero(start)[1:]
    assert abs(move.mean()) < 0.05
    assert np.abs(move).max() == np.ceil(frames)
    # U[-x, x] rounded at random: the variance of the uniform, and the expected f(1-f) of its fraction, f uniform
    fraction = np.random.default_rng(1).uniform(-frames, frames, 100_000) % 1
    assert move.var() == pytest.approx(frames**2 / 3 + np.mean(fraction * (1 - fraction)), rel=0.06)
