"""Laws of loss: the constants come back, the minimum is the global one, and what runs cannot carry is refused."""

import itertools

import numpy as np
import pytest
import scipy.optimize

from lst_jax.bench import synthetic_runs as synthetic
from lst_jax.bench.synthetic_runs import HOFFMANN
from lst_jax.core.errors import ConfigError
from lst_jax.laws import fit as fits
from lst_jax.laws.fit import LINE, PLANE, check_near, fit_law
from lst_jax.laws.points import Refused

BUDGETS = np.geomspace(6e18, 3e21, 5)
N, D = synthetic.iso_flop(BUDGETS, 5, 8)
LOSS = synthetic.loss(N, D, **HOFFMANN)
REPEATS = 100


def fitted(scatter=0.001, seed=0, repeats=REPEATS, n=N, d=D, loss=LOSS):
    values = synthetic.noisy(loss, scatter, np.random.default_rng(seed))
    return fit_law(synthetic.points(n, d, values), "loss_text", PLANE, repeats, seed)


def test_hoffmann_s_constants_come_back_from_runs_with_little_noise():
    numbers = fitted(scatter=1e-4).numbers()
    for name, tolerance in (("E", 0.002), ("A", 0.03), ("B", 0.03), ("alpha", 0.005), ("beta", 0.005)):
        assert numbers[name]["value"] == pytest.approx(HOFFMANN[name], rel=tolerance), name
    assert numbers["n_opt"]["value"] == pytest.approx(synthetic.best_n(3e21, **HOFFMANN), rel=0.005)
    assert numbers["n_opt_exponent"]["value"] == pytest.approx(0.28 / 0.62, rel=0.003)
    assert numbers["d_opt_exponent"]["value"] == pytest.approx(0.34 / 0.62, rel=0.003)


def test_the_minimum_is_the_one_that_scipy_finds_from_hoffmann_s_grid_of_starts():
    """Their objective and starts (approach 3), written out anew, on runs noisier than Huber's δ."""
    values = synthetic.noisy(LOSS, 0.005, np.random.default_rng(4))

    def objective(x):
        a, b, e, alpha, beta = x
        model = np.logaddexp(np.logaddexp(a - alpha * np.log(N), b - beta * np.log(D)), e)
        size = np.abs(model - np.log(values))
        return 1e6 * np.where(size < 1e-3, size**2 / 2, 1e-3 * (size - 5e-4)).sum()

    grid = np.array(
        list(
            itertools.product(
                range(0, 30, 5), range(0, 30, 5), (-1, -0.5, 0, 0.5, 1), (0, 0.5, 1, 1.5, 2), (0, 0.5, 1, 1.5, 2)
            )
        ),
        float,
    )
    starts = grid[np.argsort([objective(x) for x in grid])[:6]]
    best = min(
        (
            scipy.optimize.minimize(
                objective,
                x,
                method="Nelder-Mead",
                options={"maxiter": 4000, "maxfev": 4000, "xatol": 1e-7, "fatol": 1e-7},
            )
            for x in starts
        ),
        key=lambda found: found.fun,
    )
    fit = fit_law(synthetic.points(N, D, values), "loss_text", PLANE, REPEATS)
    ours = [np.log(fit.numbers()[k]["value"]) for k in "ABE"] + [fit.numbers()[k]["value"] for k in ("alpha", "beta")]
    assert objective(ours) <= best.fun * (1 + 1e-6)


def test_one_diverged_run_hardly_moves_the_law():
    values = LOSS * np.exp(1e-4 * np.sin(np.arange(len(LOSS))))
    values[7] *= 1.5
    fit = fit_law(synthetic.points(N, D, values), "loss_text", PLANE, REPEATS)
    assert fit.numbers()["alpha"]["value"] == pytest.approx(0.34, rel=0.01)
    assert fit.describe()["largest_residual"]["run"] == "base-7"


