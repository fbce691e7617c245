"""Intervals of several runs over the same items, and of differences: they hold the truth as often as they say."""

import numpy as np
import pytest

from lst_jax.evals.accuracy import items_worth, paired_interval, wilson_interval

STUDIES = 2000


def test_runs_that_agree_are_worth_one_and_independent_ones_are_worth_all():
    rng = np.random.default_rng(0)
    one = (rng.random(400) < 0.7).astype(float)
    assert items_worth([one, one, one]) == 400
    assert items_worth([one]) == 400
    apart = (rng.random((3, 400)) < 0.7).astype(float)
    assert items_worth(apart) == pytest.approx(1200, rel=0.1)
    assert items_worth([[1.0, 1.0], [1.0, 1.0]]) == 2 and items_worth([[1.0], [0.0]]) == 1
    assert items_worth([[1.0, 0.0], [0.0, 1.0]]) == 4


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_the_interval_over_items_holds_the_truth(shared):
    """`shared` of what an item is answered by is the item, and the rest is the run; 40 items, three runs."""
    rng, held, widths = np.random.default_rng(1), 0, []
    for _ in range(STUDIES):
        of_item = rng.random(40) < 0.75
        answers = np.where(rng.random((3, 40)) < shared, of_item, rng.random((3, 40)) < 0.75).astype(float)
        worth = items_worth(answers)
        low, high = wilson_interval(answers.mean() * worth, worth)
        held += low <= 0.75 <= high
        widths.append(high - low)
    assert 0.92 < held / STUDIES < 0.985
    assert np.mean(widths) == pytest.approx({0.0: 0.155, 0.5: 0.19, 1.0: 0.26}[shared], abs=0.02)


@pytest.mark.parametrize(("first", "second"), [(0.9, 0.55), (0.7, 0.7), (0.98, 0.5)])
def test_the_paired_interval_holds_the_truth(first, second):
    rng, held = np.random.default_rng(2), 0
    for _ in range(STUDIES):
        ease = rng.random(40)  # of an item, for both systems
        other_ease = np.where(rng.random(40) < 0.5, ease, rng.random(40))
        low, high = paired_interval((ease < first).astype(float) - (other_ease < second))
        held += low <= first - second <= high
    assert 0.93 < held / STUDIES < 0.99


def test_the_paired_interval_has_a_width_where_all_items_differ_by_the_same():
    low, high = paired_interval([1.0] * 10)
    assert 0.3 < low < 1.0 and high == 1.0
    low, high = paired_interval([0.0] * 10)
    assert low == -high and high > 0.1
