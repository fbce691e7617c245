"""Conversion of word times between seconds and frames. All code that needs it uses this module."""

import math
from collections.abc import Sequence

from lst_jax.core.errors import RejectedItem
from lst_jax.data.records import Word

Placed = tuple[str, float, float]  # (text, start_sec, end_sec)

# How far words may reach beyond the units. A convolutional feature extractor gives a frame or two less than the audio has.
SLACK_SEC = 0.1


def to_frames(placed: Sequence[Placed], rate: float, n_frames: int) -> tuple[Word, ...]:
    """Words in frames, at `rate` frames per second.

    Times are rounded. The words are in order, do not overlap, have at least one frame each, and end within `n_frames`.
    A word to which rounding leaves no room pushes its neighbours: first to the right, then back from the end.

    Example: [("a", 0.06, 0.17), ("b", 0.25, 0.33)] at 25, 8 frames -> a at [2, 4), b at [6, 8)
    Raises: RejectedItem where there are more words than frames.
    """
    if len(placed) > n_frames:
        raise RejectedItem(
            "more words than frames",
            f"{len(placed)} words do not fit {n_frames} frames; does the text match the audio?",
        )
    starts, ends, before = [], [], 0
    for _, start_sec, end_sec in placed:
        starts.append(max(_round(start_sec * rate), before))
        before = max(_round(end_sec * rate), starts[-1] + 1)
        ends.append(before)
    limit = n_frames
    for i in range(len(placed) - 1, -1, -1):
        ends[i] = min(ends[i], limit)
        limit = starts[i] = min(starts[i], ends[i] - 1)
    return tuple(Word(text, start, end) for (text, *_), start, end in zip(placed, starts, ends, strict=True))


def fit_frames(placed: Sequence[Placed], rate: float, n_frames: int) -> tuple[Word, ...]:
    """`to_frames` for words that do not come from the same place as the units.

    Raises: RejectedItem where the words reach beyond the units, so that the two cannot belong together.
    """
    last = max((end_sec for *_, end_sec in placed), default=0.0)
    if last * rate > n_frames + 1 + SLACK_SEC * rate:
        raise RejectedItem(
            "words beyond the end",
            f"the words end at {last:g} s, {n_frames} frames at {rate:g} per "
            f"second last {n_frames / rate:g} s; check the unit rate, and that both are of one audio",
        )
    return to_frames(placed, rate, n_frames)


def to_seconds(words: Sequence[Word], rate: float) -> list[Placed]:
    """Words in seconds. `to_frames` gives the same frames back.

    Example: [Word("a", 2, 4)] at 25 -> [("a", 0.08, 0.16)]
    """
    return [(word.text, word.start_frame / rate, word.end_frame / rate) for word in words]


def regroup(words: Sequence[str], counts: Sequence[int], times: Sequence[tuple[float, float]]) -> list[Placed]:
    """Times of written words from the times of the spoken words, of which each written word has `counts`.

    A written word without spoken ones (bare punctuation) joins the word before it; if it is the first, the next one.

    Example: words ["see", "-", "42"], counts [1, 0, 2] -> ("see -", ...), ("42", start of forty, end of two)
    """
    placed: list[Placed] = []
    lead, first = "", 0
    for word, count in zip(words, counts, strict=True):
        if count:
            placed.append((lead + word, times[first][0], times[first + count - 1][1]))
            lead, first = "", first + count
        elif placed:
            placed[-1] = (f"{placed[-1][0]} {word}", *placed[-1][1:])
        else:
            lead += f"{word} "
    return placed


def check_placed(placed: Sequence[Placed]) -> None:
    """Checks that times are finite, not negative and in order of start, and that no word ends before it starts.

    Raises: RejectedItem naming the word.
    """
    before = 0.0
    for number, (text, start_sec, end_sec) in enumerate(placed):
        where = f"word {number} {text!r} at {start_sec:g}..{end_sec:g} s"
        if not (math.isfinite(start_sec) and math.isfinite(end_sec)):
            raise RejectedItem("bad times", f"{where} has no finite times; align it again")
        if start_sec < 0 or end_sec < start_sec:
            raise RejectedItem("bad times", f"{where} starts before 0 or ends before it starts; align it again")
        if start_sec < before:
            raise RejectedItem("bad times", f"{where} starts before the previous word does; sort the words")
        before = start_sec


def _round(value: float) -> int:
    return math.floor(value + 0.5)