def test_the_best_size_of_a_budget_is_the_best_on_a_grid_whatever_flops_cost():
    """C = 9·N^0.9·D, as where embeddings and attention weigh."""
    fit = fit_law(synthetic.points(N, D, LOSS, flops=9 * N**0.9 * D), "loss_text", PLANE, REPEATS)
    numbers, budget = fit.numbers(), (9 * N**0.9 * D).max()
    grid = np.geomspace(1e8, 1e12, 200_001)
    losses = synthetic.loss(grid, budget / 9 / grid**0.9, **HOFFMANN)
    assert numbers["n_opt"]["value"] == pytest.approx(grid[losses.argmin()], rel=1e-3)
    assert numbers["d_opt"]["value"] == pytest.approx(budget / 9 / grid[losses.argmin()] ** 0.9, rel=1e-3)
    assert numbers["loss_opt"]["value"] == pytest.approx(losses.min(), rel=1e-5)


def test_two_systems_share_the_text_law_up_to_their_multipliers():
    """A system that makes 1.5 of each parameter and 0.8 of each token."""
    rng = np.random.default_rng(1)
    runs = synthetic.points(N, D, synthetic.noisy(LOSS, 3e-4, rng)) + synthetic.points(
        N, D, synthetic.noisy(synthetic.loss(1.5 * N, 0.8 * D, **HOFFMANN), 3e-4, rng), "lst"
    )
    numbers = fit_law(runs, "loss_text", PLANE, REPEATS).numbers()
    assert numbers["parameters_multiplier/lst"]["value"] == pytest.approx(1.5, rel=0.02)
    assert numbers["tokens_multiplier/lst"]["value"] == pytest.approx(0.8, rel=0.02)
    assert numbers["E"]["value"] == pytest.approx(1.69, rel=0.005)
    assert "n_opt" not in numbers


def test_the_compute_multiplier_is_how_much_more_compute_the_first_system_needs():
    n = np.geomspace(1e5, 3e6, 6)
    rng = np.random.default_rng(2)

    def family(system, multiplier):
        c = 6 * n * 20 * n
        return synthetic.points(n, 20 * n, synthetic.noisy(1.5 + 400 * (multiplier * c) ** -0.17, 3e-4, rng), system)

    numbers = fit_law(family("base", 1) + family("lst", 1.3), "loss_text", LINE, REPEATS).numbers()
    assert numbers["compute_multiplier/lst"]["value"] == pytest.approx(1.3, rel=0.01)
    assert numbers["gamma"]["value"] == pytest.approx(0.17, rel=0.02)


def test_a_family_along_one_line_is_refused_a_law_of_two_variables():
    n = np.geomspace(1e8, 1e10, 12)
    with pytest.raises(Refused, match="N and D of base move together, so .* cannot be told apart; add runs of other"):
        fit_law(synthetic.points(n, 20 * n, synthetic.loss(n, 20 * n, **HOFFMANN)), "loss_text")


def test_a_family_off_a_line_is_refused_a_law_of_compute():
    with pytest.raises(Refused, match="N and D of base do not move together, so its losses are no function of C alone"):
        fit_law(synthetic.points(N, D, LOSS), "loss_text", LINE)


@pytest.mark.parametrize(
    "n, d, message",
    [
        (
            np.full(8, 1e9),
            np.geomspace(1e9, 1e11, 8),
            "base has loss_text at 1 different N; give runs at 4 or more, param",
        ),
        (np.repeat([1e8, 1e9, 1e10], 4), np.tile([1e9, 1e10, 3e10, 1e11], 3), "base has loss_text at 3 different N"),
        (np.tile([1e8, 3e8, 1e9, 1e10], 3), np.repeat([1e9, 1e10, 1e11], 4), "base has loss_text at 3 different D"),
        (
            np.array([1, 2, 4, 8, 1, 2]) * 1e8,
            np.array([8, 2, 1, 4, 4, 8]) * 1e9,
            "6 runs for a law of 5 numbers; give at",
        ),
    ],
)
def test_too_few_runs_are_refused_with_what_is_missing(n, d, message):
    with pytest.raises(Refused, match=message):
        fit_law(synthetic.points(n, d, synthetic.loss(n, d, **HOFFMANN)), "loss_text")


