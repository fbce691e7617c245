"""Valleys: their lowest points and power laws, and the ones that are refused."""

import numpy as np
import pytest

from lst_jax.bench import synthetic_runs as synthetic
from lst_jax.bench.synthetic_runs import HOFFMANN
from lst_jax.laws.isoflop import fit_valleys
from lst_jax.laws.points import Refused

BUDGETS = np.geomspace(6e18, 3e21, 5)
N, D = synthetic.iso_flop(BUDGETS, 7, 4)
LOSS = synthetic.loss(N, D, **HOFFMANN)
REPEATS = 200


def valleys(n=N, d=D, loss=LOSS, scatter=1e-4, flops=None):
    values = synthetic.noisy(loss, scatter, np.random.default_rng(0))
    return fit_valleys(synthetic.points(n, d, values, flops=flops), "loss_text", REPEATS)


def refusals(fit):
    return [valley.refused for valley in fit.valleys]


def test_lowest_points_and_power_laws_are_those_of_the_law():
    fit = valleys()
    for valley, budget in zip(fit.valleys, BUDGETS, strict=True):
        best = synthetic.best_n(budget, **HOFFMANN)
        np.testing.assert_allclose(
            np.exp(valley.lowest),
            [best, budget / 6 / best, synthetic.loss(best, budget / 6 / best, **HOFFMANN)],
            rtol=0.01,
        )
    numbers = fit.numbers()
    assert numbers["n_opt_exponent"]["value"] == pytest.approx(0.28 / 0.62, abs=0.003)
    assert numbers["d_opt_exponent"]["value"] == pytest.approx(0.34 / 0.62, abs=0.003)
    assert numbers["n_opt"]["value"] == pytest.approx(synthetic.best_n(3e21, **HOFFMANN), rel=0.01)


def test_the_lowest_point_lies_between_measured_sizes_also_where_valleys_are_lopsided():
    """Five sizes a budget, the best one off their middle, and exponents far apart."""
    law = HOFFMANN | {"alpha": 0.5, "beta": 0.25, "A": 20_000.0}
    n, d = synthetic.iso_flop(BUDGETS, 5, 5, law)
    n, d = n * 1.3, d / 1.3
    fit = valleys(n, d, synthetic.loss(n, d, **law), 1e-5)
    for i, (valley, budget) in enumerate(zip(fit.valleys, BUDGETS, strict=True)):
        best = synthetic.best_n(budget, **law)
        assert np.abs(np.log(n[5 * i : 5 * i + 5] / best)).min() > 0.2  # no run is at it
        assert np.exp(valley.lowest[0]) == pytest.approx(best, rel=0.03)


def test_budgets_that_are_met_within_a_few_percent_are_corrected_to_one():
    """Larger models spend up to 2% more: read as a slope in N, that would move every lowest point."""
    more = np.tile(np.linspace(-0.02, 0.02, 7), len(BUDGETS))
    d = D * (1 + more)
    fit = valleys(N, d, synthetic.loss(N, d, **HOFFMANN))
    uncorrected = np.polyfit(np.log(N[:7]), np.log(synthetic.loss(N[:7], d[:7], **HOFFMANN)), 2)
    best = np.log(synthetic.best_n(BUDGETS[0], **HOFFMANN))
    assert abs(fit.valleys[0].lowest[0] - best) < 0.01
    assert abs(-uncorrected[1] / uncorrected[0] / 2 - best) > 0.03


def test_a_concave_parabola_is_refused_and_the_others_are_used():
    bent = LOSS.copy()
    bent[:7] = 4 - 0.01 * np.linspace(-1, 1, 7) ** 2
    fit = valleys(loss=bent)
    assert refusals(fit)[0].startswith("the parabola is concave, so there is no best N; add sizes further apart")
    assert refusals(fit)[1:] == [None] * 4 and len(fit.points) == 28


