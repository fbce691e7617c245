"""Accuracy of choices, and its confidence interval."""

import math
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