def test_sizes_a_few_percent_apart_are_one():
    n = np.repeat([1e8, 1.03e8, 1e9, 1e10], 4)
    d = np.tile([1e9, 1e10, 3e10, 1e11], 4)
    with pytest.raises(Refused, match="at 3 different N"):
        fit_law(synthetic.points(n, d, synthetic.loss(n, d, **HOFFMANN)), "loss_text")


def test_sizes_and_tokens_that_lie_close_by_each_other_over_decades_are_many():
    rng = np.random.default_rng(0)
    n, d = (
        np.exp(np.linspace(*np.log([1e8, 1e10]), 150)),
        np.exp(rng.permutation(np.linspace(*np.log([1e9, 1e11]), 150))),
    )
    numbers = fitted(1e-3, n=n, d=d, loss=synthetic.loss(n, d, **HOFFMANN)).numbers()
    assert numbers["alpha"]["low"] < 0.34 < numbers["alpha"]["high"]
    assert numbers["n_opt_exponent"]["low"] < 0.28 / 0.62 < numbers["n_opt_exponent"]["high"]


def test_refits_in_parts_are_the_same(monkeypatch):
    whole = fitted().draws
    monkeypatch.setattr(fits, "AT_ONCE", 7 * len(N))
    np.testing.assert_allclose(fitted().draws, whole, rtol=1e-6)


def test_no_best_size_is_told_where_flops_do_not_follow_from_n_and_d():
    flops = 6 * N * D * np.where(np.arange(len(N)) == 3, 2, 1)
    law = fit_law(synthetic.points(N, D, LOSS, flops=flops), "loss_text", PLANE, REPEATS)
    with pytest.raises(Refused, match="C does not follow from N and D within 25%, least of all in base-3; correct or"):
        law.best_at(1e20)


def test_an_exponent_that_the_runs_do_not_bound_is_refused():
    """Losses without any trend in N."""
    values = synthetic.noisy(synthetic.loss(1e9, D, **HOFFMANN), 0.02, np.random.default_rng(0))
    with pytest.raises(Refused, match="alpha=.* is not bounded .*: .*% of the bootstrap repeats end at its limit; add"):
        fit_law(synthetic.points(N, D, values), "loss_text", PLANE, REPEATS)


@pytest.mark.parametrize(
    "n, d, message",
    [  # in units of the largest
        (4, 0.01, "N=.* is 4.0 times the largest of base .*, over 3 times; add --far"),
        (0.01, 3.1, "D=.* is 3.1 times the largest of base"),
        (2, 2, "C=.* times the largest of base"),
    ],
)
def test_predictions_beyond_three_times_the_largest_run_are_refused(n, d, message):
    with pytest.raises(ConfigError, match=message):
        check_near(synthetic.points(N, D, LOSS), n * N.max(), d * D.max())


def test_predictions_within_three_times_the_largest_run_are_the_law_s():
    at = 2.9 * N.max(), 2.9 * 3e21 / 6 / (2.9 * N.max())
    check_near(synthetic.points(N, D, LOSS), *at)
    predicted = fitted().predict(*at)
    assert predicted["low"] < synthetic.loss(*at, **HOFFMANN) < predicted["high"]
    assert predicted["value"] == pytest.approx(synthetic.loss(*at, **HOFFMANN), rel=0.005)


def test_a_law_of_compute_predicts_along_its_line_only():
    n = np.geomspace(1e5, 3e6, 6)
    fit = fit_law(synthetic.points(n, 20 * n, 1.5 + 400 * (120 * n**2) ** -0.17), "loss_text", LINE, REPEATS)
    assert fit.predict(5e6, 1e8)["value"] == pytest.approx(1.5 + 400 * (6 * 5e6 * 1e8) ** -0.17, rel=1e-4)
    with pytest.raises(Refused, match=r"holds where N and D move as in its runs; at N=5e\+06 that is D=1e\+08"):
        fit.predict(5e6, 2e8)
