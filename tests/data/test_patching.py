import doctest

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lst_jax.config import PatchingConfig
from lst_jax.data import patching
from lst_jax.data.patching import POLICIES, SpeechRun, aligned_probability, draw_policy, inference_policy


def test_the_papers_example():
    results = doctest.testmod(patching)
    assert results.attempted == 3 and results.failed == 0


@st.composite
def runs(draw):
    marks = sorted(draw(st.sets(st.integers(0, 60), max_size=12)))
    words = [(a, b) for a, b in zip(marks, marks[1:], strict=False) if draw(st.booleans())]
    units = draw(st.integers(max([b for _, b in words], default=1), 70))
    return SpeechRun(units, np.array([a for a, _ in words], int), np.array([b for _, b in words], int))


def slow_aligned(run):
    """Unit by unit: the word that a unit is in, or the silence after so many words."""
    owner = []
    for unit in range(run.units):
        inside = [i for i, (a, b) in enumerate(zip(run.word_start, run.word_end, strict=True)) if a <= unit < b]
        owner.append(("word", inside[0]) if inside else ("silence", int(np.sum(run.word_end <= unit))))
    return owner


@hypothesis.given(runs(), st.integers(1, 10))
def test_aligned_patches_are_words_and_silences(run, size):
    start, end = POLICIES["aligned"](run, size)
    owner = slow_aligned(run)
    assert start.tolist() == [i == 0 or owner[i] != owner[i - 1] for i in range(run.units)]
    assert end.tolist() == [i + 1 == run.units or owner[i] != owner[i + 1] for i in range(run.units)]


@hypothesis.given(runs(), st.integers(1, 10))
def test_static_patches_have_one_size_and_a_short_last_one_does_not_tell_its_end(run, size):
    start, end = POLICIES["static"](run, size)
    lengths = np.diff(np.append(np.flatnonzero(start), run.units))
    assert start[0] and (lengths[:-1] == size).all() and 1 <= lengths[-1] <= size
    assert np.flatnonzero(end).tolist() == [i for i in range(run.units) if (i + 1) % size == 0]


@hypothesis.given(runs(), st.integers(1, 10))
def test_without_patching_each_unit_is_a_patch(run, size):
    start, end = POLICIES["none"](run, size)
    assert start.all() and end.all() and len(start) == len(end) == run.units


@pytest.mark.parametrize("step, probability", [
    (0, 1.0), (99, 1.0), (100, 1.0), (101, 0.995), (200, 0.5), (299, 0.005), (300, 0.0), (10**6, 0.0)])
def test_the_curriculum_is_exactly_the_papers(step, probability):
    assert aligned_probability(step, PatchingConfig("curriculum", 4, 100, 300)) == pytest.approx(probability, abs=1e-12)


def test_a_curriculum_may_switch_at_once():
    config = PatchingConfig("curriculum", 4, 5, 5)
    assert [aligned_probability(u, config) for u in (4, 5)] == [1.0, 0.0]


@pytest.mark.parametrize("strategy, probability", [("static", 0.0), ("aligned", 1.0), ("mixed", 0.5)])
def test_other_strategies_do_not_depend_on_the_step(strategy, probability):
    assert {aligned_probability(u, PatchingConfig(strategy, 4, 1, 2)) for u in range(4)} == {probability}


@pytest.mark.parametrize("strategy, step, share", [
    ("static", 0, 0), ("aligned", 0, 1), ("mixed", 0, 0.5), ("curriculum", 1, 1), ("curriculum", 25, 0.75),
    ("curriculum", 40, 0)])
def test_documents_are_aligned_as_often_as_the_curriculum_says(strategy, step, share):
    rng = np.random.default_rng(0)
    config = PatchingConfig(strategy, 4, 20, 40)
    names = [draw_policy(step, config, lambda: rng) for _ in range(2000)]
    assert set(names) <= {"aligned", "static"}
    assert np.mean([n == "aligned" for n in names]) == pytest.approx(share, abs=0.03 if 0 < share < 1 else 0)


@pytest.mark.parametrize("strategy, name", [("static", "static"), ("curriculum", "static"), ("mixed", "static"),
                                            ("aligned", "aligned"), ("none", "none")])
def test_inference_uses_the_static_policy_after_a_mixture(strategy, name):
    assert inference_policy(PatchingConfig(strategy, 4, 1, 2)) == name
    if strategy == "none":
        assert draw_policy(0, PatchingConfig(strategy, 4, 1, 2), lambda: None) == "none"
