"""Where patches start and end inside a run of speech units (paper §3.1), and which rule a document takes.

Example, paper §3: words at frames [2,4] and [6,7] of 8, silence separate, gives the patches {0,1} {2,3,4} {5} {6,7}.
Silence merged gives {0..5} {6,7}. Where the first word has text pieces of 2 characters and 1, patches of pieces are
{0,1} {2,3} {4} {5} {6,7}.

    >>> run = SpeechRun(8, np.array([2, 6]), np.array([5, 8]), ((2, 1), (3,)))
    >>> [np.flatnonzero(bounds).tolist() for bounds in aligned(run, 4)]
    [[0, 2, 5, 6], [1, 4, 5, 7]]
    >>> [np.flatnonzero(bounds).tolist() for bounds in aligned_merged(run, 4)]
    [[0, 6], [5, 7]]
    >>> [np.flatnonzero(bounds).tolist() for bounds in bpe_aligned(run, 4)]
    [[0, 2, 4, 5, 6], [1, 3, 4, 5, 7]]
    >>> [np.flatnonzero(bounds).tolist() for bounds in static(run, 3)]
    [[0, 3, 6], [2, 5]]
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lst_jax.config import PatchingConfig


class SpeechRun(NamedTuple):
    """A span of speech as policies see it: its length and the words in it, counted from its first unit."""

    units: int
    word_start: np.ndarray  # int [words]
    word_end: np.ndarray  # int [words], exclusive
    piece_chars: Sequence[tuple[int, ...]] = ()  # characters of each text piece of each word; the BPE policies read it


Boundaries = tuple[np.ndarray, np.ndarray]  # bool [units] each: a patch starts here; a patch is known to end here


def static(run: SpeechRun, size: int) -> Boundaries:
    """Runs of `size` units from the span's first unit; that a short last one ends is not known from within it."""
    start, end = np.zeros(run.units, bool), np.zeros(run.units, bool)
    start[::size] = True
    end[size - 1 :: size] = True
    return start, end


def aligned(run: SpeechRun, size: int) -> Boundaries:
    """Each word a patch, and each stretch outside words a patch of its own; the aligner knows every end."""
    return _known(run.units, run.word_start, run.word_end)


def aligned_merged(run: SpeechRun, size: int) -> Boundaries:
    """Each word a patch with the silence up to the next word; silence before the first word joins the first word."""
    return _known(run.units, run.word_start[1:])


def bpe_aligned(run: SpeechRun, size: int) -> Boundaries:
    """Each text piece of a word a patch, see `piece_offsets`; each stretch outside words a patch of its own."""
    return _known(run.units, run.word_start, run.word_end, _piece_starts(run))


def bpe_aligned_merged(run: SpeechRun, size: int) -> Boundaries:
    """Each text piece of a word a patch; silence joins the piece before it, at the beginning the one after it."""
    return _known(run.units, run.word_start[1:], _piece_starts(run))


def none(run: SpeechRun, size: int) -> Boundaries:
    """Each unit a patch (Base)."""
    return np.ones(run.units, bool), np.ones(run.units, bool)


POLICIES: dict[str, Callable[[SpeechRun, int], Boundaries]] = {
    "static": static,
    "aligned": aligned,
    "aligned_merged": aligned_merged,
    "bpe_aligned": bpe_aligned,
    "bpe_aligned_merged": bpe_aligned_merged,
    "none": none,
}
ALIGNED = {
    ("word", "separate"): "aligned",
    ("word", "merged"): "aligned_merged",  # (aligned_to, silence) -> policy
    ("bpe", "separate"): "bpe_aligned",
    ("bpe", "merged"): "bpe_aligned_merged",
}
BY_PIECES = ("bpe_aligned", "bpe_aligned_merged")  # the policies that read `SpeechRun.piece_chars`


@functools.lru_cache(1 << 16)
def piece_offsets(chars: tuple[int, ...], frames: int) -> tuple[int, ...]:
    """First frames, within a word of `frames`, of its second and later pieces, in proportion to their characters.

    Edges are rounded half up; each piece has a frame at least, and in a word of fewer frames than pieces only its first
    `frames` pieces do. Example: piece_offsets((4, 2), 9) -> (6,); piece_offsets((9, 1, 1), 3) -> (1, 2).
    """
    edges = np.cumsum(chars[:frames])
    wanted = (2 * frames * edges[:-1] + edges[-1]) // (2 * edges[-1])
    return tuple(_apart(wanted, frames).tolist())


def jitter(
    start: np.ndarray, cut: np.ndarray, frames: float, rng: np.random.Generator
) -> tuple[Boundaries, np.ndarray]:
    """Moves every inner boundary of aligned patches by U[-frames, frames], and marks on boundaries along with them.

    A move is rounded up or down at random, so that it is right on average: the alignment itself is rounded to frames.
    Boundaries keep their order and a frame between them, stay off the span's ends, and move by less than frames + 1.

    Args/Returns: `start` bool [units], a patch starts; `cut` bool [units], marks some of them. Boundaries and marks.
    """
    inner = np.flatnonzero(start)[1:]
    move = np.floor(rng.uniform(-frames, frames, len(inner)) + rng.random(len(inner))).astype(np.int64)
    moved = _apart(inner + move, len(start))
    moved_cut = np.zeros(len(start), bool)
    moved_cut[0] = cut[0]
    moved_cut[moved] = cut[inner]
    return _known(len(start), moved), moved_cut


def aligned_probability(step: int, config: PatchingConfig) -> float:
    """P(u): the probability that a document opened at training step `step` is aligned (paper §3.1)."""
    if config.strategy == "mixed":
        return 0.5
    if config.strategy != "curriculum":
        return 1.0 if config.strategy == "aligned" else 0.0
    if step < config.tau1:
        return 1.0
    if step >= config.tau2:
        return config.final_probability
    return 1.0 - (1.0 - config.final_probability) * (step - config.tau1) / (config.tau2 - config.tau1)


def draw_policy(step: int, config: PatchingConfig, rng: Callable[[], np.random.Generator]) -> str:
    """Name of the policy of a document opened at `step`; `rng` is called only where there is something to draw."""
    if config.strategy == "none":
        return "none"
    probability = aligned_probability(step, config)
    is_aligned = probability == 1.0 or (probability > 0.0 and rng().random() < probability)
    return ALIGNED[config.aligned_to, config.silence] if is_aligned else "static"


def inference_policy(config: PatchingConfig) -> str:
    """Name of the policy at inference: a model trained on both static and aligned patches gets static ones."""
    if config.strategy == "aligned":
        return ALIGNED[config.aligned_to, config.silence]
    return "none" if config.strategy == "none" else "static"


def _known(units: int, *starts: np.ndarray) -> Boundaries:
    """Patches that start at 0 and at `starts`, and whose ends are all known."""
    start = np.zeros(units + 1, bool)
    start[0] = start[-1] = True
    for some in starts:
        start[some] = True
    return start[:-1], start[1:]


def _piece_starts(run: SpeechRun) -> np.ndarray:
    first, length = run.word_start.tolist(), (run.word_end - run.word_start).tolist()
    return np.array(
        [
            f + offset
            for f, frames, chars in zip(first, length, run.piece_chars, strict=True)
            for offset in piece_offsets(chars, frames)
        ],
        np.int64,
    )


def _apart(wanted: np.ndarray, size: int) -> np.ndarray:
    """Positions 0 < p1 < p2 < ... < size near the `wanted` ones, in their order; the caller knows that they fit."""
    number = np.arange(1, len(wanted) + 1)
    return number + np.clip(np.maximum.accumulate(wanted - number), 0, size - 1 - len(wanted))
