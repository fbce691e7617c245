"""Gaps between systems: the published direction, seeds, pairs, and what is refused.

paper_pairs.jsonl holds the ends of the compute-optimal family of arXiv 2510.06195: HellaSwag S→S and T→T of Base and
LST at 420M and 1.8B. Tokens follow its rule (text 20 times the parameters, speech half of that), FLOPs are 6·N·D;
HellaSwag's validation set has 10,042 items.
"""

import dataclasses
import pathlib

import numpy as np
import pytest
import scipy.stats

from lst_jax.bench import synthetic_runs as synthetic
from lst_jax.laws.gap import fit_gap
from lst_jax.laws.points import Refused, read_points

PAPER = pathlib.Path(__file__).with_name("paper_pairs.jsonl")
N = np.geomspace(1e5, 3.2e6, 6)  # doublings


def family(system, losses, n=N):
    return synthetic.points(n, 20 * n, losses, system, "loss_speech")


def test_the_paper_s_speech_gap_grows_with_size_and_its_text_gap_hardly_does():
    points = read_points(PAPER)
    speech = fit_gap(points, "accuracy_speech", "lst", "base")
    np.testing.assert_allclose(speech.gaps, [0.008, 0.037])
    slope = speech.describe()["numbers"]["gap_per_doubling"]
    assert slope["low"] > 0
    # by hand: 2.9 points in log2(1800/420) = 2.1 doublings; its error from four binomial variances
    deviation = np.sqrt(sum(p * (1 - p) / 10042 for p in (0.284, 0.292, 0.353, 0.39))) / np.log2(1800 / 420)
    assert slope["value"] == pytest.approx(0.029 / np.log2(1800 / 420))
    assert slope["low"] == pytest.approx(slope["value"] - 1.96 * deviation, abs=0.1 * deviation)
    text = fit_gap(points, "accuracy_text", "lst", "base").describe()["numbers"]["gap_per_doubling"]
    assert text["low"] < 0 < text["high"] and text["value"] < slope["value"] / 10


def test_the_trend_is_that_of_least_squares_with_student_s_interval():
    gaps = np.array([0.01, 0.03, 0.02, 0.05, 0.04, 0.06])
    runs = family("base", np.full(6, 3.0)) + family("lst", 3 - gaps)
    trend = fit_gap(runs, "loss_speech", "lst", "base", repeats=20_000).describe()["numbers"]["gap_per_doubling"]
    expected = scipy.stats.linregress(np.arange(6), gaps)
    reach = expected.stderr * scipy.stats.t.ppf(0.975, 4)
    assert trend["value"] == pytest.approx(expected.slope)
    np.testing.assert_allclose(
        [trend["low"], trend["high"]], [expected.slope - reach, expected.slope + reach], atol=0.05 * reach
    )


def test_seeds_are_averaged_and_sizes_that_differ_by_local_networks_are_pairs():
    gaps = np.linspace(0.1, 0.6, 6)
    runs = family("base", np.full(6, 3.0)) + family("lst", 3 - gaps - 0.01, 1.13 * N)
    runs += [dataclasses.replace(p, run=f"{p.run}-again") for p in family("lst", 3 - gaps + 0.01, 1.13 * N)]
    trend = fit_gap(runs, "loss_speech", "lst", "base", repeats=100)
    np.testing.assert_allclose(trend.gaps, gaps)
    assert trend.line[1] == pytest.approx(0.1)


def test_pairs_that_are_too_few_or_too_far_apart_are_refused():
    with pytest.raises(Refused, match="3 sizes have loss_speech of both lst and base within 25% of N; give 4 or more"):
        fit_gap(family("base", np.full(6, 3.0)) + family("lst", np.full(3, 2.9), N[:3]), "loss_speech", "lst", "base")
    with pytest.raises(Refused, match="0 sizes have loss_speech"):
        fit_gap(
            family("base", np.full(3, 3.0), N[::2]) + family("lst", np.full(3, 2.9), 1.4 * N[::2]),
            "loss_speech",
            "lst",
            "base",
        )


def test_a_gap_across_budgets_is_refused():
    n, d = synthetic.iso_flop(np.geomspace(6e18, 3e21, 5), 4, 4)
    runs = [p for system in ("base", "lst") for p in synthetic.points(n, d, 3 + 0 * n, system, "loss_speech")]
    with pytest.raises(Refused, match="N and D of lst do not move together, and a gap depends on both; give a family"):
        fit_gap(runs, "loss_speech", "lst", "base")
