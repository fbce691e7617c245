"""Intervals hold what they promise: over many made-up studies they contain the true number 95% of the time."""

from collections import Counter

import numpy as np
import pytest
import scipy.stats
import synthetic_runs as synthetic
from synthetic_runs import HOFFMANN

from lst_jax.scaling import bootstrap
from lst_jax.scaling.fit import LINE, PLANE, fit_law
from lst_jax.scaling.isoflop import fit_valleys

BUDGETS = np.geomspace(6e18, 3e21, 5)
LARGEST = BUDGETS[-1]
BEST_N = synthetic.best_n(LARGEST, **HOFFMANN)
BEST_D = LARGEST / 6 / BEST_N
LINE_TRUTH = {"E": 1.5, "K": 400.0, "gamma": 0.17}


def plane_study(seed, repeats):
    """25 runs with 0.3% of noise; L(N, D), its best N and D, and a prediction at three times the largest N and D."""
    n, d = synthetic.iso_flop(BUDGETS, 5, 8)
    values = synthetic.noisy(synthetic.loss(n, d, **HOFFMANN), 0.003, np.random.default_rng([1, seed]))
    fit = fit_law(synthetic.points(n, d, values), "loss_text", PLANE, repeats, seed)
    far = 3 * n.max(), 3 * d.max()
    numbers = fit.numbers() | {"prediction": fit.predict(*far)}
    return numbers, HOFFMANN | {
        "n_opt_exponent": 0.28 / 0.62, "d_opt_exponent": 0.34 / 0.62, "n_opt": BEST_N, "d_opt": BEST_D,
        "loss_opt": synthetic.loss(BEST_N, BEST_D, **HOFFMANN), "prediction": synthetic.loss(*far, **HOFFMANN)}


def joint_study(seed, repeats):
    """Two systems of 20 runs each."""
    n, d = synthetic.iso_flop(BUDGETS[:4], 5, 6)
    rng = np.random.default_rng([2, seed])
    runs = [p for system, (m, k) in {"base": (1, 1), "lst": (1.4, 1.1)}.items() for p in synthetic.points(
        n, d, synthetic.noisy(synthetic.loss(m * n, k * d, **HOFFMANN), 0.003, rng), system)]
    return fit_law(runs, "loss_text", PLANE, repeats, seed).numbers(), HOFFMANN | {
        "parameters_multiplier/lst": 1.4, "tokens_multiplier/lst": 1.1}


def line_study(seed, repeats):
    """Six runs of a compute-optimal family with 0.5% of noise."""
    n = np.geomspace(1e5, 3e6, 6)
    values = synthetic.noisy(1.5 + 400 * (120 * n**2)**-0.17, 0.005, np.random.default_rng([3, seed]))
    fit = fit_law(synthetic.points(n, 20 * n, values), "loss_text", LINE, repeats, seed)
    return fit.numbers() | {"prediction": fit.predict(5e6, 1e8)}, LINE_TRUTH | {
        "prediction": 1.5 + 400 * (6 * 5e6 * 1e8)**-0.17}


def valley_study(seed, repeats):
    """Seven sizes at each of five budgets, from a quarter to four times the best one."""
    n, d = synthetic.iso_flop(BUDGETS, 7, 4)
    values = synthetic.noisy(synthetic.loss(n, d, **HOFFMANN), 0.003, np.random.default_rng([4, seed]))
    fit = fit_valleys(synthetic.points(n, d, values), "loss_text", repeats, seed)
    budgets = {f"{name} at budget {i}": budget[name] for i, budget in enumerate(fit.describe()["budgets"])
               for name in ("n_opt", "loss_opt")}
    best = [synthetic.best_n(c, **HOFFMANN) for c in BUDGETS]
    return fit.numbers() | budgets, {
        "n_opt_exponent": 0.28 / 0.62, "d_opt_exponent": 0.34 / 0.62, "n_opt": BEST_N, "d_opt": BEST_D,
        **{f"n_opt at budget {i}": n for i, n in enumerate(best)},
        **{f"loss_opt at budget {i}": synthetic.loss(n, BUDGETS[i] / 6 / n, **HOFFMANN) for i, n in enumerate(best)}}


def covered(study, studies, repeats):
    """Share of studies in which each number's interval holds the truth."""
    hits = Counter()
    for seed in range(studies):
        numbers, truth = study(seed, repeats)
        assert set(numbers) == set(truth)
        hits.update(name for name, true in truth.items() if numbers[name]["low"] <= true <= numbers[name]["high"])
    return {name: hits[name] / studies for name in truth}


STUDIES = [plane_study, joint_study, line_study, valley_study]


@pytest.mark.parametrize("study, studies", [(plane_study, 10), (line_study, 14), (valley_study, 30)])
def test_intervals_cover_the_truth_in_a_few_studies(study, studies):
    """At a true coverage of 95%, fewer than 70% of 10 come once in a thousand."""
    shares = covered(study, studies, 150)
    assert min(shares.values()) >= 0.7, shares
    assert np.mean(list(shares.values())) >= 0.85, shares


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_intervals_cover_the_truth_in_90_to_99_of_100_studies(study):
    shares = covered(study, 200, 400)
    print("\n" + study.__name__ + ", coverage: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    assert all(0.90 <= share <= 0.99 for share in shares.values()), shares


def test_the_interval_of_a_mean_is_student_s_however_few_the_runs():
    values = np.array([0.1, 0.4, -0.2])
    simulated = bootstrap.simulate(np.full(3, values.mean()), values - values.mean(), 1, 400_000,
                                   np.random.default_rng(0))
    expected = scipy.stats.t.interval(0.95, 2, values.mean(), values.std(ddof=1) / np.sqrt(3))
    np.testing.assert_allclose(bootstrap.interval(simulated.mean(1)), expected, rtol=0.02)