def test_a_valley_that_noise_may_have_dug_is_refused():
    flat = LOSS.copy()
    flat[:7] = 3.0 + 3e-4 * np.linspace(-1, 1, 7) ** 2
    fit = valleys(loss=flat, scatter=5e-4)
    assert "concave in" in refusals(fit)[0] and "% of the bootstrap repeats" in refusals(fit)[0]


@pytest.mark.parametrize("shift, side, more", [(5.0, "smallest", "smaller"), (0.2, "largest", "larger")])
def test_a_best_size_at_the_edge_is_refused(shift, side, more):
    factor = np.where(np.arange(len(N)) < 7, shift, 1)
    n, d = N * factor, D / factor
    fit = valleys(n, d, synthetic.loss(n, d, **HOFFMANN))
    assert refusals(fit)[0] == f"the best N is at the edge, nearest to the {side} size; add {more} ones"
    assert len(fit.used) == 4


def test_budgets_with_too_few_sizes_are_refused():
    keep = np.r_[0:3, 7:35]
    fit = valleys(N[keep], D[keep], LOSS[keep])
    assert refusals(fit)[0] == "3 sizes of N; give 4 or more"


def test_runs_between_budgets_do_not_join_them():
    """Runs 4% apart from 20% below the first budget to 20% above the second would chain both to one."""
    between = np.exp(np.arange(np.log(0.8 * BUDGETS[0]), np.log(1.2 * BUDGETS[1]), 0.04))
    n, d = np.concatenate([N, np.full(len(between), 1e8)]), np.concatenate([D, between / 6e8])
    fit = valleys(n, d, synthetic.loss(n, d, **HOFFMANN))
    np.testing.assert_allclose(np.exp([v.log_c for v in fit.used]), BUDGETS, rtol=0.02)
    for valley, budget in zip(fit.used, BUDGETS, strict=True):
        assert np.exp(valley.lowest[0]) == pytest.approx(synthetic.best_n(budget, **HOFFMANN), rel=0.02)
    refused = [v for v in fit.valleys if v.refused]
    assert {v.refused for v in refused} == {"1 sizes of N; give 4 or more"} and sum(len(v.points) for v in refused) > 30


def test_a_wider_tolerance_takes_runs_that_a_budget_s_middle_is_farther_from():
    rng = np.random.default_rng(1)
    c = 6 * N * D * np.exp(rng.uniform(-0.15, 0.15, len(N)))
    points = synthetic.points(N, c / 6 / N, synthetic.loss(N, c / 6 / N, **HOFFMANN))
    narrow, wide = (fit_valleys(points, "loss_text", REPEATS, tolerance=t) for t in (0.10, 0.16))
    assert len(narrow.points) < len(wide.points) == len(N) and len(wide.used) == 5
    assert wide.numbers()["n_opt_exponent"]["value"] == pytest.approx(0.28 / 0.62, abs=0.02)


def test_compute_optimal_runs_are_the_law_s_between_and_beyond_the_budgets():
    fit = valleys()
    for budget in (1e20, 1e22):
        best = fit.best_at(budget)
        assert best["n_opt"]["value"] == pytest.approx(synthetic.best_n(budget, **HOFFMANN), rel=0.02)
        ratio = best["d_opt"]["value"] / best["n_opt"]["value"]
        assert best["tokens_per_parameter"]["value"] == pytest.approx(ratio)
        assert best["tokens_per_parameter"]["low"] < ratio < best["tokens_per_parameter"]["high"]


def test_a_power_law_through_two_lowest_points_is_refused():
    with pytest.raises(Refused, match="2 budgets have a lowest point, and a power law needs 3"):
        valleys(N[:14], D[:14], LOSS[:14])


def test_runs_without_a_common_budget_are_refused():
    n = np.geomspace(1e8, 1e10, 8)
    with pytest.raises(Refused, match="no budget has 4 sizes of N at FLOPs within 5%; give iso-FLOP runs"):
        valleys(n, 20 * n, synthetic.loss(n, 20 * n, **HOFFMANN))
