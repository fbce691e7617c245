"""How much more compute the reference needs than a system for the same loss: C_ref(L) / C_sys(L), over losses.

Each system has its own law: L(C) = E + K·C^-γ along the line of a family, or the lowest loss over N and D at every C of
L(N, D). Floors and slopes may therefore differ, and the multiplier may change with loss, unlike that of a joint law.
Both laws are read only where their own runs are: no loss is asked for that one of the systems did not come to.
"""

import dataclasses
from typing import Any

import numpy as np

from lst_jax.laws import bootstrap
from lst_jax.laws.fit import COST_ERROR, LINE, LawFit
from lst_jax.laws.points import Point, Refused

CURVE = 33  # losses at which the multiplier is taken, even in log L
# Repeats whose floor lies above a loss need infinite compute for it. Their share must stay well inside the 2.5% beyond
# an end of the interval: then they are counted where they belong, and no end is made of them.
MOST_WITHOUT = (1 - bootstrap.LEVEL) / 4
NEVER = 1e3  # their log C: beyond every other


@dataclasses.dataclass(frozen=True)
class Multiplier:
    """log(C_ref / C_sys) at falling losses: [losses], and of the repeats: [repeats, losses]."""

    ours: LawFit
    reference: LawFit
    log_loss: np.ndarray
    log_ratio: np.ndarray
    draws: np.ndarray

    @property
    def points(self) -> tuple[Point, ...]:
        """The runs of both laws."""
        return self.ours.points + self.reference.points

    def numbers(self) -> dict[str, dict[str, float]]:
        """At both ends of the losses, and the last over the first: above 1 where the lead grows as losses fall."""
        of = {
            "multiplier_at_highest_loss": lambda ratio: ratio[..., 0],
            "multiplier_at_lowest_loss": lambda ratio: ratio[..., -1],
            "multiplier_growth": lambda ratio: ratio[..., -1] - ratio[..., 0],
        }
        return {name: _number(part(self.log_ratio), part(self.draws)) for name, part in of.items()}

    def band(self) -> np.ndarray:
        """Lower and upper ends of the multiplier at every loss: [2, losses]."""
        return np.exp(bootstrap.interval(self.draws))

    def grows(self) -> bool | None:
        """Whether the multiplier grows as losses fall; None where its interval has both growing and shrinking."""
        growth = self.numbers()["multiplier_growth"]
        return True if growth["low"] > 1 else False if growth["high"] < 1 else None

    def describe(self) -> dict[str, Any]:
        """What goes into fit.json."""
        low, high = self.band()
        columns = zip(np.exp(self.log_loss), np.exp(self.log_ratio), low, high, strict=True)
        return {
            "along": "the line of N and D" if self.ours.law.variables == LINE else "best N and D",
            "highest_loss": float(np.exp(self.log_loss[0])),
            "lowest_loss": float(np.exp(self.log_loss[-1])),
            "grows": self.grows(),
            "numbers": self.numbers(),
            "curve": [dict(zip(("loss", "value", "low", "high"), map(float, row), strict=True)) for row in columns],
        }


def fit_multiplier(ours: LawFit, reference: LawFit, seed: int = 0) -> Multiplier:
    """The multiplier of a system's law over another's of the same loss and number of repeats. Raises: Refused."""
    log_loss = np.linspace(*_common(ours, reference), CURVE)
    for fit in (ours, reference):
        without = np.isinf(fit.log_compute(fit.draws, log_loss[-1:])).mean()
        if without > MOST_WITHOUT:
            raise Refused(
                f"in {without:.1%} of the bootstrap repeats no compute brings {_name(fit)} to a loss of "
                f"{np.exp(log_loss[-1]):.4g}; add runs, sizes further apart, or less noise"
            )
    # Laws of as many runs are drawn from the same random numbers: in their order the noise of both would cancel.
    order = np.random.default_rng(seed).permutation(len(ours.draws))
    log_ratio = _log_ratio(ours, ours.theta[None], reference, reference.theta[None], log_loss)[0]
    draws = _log_ratio(ours, ours.draws[order], reference, reference.draws, log_loss)
    return Multiplier(ours, reference, log_loss, log_ratio, draws)


def _common(ours: LawFit, reference: LawFit) -> tuple[float, float]:
    """Highest and lowest log loss that both frontiers have within their runs."""
    if ours.law.variables != reference.law.variables:
        raise Refused(
            f"{_name(ours)} has a law of {', '.join(ours.law.variables)} and {_name(reference)} one of "
            f"{', '.join(reference.law.variables)}; give both the same kind of family"
        )
    ends = []
    for fit in (ours, reference):
        if fit.law.variables != LINE and not fit.has_optimum:
            raise Refused(
                f"FLOPs of {_name(fit)} do not follow from N and D within {COST_ERROR:.0%}, so there is no "
                "best N of a budget; give runs whose FLOPs do"
            )
        low, high = fit.span()
        if low >= high:
            raise Refused(
                f"the best N and D of {_name(fit)} are nowhere within its runs' N and D; add sizes on the "
                "other side of the best ones"
            )
        ends.append(fit.log_frontier(fit.theta[None], np.array([low, high]))[0])
    highest, lowest = np.min(ends, axis=0)[0], np.max(ends, axis=0)[1]
    if highest <= lowest:
        spans = [
            f"{_name(fit)} {np.exp(a):.4g} to {np.exp(b):.4g}"
            for fit, (a, b) in zip((ours, reference), ends, strict=True)
        ]
        raise Refused(
            f"no loss is common to both families: {', '.join(spans)}; add larger runs of "
            f"{_name((ours, reference)[int(ends[0][1] < ends[1][1])])}, or smaller ones of the other"
        )
    return float(highest), float(lowest)


def _log_ratio(
    ours: LawFit, of_ours: np.ndarray, reference: LawFit, of_reference: np.ndarray, log_loss: np.ndarray
) -> np.ndarray:
    log_c, reference_log_c = (
        np.minimum(fit.log_compute(theta, log_loss), NEVER)
        for fit, theta in ((ours, of_ours), (reference, of_reference))
    )
    return reference_log_c - log_c


def _number(log_value: float | np.ndarray, draws: np.ndarray) -> dict[str, float]:
    low, high = np.exp(bootstrap.interval(draws))
    return {"value": float(np.exp(log_value)), "low": float(low), "high": float(high)}


def _name(fit: LawFit) -> str:
    return fit.law.systems[0]
