"""Whether a system's lead over another grows with size: the trend of their gap over runs of about the same N.

The gap is reference − system for a loss and system − reference for an accuracy, so that a positive one is a lead; its
trend is a straight line in log2 N, given as growth per doubling of N. It is taken along a family in which N and D move
together, as a compute-optimal one: at one N a gap depends on D as well.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from lst_jax.laws import bootstrap
from lst_jax.laws.fit import moves_together
from lst_jax.laws.points import Point, Refused, groups, logs

SAME_SIZE = 0.25  # difference of log N within which runs are a pair: local networks and vocabularies differ
LEAST_PAIRS = 4  # for a scatter from the line; with `items`, two will do
Size = tuple[Point, ...]  # a system's runs of one size: seeds, which are averaged


@dataclasses.dataclass(frozen=True)
class GapTrend:
    """Pairs of sizes (the system's runs, the reference's), their gaps, and the line's [value at the largest, slope]."""

    pairs: tuple[tuple[Size, Size], ...]
    measure: str
    gaps: np.ndarray
    line: np.ndarray
    draws: np.ndarray
    by_items: bool

    @property
    def points(self) -> tuple[Point, ...]:
        """The runs of all pairs."""
        return tuple(p for pair in self.pairs for size in pair for p in size)

    def describe(self) -> dict[str, Any]:
        """What goes into fit.json."""
        names = {"gap_per_doubling": 1, "gap_at_largest": 0}
        low, high = bootstrap.interval(self.draws)
        return {
            "noise": "binomial, of items" if self.by_items else "scatter about the line",
            "pairs": [
                {"runs": [p.run for size in pair for p in size], "gap": float(gap)}
                for pair, gap in zip(self.pairs, self.gaps, strict=True)
            ],
            "numbers": {
                name: {"value": float(self.line[i]), "low": float(low[i]), "high": float(high[i])}
                for name, i in names.items()
            },
        }


def fit_gap(
    points: Sequence[Point], measure: str, system: str, reference: str, repeats: int = bootstrap.REPEATS, seed: int = 0
) -> GapTrend:
    """The trend over pairs of runs whose sizes are nearest to each other's. Raises: Refused."""
    families = [[p for p in points if p.system == name and measure in p.measures] for name in (system, reference)]
    for name, family in zip((system, reference), families, strict=True):
        if family and not moves_together(family):
            raise Refused(
                f"N and D of {name} do not move together, and a gap depends on both; give a family along one "
                "line, as a compute-optimal one"
            )
    pairs = _pairs(*map(_sizes, families))
    accuracy = measure.startswith("accuracy")
    by_items = accuracy and all(p.items for pair in pairs for size in pair for p in size)
    least = 2 if by_items else LEAST_PAIRS
    if len(pairs) < least:
        raise Refused(
            f"{len(pairs)} sizes have {measure} of both {system} and {reference} within 25% of N; give "
            f"{least} or {'two with items' if accuracy and not by_items else 'more'}"
        )
    means = np.array([[np.mean([p.measures[measure] for p in size]) for size in pair] for pair in pairs])
    gaps = (means[:, 0] - means[:, 1]) * (1 if accuracy else -1)
    sizes = np.array([np.mean([logs(size, "parameters").mean() for size in pair]) for pair in pairs]) / np.log(2)
    design = np.vander(sizes - sizes.max(), 2, increasing=True)
    solve = np.linalg.pinv(design)
    line = solve @ gaps
    rng = np.random.default_rng(seed)
    if by_items:  # as if the two models were scored on different items, which is on the safe side
        items = np.array([[size[0].items for size in pair] for pair in pairs])
        errors = np.sqrt((means * (1 - means) / items).sum(1))
        simulated = gaps + errors * rng.standard_normal((repeats, len(gaps)))
    else:
        simulated = bootstrap.simulate(design @ line, gaps - design @ line, 2, repeats, rng)
    return GapTrend(tuple(pairs), measure, gaps, line, simulated @ solve.T, by_items)


def _sizes(points: list[Point]) -> list[Size]:
    return [tuple(points[i] for i in members) for members in groups(logs(points, "parameters"))] if points else []


def _pairs(ours: list[Size], theirs: list[Size]) -> list[tuple[Size, Size]]:
    """Sizes that are each other's only near one, in rising order."""
    if not ours or not theirs:
        return []
    at, reference_at = (np.array([logs(size, "parameters").mean() for size in sizes]) for sizes in (ours, theirs))
    near = np.abs(at[:, None] - reference_at) <= SAME_SIZE
    return [(ours[i], theirs[j]) for i, j in np.argwhere(near) if near[i].sum() == 1 and near[:, j].sum() == 1]
