"""Iso-FLOP valleys: at each budget a parabola of log L in log N, its lowest point, and the power laws of these.

Hoffmann et al. 2022 (arXiv 2203.15556), approach 2. Runs belong to one budget where their FLOPs lie within 5% of its
middle, or another share; the budget with the most sizes is taken first. What is left of a difference is corrected by the
slope of the lowest losses in log C. All valleys are one linear model with one scatter, so that a budget with few sizes
profits from the others.

A valley of L(N, D) is no parabola where α ≠ β: it is steeper to one side, and a parabola's lowest point is off by a
factor that grows with the span of sizes, with Hoffmann's exponents 1.5% in N at 4 times either side, 3% at 8 times
(see arXiv 2603.22339), and intervals do not know of it. To leading order the valley's third power over its second is
(β − α)/3 at every budget, so the valleys have this skew as one more number in common.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg

from lst_jax.laws import bootstrap
from lst_jax.laws.points import SAME, Point, Refused, groups, logs, spaced

LEAST_SIZES = 4
LEAST_BUDGETS = 3
LEAST_FREEDOM = 2  # runs beyond the numbers of all parabolas


@dataclasses.dataclass(frozen=True)
class Valley:
    """A budget's runs and its parabola; `refused` says why its lowest point is not used."""

    log_c: float
    points: tuple[Point, ...]
    refused: str | None
    coefficients: np.ndarray | None = None  # of 1, x, x², x³ with x = log N − middle
    middle: float = 0.0
    lowest: np.ndarray | None = None  # log N*, log D*, log L*: [3], and of the repeats: [repeats, 3]
    draws: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class ValleyFit:
    """All budgets of a system, and N*(C), D*(C) = value at the largest used budget · (C / it)^exponent.

    L*(C) is no power law, as it has a floor.
    """

    valleys: tuple[Valley, ...]
    measure: str
    scatter: float
    power: np.ndarray  # [2, 2]: log value, exponent; of N*, D*
    draws: np.ndarray  # [repeats, 2, 2]

    @property
    def used(self) -> list[Valley]:
        """Those with a lowest point."""
        return [v for v in self.valleys if v.refused is None]

    @property
    def points(self) -> tuple[Point, ...]:
        """Runs of the used budgets."""
        return tuple(p for v in self.used for p in v.points)

    def numbers(self) -> dict[str, dict[str, float]]:
        """The power laws' numbers with their intervals."""
        numbers = {}
        for i, name in enumerate(("n_opt", "d_opt")):
            numbers[name] = _number(np.exp(self.power[0, i]), np.exp(self.draws[:, 0, i]))
            numbers[f"{name}_exponent"] = _number(self.power[1, i], self.draws[:, 1, i])
        return numbers

    def best_at(self, budget: float) -> dict[str, Any]:
        """N*, D* and tokens per parameter at C = `budget`, by the power laws; L* is none."""
        at = np.log(budget) - self.used[-1].log_c
        log_n, log_d = self.power[0] + self.power[1] * at
        draws_n, draws_d = (self.draws[:, 0] + self.draws[:, 1] * at).T
        return {
            "n_opt": _number(np.exp(log_n), np.exp(draws_n)),
            "d_opt": _number(np.exp(log_d), np.exp(draws_d)),
            "tokens_per_parameter": _number(np.exp(log_d - log_n), np.exp(draws_d - draws_n)),
        }

    def describe(self) -> dict[str, Any]:
        """What goes into fit.json."""
        budgets = []
        for valley in self.valleys:
            budget = {"flops": float(np.exp(valley.log_c)), "runs": [p.run for p in valley.points]}
            if valley.refused:
                budget["refused"] = valley.refused
            else:
                budget |= {
                    name: _number(np.exp(valley.lowest[i]), np.exp(valley.draws[:, i]))
                    for i, name in enumerate(("n_opt", "d_opt", "loss_opt"))
                }
            budgets.append(budget)
        return {
            "scatter": self.scatter,
            "largest_flops": float(np.exp(self.used[-1].log_c)),
            "budgets": budgets,
            "numbers": self.numbers(),
        }


