"""Aligned patches: a word, or a text piece of one, is a patch (paper §3.1); silence is separate or merged into it."""

import functools
import re
from typing import Any

import numpy as np

from lst_jax.config import PatchingConfig
from lst_jax.data.patching.base import Boundaries, BoundaryRule, SpeechRun, Strategy, boundaries_at

ALIGNED_NAME = "(?:bpe-)?aligned(?:-merged)?"  # regular expression of a kind of aligned patches in a system's name
MERGED_PATCH = 9.4  # mean units of a word with its silence, paper Table 6


class AlignedRule(BoundaryRule):
    """Each word a patch, or each text piece of a word; the aligner knows the end of every patch.

    Silence separate: each stretch outside words is a patch of its own. Silence merged: it joins the patch before it,
    and silence before the first word joins the first patch.
    """

    needs_words = True

    def __init__(self, text_pieces: bool = False, merged: bool = False):
        """`text_pieces`: patches are text pieces, see `piece_offsets`, not words. `merged`: silence is merged."""
        self.reads_text_pieces, self._merged = text_pieces, merged
        self.name = "bpe_" * text_pieces + "aligned" + "_merged" * merged

    def boundaries(self, run: SpeechRun) -> Boundaries:
        """Where the patches of the run start, and where they end."""
        starts = [run.word_start[1:]] if self._merged else [run.word_start, run.word_end]
        if self.reads_text_pieces:
            starts.append(_piece_starts(run))
        return boundaries_at(run.units, *starts)

    def with_noise(self, frames: float, rng: np.random.Generator) -> BoundaryRule:
        """The rule with every inner boundary moved, see `jitter`."""
        return _NoisyRule(self, frames, rng)


class _NoisyRule(BoundaryRule):
    """An aligned rule whose inner boundaries `jitter` moves. It holds a generator, so it serves one document."""

    def __init__(self, exact: AlignedRule, frames: float, rng: np.random.Generator):
        self._exact, self._frames, self._rng = exact, frames, rng
        self.name, self.needs_words, self.reads_text_pieces = exact.name, exact.needs_words, exact.reads_text_pieces

    def boundaries(self, run: SpeechRun) -> Boundaries:
        return self.patch(run, np.ones(run.units, bool))[0]

    def patch(self, run: SpeechRun, may_cut: np.ndarray) -> tuple[Boundaries, np.ndarray]:
        (start, _), cut = self._exact.patch(run, may_cut)
        return jitter(start, cut, self._frames, self._rng)


class Aligned(Strategy):
    """Every document in aligned patches, at inference too."""

    name = "aligned"
    draws_words = True
    pattern = f"(?P<aligned>{ALIGNED_NAME})"
    usage = ("aligned", "aligned-merged", "bpe-aligned", "bpe-aligned-merged")

    @functools.cached_property
    def inference_rule(self) -> BoundaryRule:
        """Aligned patches of the run's kind."""
        return aligned_rule(self.config)

    @property
    def mean_patch(self) -> int | float:
        """Units per patch for which rows are sized: words with their silence are longer than static patches."""
        return MERGED_PATCH if self.config.silence == "merged" else self.config.static_size

    @classmethod
    def fields_of(cls, found: re.Match) -> dict[str, Any]:
        """The kind of aligned patches."""
        return aligned_fields(found["aligned"])


def aligned_rule(config: PatchingConfig) -> AlignedRule:
    """The kind of aligned patches that a run uses, by `aligned_to` and `silence`."""
    return AlignedRule(text_pieces=config.aligned_to == "bpe", merged=config.silence == "merged")


def aligned_fields(name: str | None) -> dict[str, str]:
    """Fields of `PatchingConfig` for a kind of aligned patches; None is "aligned".

    Example: aligned_fields("bpe-aligned-merged") -> {"aligned_to": "bpe", "silence": "merged"}
    """
    name = name or Aligned.name
    return {
        "aligned_to": "bpe" if name.startswith("bpe-") else "word",
        "silence": "merged" if name.endswith("-merged") else "separate",
    }


@functools.lru_cache(1 << 16)
def piece_offsets(chars: tuple[int, ...], frames: int) -> tuple[int, ...]:
    """First frames, within a word of `frames`, of its second and later text pieces, in proportion to their characters.

    Edges are rounded half up, and each piece has at least one frame. In a word of fewer frames than pieces only the
    first `frames` pieces count.

    Example: piece_offsets((4, 2), 9) -> (6,); piece_offsets((9, 1, 1), 3) -> (1, 2).
    """
    edges = np.cumsum(chars[:frames])
    wanted = (2 * frames * edges[:-1] + edges[-1]) // (2 * edges[-1])
    return tuple(_spread(wanted, frames).tolist())


def jitter(
    start: np.ndarray, cut: np.ndarray, frames: float, rng: np.random.Generator
) -> tuple[Boundaries, np.ndarray]:
    """Moves every inner boundary of aligned patches by U[-frames, frames], and the marks on boundaries with them.

    Boundaries keep their order and at least one frame between them, stay off the run's ends, and move by less than
    frames + 1. A move is rounded up or down at random, so that it is right on average: the alignment itself is
    rounded to frames.

    Args: `start` bool [units], a patch starts here; `cut` bool [units], marks on some of the starts.
    Returns: the moved boundaries, and the moved marks.
    """
    inner = np.flatnonzero(start)[1:]
    move = np.floor(rng.uniform(-frames, frames, len(inner)) + rng.random(len(inner))).astype(np.int64)
    moved = _spread(inner + move, len(start))
    moved_cut = np.zeros(len(start), bool)
    moved_cut[0] = cut[0]
    moved_cut[moved] = cut[inner]
    return boundaries_at(len(start), moved), moved_cut


def _piece_starts(run: SpeechRun) -> np.ndarray:
    """Units at which the second and later text pieces of the run's words start."""
    first, length = run.word_start.tolist(), (run.word_end - run.word_start).tolist()
    return np.array(
        [
            f + offset
            for f, frames, chars in zip(first, length, run.piece_chars, strict=True)
            for offset in piece_offsets(chars, frames)
        ],
        np.int64,
    )


def _spread(wanted: np.ndarray, size: int) -> np.ndarray:
    """Positions 0 < p1 < p2 < ... < size near the `wanted` ones, in their order. The caller knows that they fit."""
    number = np.arange(1, len(wanted) + 1)
    return number + np.clip(np.maximum.accumulate(wanted - number), 0, size - 1 - len(wanted))
