"""`lst bench coverage`: how often the 95% intervals of `lst fit` hold the truth, over made-up studies of known laws.

Each study makes runs anew with their own noise, fits them as `lst fit` does, and asks of every number that it prints
whether its interval holds the true one. A bootstrap that is right covers 95%; how wide the intervals are says what
these designs are worth.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from lst_jax.bench import synthetic_runs as synthetic
from lst_jax.bench.synthetic_runs import HOFFMANN
from lst_jax.laws.fit import LINE, PLANE, LawFit, fit_law
from lst_jax.laws.gap import fit_gap
from lst_jax.laws.isoflop import fit_valleys
from lst_jax.laws.multiplier import fit_multiplier
from lst_jax.laws.points import Point, Refused
from lst_jax.report import results_file

PACKAGES = ("numpy", "scipy")
DRAWS = 400  # bootstrap repeats of a fit
BUDGETS = np.geomspace(6e18, 3e21, 5)  # FLOPs
LARGEST = BUDGETS[-1]
BEST_N = synthetic.best_n(LARGEST, **HOFFMANN)
SIZES = np.geomspace(1e5, 3.2e6, 6)  # doublings of N along a family with D = 20·N
Numbers = dict[str, dict[str, float]]
Study = Callable[[int, int], tuple[Numbers, dict[str, float]]]  # (seed, draws) → intervals and truth of each number


def plane_study(seed: int, draws: int) -> tuple[Numbers, dict[str, float]]:
    """L(N, D) of 25 runs, five sizes from 1/8 to 8 times the best one at five budgets, 0.3% of noise.

    The prediction is at three times the largest N and D.
    """
    n, d = synthetic.iso_flop(BUDGETS, 5, 8)
    values = synthetic.noisy(synthetic.loss(n, d, **HOFFMANN), 0.003, np.random.default_rng([1, seed]))
    fit = fit_law(synthetic.points(n, d, values), "loss_text", PLANE, draws, seed)
    far = 3 * n.max(), 3 * d.max()
    numbers = fit.numbers() | {"prediction": fit.predict(*far)}
    return numbers, HOFFMANN | {
        "n_opt_exponent": 0.28 / 0.62,
        "d_opt_exponent": 0.34 / 0.62,
        "n_opt": BEST_N,
        "d_opt": LARGEST / 6 / BEST_N,
        "loss_opt": synthetic.loss(BEST_N, LARGEST / 6 / BEST_N, **HOFFMANN),
        "prediction": synthetic.loss(*far, **HOFFMANN),
    }


def joint_study(seed: int, draws: int) -> tuple[Numbers, dict[str, float]]:
    """One L(N, D) for two systems of 20 runs each, five sizes at four budgets, 0.3% of noise."""
    n, d = synthetic.iso_flop(BUDGETS[:4], 5, 6)
    rng = np.random.default_rng([2, seed])
    runs = [
        p
        for system, (m, k) in {"base": (1, 1), "lst": (1.4, 1.1)}.items()
        for p in synthetic.points(n, d, synthetic.noisy(synthetic.loss(m * n, k * d, **HOFFMANN), 0.003, rng), system)
    ]
    return fit_law(runs, "loss_text", PLANE, draws, seed).numbers(), HOFFMANN | {
        "parameters_multiplier/lst": 1.4,
        "tokens_multiplier/lst": 1.1,
    }


LINE_TRUTH = {"E": 1.5, "K": 400.0, "gamma": 0.17}
STEEPER = {"E": 1.4, "K": 320.0, "gamma": 0.16}


def line_study(seed: int, draws: int) -> tuple[Numbers, dict[str, float]]:
    """L(C) of six runs of a compute-optimal family, 0.5% of noise; the prediction is at 1.6 times the largest N."""
    fit = _line(LINE_TRUTH, "base", SIZES, 0.005, np.random.default_rng([3, seed]), draws, seed)
    far = 1.6 * SIZES[-1]
    return fit.numbers() | {"prediction": fit.predict(far, 20 * far)}, LINE_TRUTH | {
        "prediction": _on_line(120 * far**2, **LINE_TRUTH)
    }


def valley_study(seed: int, draws: int) -> tuple[Numbers, dict[str, float]]:
    """Valleys of 35 runs, seven sizes from a quarter to four times the best one at five budgets, 0.3% of noise."""
    n, d = synthetic.iso_flop(BUDGETS, 7, 4)
    values = synthetic.noisy(synthetic.loss(n, d, **HOFFMANN), 0.003, np.random.default_rng([4, seed]))
    fit = fit_valleys(synthetic.points(n, d, values), "loss_text", draws, seed)
    budgets = {
        f"{name} at budget {i}": budget[name]
        for i, budget in enumerate(fit.describe()["budgets"], 1)
        for name in ("n_opt", "loss_opt")
    }
    best = [synthetic.best_n(c, **HOFFMANN) for c in BUDGETS]
    return fit.numbers() | budgets, {
        "n_opt_exponent": 0.28 / 0.62,
        "d_opt_exponent": 0.34 / 0.62,
        "n_opt": BEST_N,
        "d_opt": LARGEST / 6 / BEST_N,
        **{f"n_opt at budget {i}": n for i, n in enumerate(best, 1)},
        **{
            f"loss_opt at budget {i}": synthetic.loss(n, BUDGETS[i - 1] / 6 / n, **HOFFMANN)
            for i, n in enumerate(best, 1)
        },
    }


def gap_study(seed: int, draws: int) -> tuple[Numbers, dict[str, float]]:
    """The gap of two families of six sizes, 0.5% of noise in each loss; it grows by 0.02 with each doubling."""
    rng = np.random.default_rng([5, seed])
    base = np.linspace(3.6, 2.9, len(SIZES))
    gaps = 0.05 + 0.02 * np.arange(len(SIZES))
    runs = [
        p
        for system, losses in {"base": base, "lst": base - gaps}.items()
        for p in _family(losses, system, SIZES, 0.005, rng)
    ]
    return (
        fit_gap(runs, "loss_text", "lst", "base", draws, seed).describe()["numbers"],
        {"gap_per_doubling": 0.02, "gap_at_largest": gaps[-1]},
    )


def accuracy_study(seed: int, draws: int) -> tuple[Numbers, dict[str, float]]:
    """The gap of accuracies on 2,000 items at two sizes, three doublings apart; it grows by 0.01 with each."""
    rng = np.random.default_rng([6, seed])
    n, items = SIZES[[0, 3]], 2000
    truth = {"base": np.array([0.29, 0.36]), "lst": np.array([0.30, 0.40])}
    runs = [
        p
        for system, right in truth.items()
        for p in synthetic.points(n, 20 * n, rng.binomial(items, right) / items, system, "accuracy_speech", items=items)
    ]
    return (
        fit_gap(runs, "accuracy_speech", "lst", "base", draws, seed).describe()["numbers"],
        {"gap_per_doubling": 0.01, "gap_at_largest": 0.04},
    )


def line_multiplier_study(seed: int, draws: int) -> tuple[Numbers, dict[str, float]]:
    """The multiplier of two families of six runs each, with floors and slopes of their own, 0.5% of noise."""
    rng = np.random.default_rng([7, seed])
    base, ours = (
        _line(law, system, SIZES, 0.005, rng, draws, seed) for system, law in (("base", LINE_TRUTH), ("lst", STEEPER))
    )
    fit = fit_multiplier(ours, base, seed)
    return fit.numbers(), _true_multiplier(fit.log_loss, LINE_TRUTH, STEEPER)


def plane_multiplier_study(seed: int, draws: int) -> tuple[Numbers, dict[str, float]]:
    """The multiplier at best N and D of two systems of 25 runs each, with laws of their own, 0.3% of noise."""
    rng = np.random.default_rng([8, seed])
    laws = {"base": HOFFMANN, "lst": HOFFMANN | {"E": 1.66, "A": 380.0, "B": 400.0}}
    fits, frontiers = {}, {}
    for system, law in laws.items():
        n, d = synthetic.iso_flop(BUDGETS, 5, 8, law)
        runs = synthetic.points(n, d, synthetic.noisy(synthetic.loss(n, d, **law), 0.003, rng), system)
        fits[system] = fit_law(runs, "loss_text", PLANE, draws, seed)
        best = synthetic.best_n(LARGEST, **law)
        gamma = law["alpha"] * law["beta"] / (law["alpha"] + law["beta"])
        above = synthetic.loss(best, LARGEST / 6 / best, **law) - law["E"]
        frontiers[system] = {"E": law["E"], "K": above * LARGEST**gamma, "gamma": gamma}
    fit = fit_multiplier(fits["lst"], fits["base"], seed)
    return fit.numbers(), _true_multiplier(fit.log_loss, frontiers["base"], frontiers["lst"])


STUDIES: dict[str, Study] = {
    "L(N, D)": plane_study,
    "L(N, D), joint": joint_study,
    "L(C)": line_study,
    "iso-FLOP valleys": valley_study,
    "gap of losses": gap_study,
    "gap of accuracies": accuracy_study,
    "multiplier along lines": line_multiplier_study,
    "multiplier at best N and D": plane_multiplier_study,
}


def measure(studies: dict[str, Study], repeats: int, draws: int = DRAWS, progress: bool = False) -> dict[str, Any]:
    """Coverage of every number of the studies, each made `repeats` times, and the median width of its interval.

    A repeat whose fit is refused has no interval: it is counted, and left out of the shares.
    """
    measured = {}
    with tqdm(total=repeats * len(studies), desc="studies", disable=not progress) as bar:
        for name, study in studies.items():
            found, refused = [], 0
            for seed in range(repeats):
                try:
                    found.append(study(seed, draws))
                except Refused:
                    refused += 1
                bar.update()
            measured[name] = {"design": study.__doc__.split("\n\n")[0], "refused": refused, "numbers": _shares(found)}
    return {"repeats": repeats, "draws": draws, "studies": measured}


def _shares(found: list[tuple[Numbers, dict[str, float]]]) -> dict[str, dict[str, float]]:
    assert all(set(numbers) == set(truth) for numbers, truth in found), "every number has a truth"
    return {
        name: {
            "coverage": float(
                np.mean([numbers[name]["low"] <= truth[name] <= numbers[name]["high"] for numbers, truth in found])
            ),
            "median_width": float(
                np.median(
                    [(numbers[name]["high"] - numbers[name]["low"]) / abs(truth[name]) for numbers, truth in found]
                )
            ),
        }
        for name in (found[0][1] if found else ())
    }


def markdown(measured: dict[str, Any]) -> str:
    """The body of the section in docs/results.md."""
    repeats = measured["repeats"]
    chance = 100 * np.sqrt(0.95 * 0.05 / repeats)
    parts = [
        f"Share of {repeats} made-up studies in which the 95% interval holds the truth, {measured['draws']} "
        f"bootstrap repeats each. At a true coverage of 95% a share has a standard deviation of {chance:.1f} "
        "points. The width is the interval's, over the true value."
    ]
    for name, study in measured["studies"].items():
        refused = f" {study['refused']} of {repeats} were refused, and do not count." if study["refused"] else ""
        rows = [
            [f"`{number}`", f"{of['coverage']:.1%}", f"{of['median_width']:.2%}"]
            for number, of in study["numbers"].items()
        ]
        parts += [
            f"### {name}",
            study["design"] + refused,
            results_file.table(["number", "coverage", "median width"], rows),
        ]
    return "\n\n".join(parts)


def _on_line(c: float | np.ndarray, E: float, K: float, gamma: float) -> float | np.ndarray:
    return E + K * c**-gamma


def _family(losses: np.ndarray, system: str, n: np.ndarray, scatter: float, rng: np.random.Generator) -> list[Point]:
    return synthetic.points(n, 20 * n, synthetic.noisy(losses, scatter, rng), system)


def _line(
    law: dict[str, float], system: str, n: np.ndarray, scatter: float, rng: np.random.Generator, draws: int, seed: int
) -> LawFit:
    return fit_law(_family(_on_line(120 * n**2, **law), system, n, scatter, rng), "loss_text", LINE, draws, seed)


def _true_multiplier(log_loss: np.ndarray, reference: dict[str, float], ours: dict[str, float]) -> dict[str, float]:
    """At both ends of the losses: C = (K / (L − E))^(1 / γ) of one law over that of the other."""
    losses = np.exp(log_loss[[0, -1]])
    first, last = (reference["K"] / (losses - reference["E"])) ** (1 / reference["gamma"]) / (
        ours["K"] / (losses - ours["E"])
    ) ** (1 / ours["gamma"])
    return {
        "multiplier_at_highest_loss": float(first),
        "multiplier_at_lowest_loss": float(last),
        "multiplier_growth": float(last / first),
    }