def fit_valleys(
    points: Sequence[Point],
    measure: str,
    repeats: int = bootstrap.REPEATS,
    seed: int = 0,
    tolerance: float = SAME,
) -> ValleyFit:
    """Parabolas and power laws of one system's runs that have the measure. Raises: Refused.

    Args: tolerance: how far, as a share, FLOPs of runs of one budget may lie from its middle.
    """
    points = [p for p in points if measure in p.measures]
    log_c, log_n, log_loss = (logs(points, field) for field in ("flops", "parameters", measure))
    enough, others = _budgets(log_c, log_n, tolerance)
    budgets = sorted(enough + others, key=lambda b: log_c[b].mean())
    if not enough:
        raise Refused(
            f"no budget has {LEAST_SIZES} sizes of N at FLOPs within {tolerance:.0%}; give iso-FLOP runs, or a wider "
            "--budget-tolerance"
        )
    target = np.concatenate(_at_one_budget([log_c[b] for b in enough], [log_loss[b] for b in enough]))
    design, skew_weights = _design([log_n[b] for b in enough], target)
    runs, params = design.shape
    if runs - params < LEAST_FREEDOM:
        raise Refused(f"{runs} runs for {len(enough)} valleys of three numbers and a skew; give more sizes of N")
    solve = np.linalg.pinv(design)
    residuals = target - design @ (solve @ target)
    simulated = bootstrap.simulate(target - residuals, residuals, params, repeats, np.random.default_rng(seed))

    def coefficients(targets, j):
        own = targets @ solve[3 * j : 3 * j + 3].T
        return np.concatenate([own, skew_weights[j] * (targets @ solve[-1:].T)], axis=-1)

    valleys = []
    for b in budgets:
        members = tuple(points[i] for i in b)
        of = next((j for j, e in enumerate(enough) if e is b), None)
        if of is None:
            valleys.append(Valley(float(log_c[b].mean()), members, _too_few(log_n[b])))
        else:
            valleys.append(
                _valley(members, float(log_c[b].mean()), coefficients(target[None], of)[0], coefficients(simulated, of))
            )
    used = [v for v in valleys if v.refused is None]
    if len(used) < LEAST_BUDGETS:
        first = next((f"; at {np.exp(v.log_c):.3g} FLOPs: {v.refused}" for v in valleys if v.refused), "")
        raise Refused(f"{len(used)} budgets have a lowest point, and a power law needs {LEAST_BUDGETS}{first}")
    power, power_draws = _power_laws(used)
    return ValleyFit(tuple(valleys), measure, bootstrap.scatter(residuals, params), power, power_draws)


