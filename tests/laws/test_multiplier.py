"""The compute multiplier: against laws turned round by bisection, within the runs of both systems, and refusals."""

import dataclasses

import numpy as np
import pytest
import scipy.optimize

from lst_jax.bench import synthetic_runs as synthetic
from lst_jax.bench.synthetic_runs import HOFFMANN
from lst_jax.laws.fit import LINE, PLANE, fit_law
from lst_jax.laws.multiplier import fit_multiplier
from lst_jax.laws.points import Refused
from lst_jax.laws.study import study

N = np.geomspace(1e5, 3e6, 8)
BUDGETS = np.geomspace(6e18, 3e21, 5)
REPEATS = 200


def base_loss(c):
    return 1.5 + 400 * c**-0.17


def lst_loss(c):
    """A lower floor and a steeper slope: a lead that grows."""
    return 1.45 + 465 * c**-0.176


def family(law, system, n=N, scatter=1e-4, seed=0, measure="loss_speech"):
    """Runs with D = 20·N, so that C = 120·N²."""
    values = synthetic.noisy(law(120 * n**2), scatter, np.random.default_rng(seed))
    return synthetic.points(n, 20 * n, values, system, measure)


def line(*args, repeats=REPEATS, **options):
    return fit_law(family(*args, **options), "loss_speech", LINE, repeats)


def iso_flop(law, system, shift=1.0, budgets=BUDGETS):
    """Iso-FLOP runs about `shift` times the best N."""
    n, d = synthetic.iso_flop(budgets, 5, 4, law)
    n, d = shift * n, d / shift
    values = synthetic.noisy(synthetic.loss(n, d, **law), 1e-4, np.random.default_rng(1))
    return fit_law(synthetic.points(n, d, values, system), "loss_text", PLANE, REPEATS)


def compute_of(law, value):
    """C at which a falling function of C has this value."""
    return np.exp(scipy.optimize.brentq(lambda log_c: law(np.exp(log_c)) - value, 0, 150))


def least_loss(law):
    def at(c):
        n = np.geomspace(1e7, 1e12, 20_001)
        return synthetic.loss(n, c / 6 / n, **law).min()

    return at


def test_along_a_line_it_is_the_ratio_of_what_both_laws_need():
    fit = fit_multiplier(line(lst_loss, "lst"), line(base_loss, "base", seed=1))
    expected = [compute_of(base_loss, v) / compute_of(lst_loss, v) for v in np.exp(fit.log_loss)]
    np.testing.assert_allclose(np.exp(fit.log_ratio), expected, rtol=0.01)
    assert expected[-1] / expected[0] > 1.1 and fit.grows() is True
    numbers = fit.numbers()
    assert numbers["multiplier_growth"]["value"] == pytest.approx(expected[-1] / expected[0], rel=0.01)
    assert numbers["multiplier_at_highest_loss"]["value"] == pytest.approx(expected[0], rel=0.01)


def test_over_n_and_d_it_is_that_of_the_best_n_and_d():
    ours = HOFFMANN | {"E": 1.66, "A": 380.0, "alpha": 0.35}
    fit = fit_multiplier(iso_flop(ours, "lst"), iso_flop(HOFFMANN, "base"))
    for at in (0, 16, 32):
        value = np.exp(fit.log_loss[at])
        expected = compute_of(least_loss(HOFFMANN), value) / compute_of(least_loss(ours), value)
        assert np.exp(fit.log_ratio[at]) == pytest.approx(expected, rel=0.01)


def test_a_system_over_its_like_is_at_1_and_as_uncertain_as_two_laws():
    """The same losses and the same random numbers: taken pair by pair, the repeats would cancel."""
    ours, reference = (line(base_loss, system, scatter=0.003, repeats=2000) for system in ("lst", "base"))
    fit = fit_multiplier(ours, reference)
    np.testing.assert_allclose(fit.log_ratio, 0, atol=1e-9)
    single = ours.log_compute(ours.draws, fit.log_loss)
    np.testing.assert_allclose(fit.draws.std(0), np.sqrt(2) * single.std(0), rtol=0.1)
    assert fit.grows() is None


