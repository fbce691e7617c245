"""The spans of an utterance: alternating blocks of text and speech (paper A.1.1, as coded), or one whole span of each.

Example: six words, of which words 0-2 are drawn as text and words 3-5 as speech. Word 2 ends at frame 10 and word 3
starts at frame 15, so five silent frames lie between them. The cut falls at frame 10 + 5 // 2 = 12, and the frames on
the side of the text are dropped:

    [Span("text", 0, 3, 0, 0), Span("speech", 3, 6, 12, frames)]
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
            spans.append(Span("speech", first, end, _edge(utterance, first), _edge(utterance, end)))
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
    """Sizes in words of the alternating blocks.

    The size of a text block is uniform in its range, and at most `floor(text_fraction_max * words)`. A speech block is
    `speech_ratio` times the text block before it, rounded half up. The minimum `block_words_min` is applied last, so it
    wins over both. The end of the utterance cuts the last block, which joins the one before it if it is too short.
    """
    sizes: list[int] = []
    left, text_size, speech = words, 0, speech_first
    while left:
        if not speech:
            drawn = int(rng.integers(config.text_words_min, config.text_words_max, endpoint=True))
            text_size = size = max(config.block_words_min, min(drawn, math.floor(config.text_fraction_max * words)))
        elif sizes:
            size = max(config.block_words_min, math.floor(config.speech_ratio * text_size + 0.5))
        else:
            drawn = rng.integers(config.first_speech_words_min, config.first_speech_words_max, endpoint=True)
            size = max(config.block_words_min, int(drawn))
        sizes.append(min(size, left))
        left -= sizes[-1]
        speech = not speech
    if len(sizes) > 1 and sizes[-1] < config.last_block_words_min:
        last = sizes.pop()
        sizes[-1] += last
    return sizes


def halves(utterance: Utterance) -> tuple[Span, Span]:
    """Two speech spans with half the words each, the odd word in the second. The utterance has at least two words."""
    words = len(utterance.words)
    cut = _edge(utterance, words // 2)
    return (Span("speech", 0, words // 2, 0, cut), Span("speech", words // 2, words, cut, len(utterance.units)))


def _whole(utterance: Utterance, modality: Literal["text", "speech"]) -> Span:
    return Span(modality, 0, len(utterance.words), 0, len(utterance.units) if modality == "speech" else 0)


def _edge(utterance: Utterance, word: int) -> int:
    """The frame that separates word `word` from the word before it: the middle of the silence, rounded down."""
    if word == 0:
        return 0
    if word == len(utterance.words):
        return len(utterance.units)
    end, start = utterance.words[word - 1].end_frame, utterance.words[word].start_frame
    return end + (start - end) // 2