def _budgets(log_c: np.ndarray, log_n: np.ndarray, tolerance: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Indices of the runs of each budget with enough sizes, and the groups of neighbours that are left.

    Where budgets are not met exactly, runs in between chain neighbours to one. So a window as wide as a budget may be is
    laid where it holds the most sizes (of several such, the narrowest), and again over the runs that are left.
    """
    found = []
    left = np.argsort(log_c, kind="stable")
    while len(left):
        ends = np.searchsorted(log_c[left], log_c[left] + 2 * tolerance, side="right")
        longest = np.flatnonzero(np.diff(ends, prepend=0))  # others are parts of these
        best = max((left[i : ends[i]] for i in longest), key=lambda b: (len(spaced(log_n[b])), -np.ptp(log_c[b])))
        if len(spaced(log_n[best])) < LEAST_SIZES:
            break
        found.append(best)
        left = left[~np.isin(left, best)]
    return found, [left[members] for members in groups(log_c[left])] if len(left) else []


def _design(log_n: list[np.ndarray], target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Three columns a budget, and one of the common skew; the latter's weight at each budget, its curvature."""
    xs = [x - _middle(x) for x in log_n]
    parabolas = scipy.linalg.block_diag(*(np.vander(x, 3, increasing=True) for x in xs))
    curvatures = (np.linalg.pinv(parabolas) @ target)[2::3]
    weights = np.maximum(curvatures, 0)
    skew = np.concatenate([w * x**3 for w, x in zip(weights, xs, strict=True)])
    return np.column_stack([parabolas, skew]), weights


def _at_one_budget(log_c: list[np.ndarray], log_loss: list[np.ndarray]) -> list[np.ndarray]:
    """Losses as they would be at the mean log C of their budget.

    The slope comes from between budgets: inside one, what C differs by is mostly a function of N.
    """
    if len(log_c) == 1:
        return log_loss
    slope = np.polyfit([c.mean() for c in log_c], [loss.min() for loss in log_loss], 1)[0]
    return [loss - slope * (c - c.mean()) for c, loss in zip(log_c, log_loss, strict=True)]


def _middle(x: np.ndarray) -> float:
    return float((x.min() + x.max()) / 2)


def _valley(points: tuple[Point, ...], log_c: float, coefficients: np.ndarray, draws: np.ndarray) -> Valley:
    log_n, log_d = logs(points, "parameters"), logs(points, "tokens")
    middle = _middle(log_n)
    refused = _no_valley(log_n - middle, coefficients, draws)
    if refused:
        return Valley(log_c, points, refused, coefficients, middle)
    tokens = np.poly1d(np.polyfit(log_n, log_d, 1))

    def lowest(coefficients):
        x = _vertex(coefficients, log_n - middle)
        loss = (coefficients * np.vander(x, 4, increasing=True)).sum(-1)
        return np.stack([x + middle, tokens(x + middle), loss], axis=-1)

    return Valley(log_c, points, None, coefficients, middle, lowest(coefficients[None])[0], lowest(draws))


def _is_valley(coefficients: np.ndarray) -> np.ndarray:
    """Which of the cubics [repeats, 4] are convex in the middle and have a lowest point."""
    _, slope, curvature, skew = coefficients.T
    return (curvature > 0) & (curvature**2 >= 3 * skew * slope)


def _vertex(coefficients: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Lowest point [repeats] of cubics [repeats, 4], at most one span of the sizes beyond them.

    One that is no valley falls to the side that its slope points down to.
    """
    _, slope, curvature, skew = np.where(_is_valley(coefficients), coefficients.T, np.nan)
    at = -slope / (curvature + np.sqrt(curvature**2 - 3 * skew * slope))
    downhill = -np.sign(coefficients[:, 1]) * np.inf
    return np.clip(np.where(np.isnan(at), downhill, at), x.min() - np.ptp(x), x.max() + np.ptp(x))


def _too_few(log_n: np.ndarray) -> str:
    return f"{len(spaced(log_n))} sizes of N; give {LEAST_SIZES} or more"


def _no_valley(x: np.ndarray, coefficients: np.ndarray, draws: np.ndarray) -> str | None:
    if not _is_valley(coefficients[None])[0]:
        return "the parabola is concave, so there is no best N; add sizes further apart, or seeds"
    concave = 1 - _is_valley(draws).mean()
    if concave > (1 - bootstrap.LEVEL) / 2:
        return f"the parabola is concave in {concave:.0%} of the bootstrap repeats; add sizes further apart, or seeds"
    sizes = np.array([x[g].mean() for g in spaced(x)])
    nearest = int(np.argmin(np.abs(sizes - _vertex(coefficients[None], x)[0])))
    if nearest in (0, len(sizes) - 1):
        side, more = ("smallest", "smaller") if nearest == 0 else ("largest", "larger")
        return f"the best N is at the edge, nearest to the {side} size; add {more} ones"
    return None


def _power_laws(used: list[Valley]) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares of log N* and log D* on log C, weights from the repeats."""
    log_c = np.array([v.log_c for v in used])
    design = np.vander(log_c - log_c.max(), 2, increasing=True)
    lowest = np.stack([v.lowest[:2] for v in used])
    draws = np.stack([v.draws[:, :2] for v in used], axis=1)
    # quantiles, as a repeat with hardly any curvature would rule a standard deviation
    low, high = bootstrap.interval(draws[..., 0])
    weights = 1 / (high - low)
    solve = np.linalg.pinv(design * weights[:, None]) * weights
    return solve @ lowest, np.einsum("kb,rbi->rki", solve, draws)


def _number(value: float, draws: np.ndarray) -> dict[str, float]:
    low, high = bootstrap.interval(draws)
    return {"value": float(value), "low": float(low), "high": float(high)}
