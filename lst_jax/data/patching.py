"""Where patches start and end inside a run of speech units (paper §3.1), and which rule a document takes.

Example, paper §3: words at frames [2,4] and [6,7] of 8, silence separate, gives the patches {0,1} {2,3,4} {5} {6,7}.

    >>> run = SpeechRun(8, np.array([2, 6]), np.array([5, 8]))
    >>> [np.flatnonzero(bounds).tolist() for bounds in aligned(run, 4)]
    [[0, 2, 5, 6], [1, 4, 5, 7]]
    >>> [np.flatnonzero(bounds).tolist() for bounds in static(run, 3)]
    [[0, 3, 6], [2, 5]]
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lst_jax.config import PatchingConfig


class SpeechRun(NamedTuple):
    """A span of speech as policies see it: its length and the words in it, counted from its first unit."""

    units: int
    word_start: np.ndarray  # int [words]
    word_end: np.ndarray  # int [words], exclusive


Boundaries = tuple[np.ndarray, np.ndarray]  # bool [units] each: a patch starts here; a patch is known to end here


def static(run: SpeechRun, size: int) -> Boundaries:
    """Runs of `size` units from the span's first unit; that a short last one ends is not known from within it."""
    start, end = np.zeros(run.units, bool), np.zeros(run.units, bool)
    start[::size] = True
    end[size - 1::size] = True
    return start, end


def aligned(run: SpeechRun, size: int) -> Boundaries:
    """Each word a patch, and each stretch outside words a patch of its own; the aligner knows every end."""
    start = np.zeros(run.units + 1, bool)
    start[0] = start[-1] = True
    start[run.word_start] = True
    start[run.word_end] = True
    return start[:-1], start[1:]


def none(run: SpeechRun, size: int) -> Boundaries:
    """Each unit a patch (Base)."""
    return np.ones(run.units, bool), np.ones(run.units, bool)


POLICIES: dict[str, Callable[[SpeechRun, int], Boundaries]] = {"static": static, "aligned": aligned, "none": none}


def aligned_probability(step: int, config: PatchingConfig) -> float:
    """P(u): the probability that a document opened at training step `step` is aligned (paper §3.1)."""
    if config.strategy == "mixed":
        return 0.5
    if config.strategy != "curriculum":
        return 1.0 if config.strategy == "aligned" else 0.0
    if step < config.tau1:
        return 1.0
    if step >= config.tau2:
        return 0.0
    return 1.0 - (step - config.tau1) / (config.tau2 - config.tau1)


def draw_policy(step: int, config: PatchingConfig, rng: Callable[[], np.random.Generator]) -> str:
    """Name of the policy of a document opened at `step`; `rng` is called only where there is something to draw."""
    if config.strategy == "none":
        return "none"
    probability = aligned_probability(step, config)
    is_aligned = probability == 1.0 or (probability > 0.0 and rng().random() < probability)
    return "aligned" if is_aligned else "static"


def inference_policy(config: PatchingConfig) -> str:
    """Name of the policy at inference: a model trained on both static and aligned patches gets static ones."""
    return config.strategy if config.strategy in ("aligned", "none") else "static"
