"""What a synthesiser is: it speaks a text and knows when it says each word."""

import itertools
import typing
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Speech(NamedTuple):
    """What a synthesiser gives: float32 samples at `rate`, and (start_sec, end_sec) of each word of the text."""

    samples: np.ndarray
    rate: int
    words: Sequence[tuple[float, float]]


@typing.runtime_checkable
class Synthesiser(typing.Protocol):
    """Speaks. It pickles as its settings, so that each process can have its own.

    `name` is kept with what was made and changes whenever any sound or time could. `voices` are used unless others are
    asked for.
    """

    name: str
    voices: tuple[str, ...]

    def check_voice(self, voice: str) -> None:
        """Raises: DataError, one line with the fix, where there is no such voice."""

    def speak(self, text: str, voice: str) -> Speech:
        """Speech of a text of words with one blank between; it depends on nothing but the two arguments.

        Words are in order. Each has one interval, also a word that is spoken as several (42) or as none of its own.
        Raises: RejectedItem where the text cannot be spoken.
        """


def share_out(
    words: Sequence[str], heads: Sequence[int], times: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Intervals of all words from those of some: words without one share that of the head before, by their letters.

    Example: ["of", "the", "end"], heads 0 and 2, times (0, 0.2) and (0.2, 0.5) -> (0, 0.08), (0.08, 0.2), (0.2, 0.5)
    """
    intervals = []
    for head, last, (start_sec, end_sec) in zip([0, *heads[1:]], [*heads[1:], len(words)], times, strict=True):
        shares = np.cumsum([0, *(len(word) for word in words[head:last])])
        edges = (start_sec + (end_sec - start_sec) * shares / shares[-1]).tolist()
        intervals.extend(itertools.pairwise(edges))
    return intervals
