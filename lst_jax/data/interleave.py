"""The spans of an utterance: alternating blocks of text and speech (paper A.1.1, as coded), or one whole span of each.

Example: six words, of which words 0-2 are drawn as text and words 3-5 as speech. Word 2 ends at frame 10 and word 3
starts at frame 15, so five silent frames lie between them. The cut falls at frame 10 + 5 // 2 = 12, and the frames on
the side of the text are dropped:

    [Span("text", 0, 3, 0, 0), Span("speech", 3, 6, 12, frames)]

`data.interleave.rule` chooses between two ways of drawing the blocks. "capped_range" is that of the released code. Runs
of this project from before it was known exactly have "clipped_draw". They differ in what the cap of a text block does,
in how halves are rounded, and in who gets the odd frame of a silence.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from lst_jax.config import InterleaveConfig
from lst_jax.data.records import Utterance


class Span(NamedTuple):
    """Words [first_word, end_word) in one modality. Speech takes the frames [start_frame, end_frame), text takes none."""

    modality: Literal["text", "speech"]
    first_word: int
    end_word: int
    start_frame: int
    end_frame: int


def interleave(utterance: Utterance, config: InterleaveConfig, rng: np.random.Generator) -> list[Span]:
    """Spans that alternate in modality and cover every word once, in order.

    An utterance without words becomes one speech span with all its frames.
    """
    if not utterance.words:
        return [Span("speech", 0, 0, 0, len(utterance.units))]
    speech_first = bool(rng.integers(2))
    sizes = block_sizes(len(utterance.words), speech_first, config, rng)
    spans, first = [], 0
    for number, size in enumerate(sizes):
        end = first + size
        if speech_first == (number % 2 == 0):
            last_frame = _edge(utterance, end, odd_frame_before=_RULES[config.rule].odd_frame_stays)
            spans.append(Span("speech", first, end, _edge(utterance, first), last_frame))
        else:
            spans.append(Span("text", first, end, 0, 0))
        first = end
    return spans


def recognise(utterance: Utterance) -> list[Span]:
    """All of the speech, then all of the text (paper §8, ASR)."""
    return [_whole(utterance, "speech"), _whole(utterance, "text")]


def speak(utterance: Utterance) -> list[Span]:
    """All of the text, then all of the speech (paper §8, TTS)."""
    return [_whole(utterance, "text"), _whole(utterance, "speech")]


# Values of `data.documents` other than "interleaved". The last span answers the first, so the loss is on the last span
# alone, and no document is cut.
PROMPTED: dict[str, Callable[[Utterance], list[Span]]] = {"asr": recognise, "tts": speak}


def spans_of(documents: str, utterance: Utterance, config: InterleaveConfig, rng: np.random.Generator) -> list[Span]:
    """The spans of an utterance for a value of `data.documents`. Only "interleaved" uses `rng`."""
    return PROMPTED[documents](utterance) if documents in PROMPTED else interleave(utterance, config, rng)


def block_sizes(words: int, speech_first: bool, config: InterleaveConfig, rng: np.random.Generator) -> list[int]:
    """Sizes in words of the alternating blocks. The rule draws them; no block is shorter than `block_words_min`.

    The end of the utterance cuts the last block, which joins the one before it if it is too short.
    """
    draw = _RULES[config.rule].draw
    sizes: list[int] = []
    left, speech = words, speech_first
    while left:
        drawn = draw(words, speech, sizes[-1] if sizes else None, config, rng)
        sizes.append(min(max(config.block_words_min, drawn), left))
        left -= sizes[-1]
        speech = not speech
    if len(sizes) > 1 and sizes[-1] < config.last_block_words_min:
        last = sizes.pop()
        sizes[-1] += last
    return sizes


def _capped_range(
    words: int, speech: bool, before: int | None, config: InterleaveConfig, rng: np.random.Generator
) -> int:
    """The words of a block as the released code draws them (paper A.1.1).

    The cap `floor(text_fraction_max * words)` bounds the range of text blocks, and no draw is clipped. Speech behind text
    is `speech_ratio` times that text, rounded down. Speech that opens the document is drawn between such parts of the range.
    """
    least = config.block_words_min
    high = max(least, min(config.text_words_max, math.floor(config.text_fraction_max * words)))
    low = max(least, min(config.text_words_min, high))
    if not speech:
        return int(rng.integers(low, high, endpoint=True))
    if before is not None:
        return math.floor(config.speech_ratio * before)
    shortest, longest = (max(least, math.floor(config.speech_ratio * end)) for end in (low, high))
    return int(rng.integers(shortest, longest, endpoint=True))


def _clipped_draw(
    words: int, speech: bool, before: int | None, config: InterleaveConfig, rng: np.random.Generator
) -> int:
    """The words of a block as this project's first runs drew them.

    A text block is uniform in its whole range, and then at most `floor(text_fraction_max * words)`. Speech behind text is
    `speech_ratio` times that text, rounded half up. Speech that opens the document has a range of its own.
    """
    if not speech:
        drawn = int(rng.integers(config.text_words_min, config.text_words_max, endpoint=True))
        return min(drawn, math.floor(config.text_fraction_max * words))
    if before is not None:
        return math.floor(config.speech_ratio * before + 0.5)
    return int(rng.integers(config.first_speech_words_min, config.first_speech_words_max, endpoint=True))


class _Rule(NamedTuple):
    draw: Callable[[int, bool, int | None, InterleaveConfig, np.random.Generator], int]
    odd_frame_stays: bool  # of a silence behind speech, with the speech


_RULES = {"capped_range": _Rule(_capped_range, True), "clipped_draw": _Rule(_clipped_draw, False)}


def halves(utterance: Utterance) -> tuple[Span, Span]:
    """Two speech spans with half the words each, the odd word in the second. The utterance has at least two words."""
    words = len(utterance.words)
    cut = _edge(utterance, words // 2)
    return (Span("speech", 0, words // 2, 0, cut), Span("speech", words // 2, words, cut, len(utterance.units)))


def _whole(utterance: Utterance, modality: Literal["text", "speech"]) -> Span:
    return Span(modality, 0, len(utterance.words), 0, len(utterance.units) if modality == "speech" else 0)


def _edge(utterance: Utterance, word: int, odd_frame_before: bool = False) -> int:
    """The frame that separates word `word` from the word before it: the middle of the silence.

    Where the silence has an odd number of frames, the middle one belongs to word `word`, or else to the word before it.
    """
    if word == 0:
        return 0
    if word == len(utterance.words):
        return len(utterance.units)
    end, start = utterance.words[word - 1].end_frame, utterance.words[word].start_frame
    return end + (start - end + odd_frame_before) // 2
