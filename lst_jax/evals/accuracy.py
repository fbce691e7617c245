"""Accuracy of choices, and confidence intervals."""

import math
import statistics
from collections.abc import Sequence


def correctness(scores: Sequence[float], label: int) -> float:
    """1 where the score of choice `label` is above all others, 0.5 where it ties with the best of them, else 0."""
    best = max(score for i, score in enumerate(scores) if i != label)
    return 1.0 if scores[label] > best else 0.5 if scores[label] == best else 0.0


def wilson_interval(right: float, items: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a proportion (95% by default); it stays within 0 and 1 for few items.

    Where an item counts a fraction (a tie, a mean over voices), the interval is too wide, never too narrow: of all
    values between 0 and 1 with one mean, zeros and ones scatter most.
    """
    share = right / items
    centre = (share + z * z / (2 * items)) / (1 + z * z / items)
    half = z / (1 + z * z / items) * math.sqrt(share * (1 - share) / items + z * z / (4 * items * items))
    return max(0.0, centre - half), min(1.0, centre + half)


def items_worth(by_run: Sequence[Sequence[float]]) -> float:
    """How many independent items the answers of several runs to one set of items are worth, for `wilson_interval`.

    Where runs agree in each item, it is the number of items. Where they do not, it is more, up to the items times the
    runs. It is p(1 - p) over the variance of p, the mean over the items, each of which counts by its mean over the runs.
    Surveys call this the effective sample size. Args: by_run [runs][items], each from 0 to 1.
    """
    items, runs = len(by_run[0]), len(by_run)
    means = [statistics.fmean(own) for own in zip(*by_run, strict=True)]
    share = statistics.fmean(means)
    if items < 2 or share in (0.0, 1.0):
        return items
    variance = statistics.variance(means) / items
    most = items * runs
    return most if not variance else min(most, max(items, share * (1 - share) / variance))


def paired_interval(differences: Sequence[float], z: float = 1.959964) -> tuple[float, float]:
    """The 95% interval of the mean of what two systems differ by in each of the same items, from -1 to 1.

    Half an item that each alone has right is added to both sides (Agresti and Min 2005), so that it has a width even
    where all items differ by the same.
    """
    items = len(differences) + 2
    mean = math.fsum(differences) / items
    variance = (math.fsum(one * one for one in differences) + 1) / items - mean * mean
    half = z * math.sqrt(variance / items)
    return max(-1.0, mean - half), min(1.0, mean + half)