def test_it_is_read_only_where_both_families_have_runs():
    ours, reference = line(lst_loss, "lst", N[3:]), line(base_loss, "base", N[:6])
    fit = fit_multiplier(ours, reference)
    for law in (ours, reference):
        log_c = law.log_compute(law.theta[None], fit.log_loss)[0]
        flops = [p.flops for p in law.points]
        assert min(flops) * 0.999 < np.exp(log_c.min()) and np.exp(log_c.max()) < max(flops) * 1.001
    # the reference's largest run came to the lowest loss, the system's smallest one to the highest
    assert np.exp(fit.log_loss[-1]) == pytest.approx(base_loss(120 * N[5] ** 2), rel=1e-3)
    assert np.exp(fit.log_loss[0]) == pytest.approx(lst_loss(120 * N[3] ** 2), rel=1e-3)


def test_best_n_and_d_beyond_all_runs_are_not_used():
    """Sizes too large for their budgets by far: smaller budgets' N* and larger budgets' D* are those of no run."""
    fit = iso_flop(HOFFMANN, "base", shift=10.0)
    low, high = np.exp(fit.span())
    assert synthetic.best_n(low, **HOFFMANN) == pytest.approx(min(p.parameters for p in fit.points), rel=0.02)
    best_d = high / 6 / synthetic.best_n(high, **HOFFMANN)
    assert best_d == pytest.approx(max(p.tokens for p in fit.points), rel=0.02)
    assert BUDGETS[0] < low < high < BUDGETS[-1]


def test_families_without_a_common_loss_are_refused():
    with pytest.raises(
        Refused,
        match="no loss is common to both families: lst .* to .*, base .* to .*; add larger "
        "runs of base, or smaller ones of the other",
    ):
        fit_multiplier(line(lst_loss, "lst", 30 * N), line(base_loss, "base", N))
    with pytest.raises(Refused, match="add larger runs of lst"):
        fit_multiplier(line(lst_loss, "lst", N), line(base_loss, "base", 100 * N))


def test_laws_of_different_variables_are_refused():
    reference = dataclasses.replace(iso_flop(HOFFMANN, "base"), measure="loss_speech")
    with pytest.raises(Refused, match="lst has a law of C and base one of N, D; give both the same kind of family"):
        fit_multiplier(line(lst_loss, "lst"), reference)


@pytest.mark.parametrize("lacking", ["lst", "base"])
def test_repeats_whose_floor_is_above_a_loss_are_counted_and_refused_where_they_are_many(lacking):
    laws = [line(law, system, scatter=0.002) for law, system in ((lst_loss, "lst"), (base_loss, "base"))]
    number = ["lst", "base"].index(lacking)
    for lost, refused in ((2, False), (20, True)):
        draws = laws[number].draws.copy()
        draws[:lost, 0] = np.log(3.0)
        changed = [*laws]
        changed[number] = dataclasses.replace(laws[number], draws=draws)
        if refused:
            with pytest.raises(
                Refused,
                match=f"in 10.0% of the bootstrap repeats no compute brings {lacking} to a "
                "loss of .*; add runs, sizes further apart, or less noise",
            ):
                fit_multiplier(*changed)
        else:
            numbers, without = fit_multiplier(*changed).numbers(), fit_multiplier(*laws).numbers()
            worse = ("low", "high")[number]  # what the reference lacks is to the system's credit
            for name in ("multiplier_at_highest_loss", "multiplier_at_lowest_loss"):
                assert np.isfinite(list(numbers[name].values())).all()
                assert (numbers[name][worse] - without[name][worse]) * (2 * number - 1) >= 0


def test_a_study_has_joint_laws_and_multipliers_of_both_losses_and_says_why_not():
    points = family(lst_loss, "lst") + family(base_loss, "base", seed=1)
    points += family(base_loss, "short", N[:3])
    entries = {(e.kind, e.systems): e for e in study(points, ("text", "speech"), 100)}
    assert entries["multiplier", ("lst", "base")].fit.grows() is True
    assert entries["multiplier", ("short", "base")].refused.startswith("short has no law: short has loss_speech at 3 ")
    assert ("multiplier", ("base", "base")) not in entries
    few = [p for p in points if p.system != "short"]
    joint = next(e for e in study(few, ("speech",), 100) if e.kind == "joint")
    assert joint.fit.measure == "loss_speech" and "compute_multiplier/lst" in joint.fit.numbers()
