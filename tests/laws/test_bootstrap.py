"""Intervals hold what they promise: over many made-up studies they contain the true number 95% of the time."""

import numpy as np
import pytest
import scipy.stats

from lst_jax.bench import coverage
from lst_jax.laws import bootstrap


def shares(name, studies, draws):
    measured = coverage.measure({name: coverage.STUDIES[name]}, studies, draws)["studies"][name]
    assert measured["refused"] == 0
    return {number: of["coverage"] for number, of in measured["numbers"].items()}


@pytest.mark.parametrize(
    "name, studies",
    [
        ("L(N, D)", 10),
        ("L(C)", 14),
        ("iso-FLOP valleys", 30),
        ("gap of losses", 30),
        ("gap of accuracies", 30),
        ("multiplier along lines", 10),
    ],
)
def test_intervals_cover_the_truth_in_a_few_studies(name, studies):
    """At a true coverage of 95%, fewer than 70% of 10 come once in a thousand."""
    covered = shares(name, studies, 150)
    assert min(covered.values()) >= 0.7, covered
    assert np.mean(list(covered.values())) >= 0.85, covered


@pytest.mark.slow
@pytest.mark.parametrize("name", coverage.STUDIES)
def test_intervals_cover_the_truth_in_90_to_99_of_100_studies(name):
    covered = shares(name, 200, coverage.DRAWS)
    assert all(0.90 <= share <= 0.99 for share in covered.values()), covered


def test_the_interval_of_a_mean_is_student_s_however_few_the_runs():
    values = np.array([0.1, 0.4, -0.2])
    simulated = bootstrap.simulate(
        np.full(3, values.mean()), values - values.mean(), 1, 400_000, np.random.default_rng(0)
    )
    expected = scipy.stats.t.interval(0.95, 2, values.mean(), values.std(ddof=1) / np.sqrt(3))
    np.testing.assert_allclose(bootstrap.interval(simulated.mean(1)), expected, rtol=0.02)
