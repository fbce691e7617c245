import dataclasses

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from synthetic_data import INTERLEAVE, utterance

from lst_jax import config as cfg
from lst_jax.data.interleave import Span, block_sizes, interleave
from lst_jax.data.records import Utterance, Word


class Scripted(np.random.Generator):
    """Hands out given draws and records what was asked for."""

    def __init__(self, *draws):
        super().__init__(np.random.PCG64(0))
        self.draws, self.asked = list(draws), []

    def integers(self, low, high, endpoint):
        assert endpoint
        self.asked.append((low, high))
        return self.draws.pop(0)


SILENT = Utterance(
    "u",
    np.zeros(40, np.uint16),
    (Word("a", 2, 5), Word("b", 5, 7), Word("c", 9, 10), Word("d", 15, 18), Word("e", 18, 20), Word("f", 25, 30)),
    None,
    None,
)
SMALL = dataclasses.replace(INTERLEAVE, text_words_min=3, text_words_max=3, text_fraction_max=1.0, speech_ratio=1.0)


def seeded(first_is_speech):
    return next(
        g
        for g in map(np.random.default_rng, range(100))
        if bool(np.random.default_rng(g.bit_generator.seed_seq.entropy).integers(2)) == first_is_speech
    )


def test_text_first_drops_its_silence_and_half_of_the_stretch_at_the_edge():
    assert interleave(SILENT, SMALL, seeded(False)) == [Span("text", 0, 3, 0, 0), Span("speech", 3, 6, 12, 40)]


def test_speech_first_keeps_the_silence_in_front_and_half_of_the_stretch_at_the_edge():
    config = dataclasses.replace(SMALL, first_speech_words_min=3, first_speech_words_max=3)
    assert interleave(SILENT, config, seeded(True)) == [Span("speech", 0, 3, 0, 12), Span("text", 3, 6, 0, 0)]


@pytest.mark.parametrize(
    "words, speech_first, draws, sizes, asked",
    [
        # text of 9, speech round(4.5) = 5 (half up), text of 12, speech of 6, text of 18 cut to the 8 that are left
        (40, False, (9, 12, 18), [9, 5, 12, 6, 8], [(5, 30)] * 3),
        # the cap: floor(0.6 * 19) = 11 words of text, then round(5.5) = 6, then 2 left over, which join the speech block
        (19, False, (30, 30), [11, 8], [(5, 30)] * 2),
        # the minimum wins over the cap: floor(0.6 * 3) = 1, so 2 words of text; the last 1 joins it
        (3, False, (5,), [3], [(5, 30)]),
        # speech first: 4 words, then text of 5, speech of 3 (2.5 half up), and 2 left over that join the speech block
        (14, True, (4, 5, 9), [4, 5, 5], [(2, 15), (5, 30), (5, 30)]),
        (4, True, (4,), [4], [(2, 15)]),
        (2, True, (2,), [2], [(2, 15)]),
        (1, True, (15,), [1], [(2, 15)]),
    ],
)
def test_blocks_follow_the_draws(words, speech_first, draws, sizes, asked):
    rng = Scripted(*draws)
    assert block_sizes(words, speech_first, INTERLEAVE, rng) == sizes
    assert rng.asked == asked


@hypothesis.settings(deadline=None)
@hypothesis.given(st.integers(0, 200), st.integers(0, 10**6), st.booleans())
def test_spans_alternate_cover_every_word_and_share_out_every_frame(words, seed, config_is_small):
    spoken = utterance(seed % 50, words)
    spans = interleave(spoken, SMALL if config_is_small else INTERLEAVE, np.random.default_rng(seed))
    assert [w for s in spans for w in range(s.first_word, s.end_word)] == list(range(words))
    assert all(a.modality != b.modality for a, b in zip(spans, spans[1:], strict=False))
    owner = np.full(len(spoken.units), -1)
    for number, span in enumerate(spans):
        for word in spoken.words[span.first_word : span.end_word]:
            if span.modality == "speech":
                assert span.start_frame <= word.start_frame and word.end_frame <= span.end_frame
        if span.modality == "speech":
            assert (owner[span.start_frame : span.end_frame] == -1).all()
            owner[span.start_frame : span.end_frame] = number
    for a, b in zip(spans, spans[1:], strict=False):
        low, high = spoken.words[a.end_word - 1].end_frame, spoken.words[b.first_word].start_frame
        given_to_speech = np.count_nonzero(owner[low:high] >= 0)
        assert given_to_speech in ((high - low) // 2, (high - low + 1) // 2)
    if spans[0].modality == "speech":
        assert spans[0].start_frame == 0
    if spans[-1].modality == "speech":
        assert spans[-1].end_frame == len(spoken.units)


def test_ranges_and_first_modality_of_many_draws_are_the_papers():
    rng = np.random.default_rng(0)
    spoken = utterance(0, 1000)
    runs = [interleave(spoken, INTERLEAVE, rng) for _ in range(200)]
    first_text = np.array([r[0].modality == "text" for r in runs])
    assert 0.4 < first_text.mean() < 0.6
    sizes = {
        modality: [s.end_word - s.first_word for r in runs for s in r[1:-1] if s.modality == modality]
        for modality in ("text", "speech")
    }
    assert (min(sizes["text"]), max(sizes["text"])) == (5, 30)
    assert (min(sizes["speech"]), max(sizes["speech"])) == (3, 15)
    assert abs(np.mean(sizes["text"]) - 17.5) < 0.5
    opening = [r[0].end_word for r in runs if r[0].modality == "speech"]
    assert (min(opening), max(opening)) == (2, 15)


def test_an_utterance_without_words_is_all_speech():
    assert interleave(utterance(0, 0), INTERLEAVE, np.random.default_rng(0)) == [
        Span("speech", 0, 0, 0, len(utterance(0, 0).units))
    ]


RELEASED = cfg.InterleaveConfig()


@pytest.mark.parametrize(
    "words, speech_first, draws, sizes, asked",
    [
        # the cap bounds the range: floor(0.6 * 19) = 11; speech of floor(5.5) = 5, then 3 words are left
        (19, False, (11, 5), [11, 5, 3], [(5, 11)] * 2),
        # two words left over join the speech block
        (18, False, (9, 9), [9, 4, 5], [(5, 10)] * 2),
        (40, False, (9, 12, 18), [9, 4, 12, 6, 9], [(5, 24)] * 3),
        # speech that opens the document has halves of both ends, rounded down
        (14, True, (4, 5, 8), [4, 5, 2, 3], [(2, 4), (5, 8), (5, 8)]),
        # the minimum bounds both ends: floor(0.6 * 3) = 1
        (3, False, (2,), [3], [(2, 2)]),
        (1, True, (2,), [1], [(2, 2)]),
    ],
)
def test_blocks_of_the_released_code_follow_the_draws(words, speech_first, draws, sizes, asked):
    rng = Scripted(*draws)
    assert block_sizes(words, speech_first, RELEASED, rng) == sizes
    assert rng.asked == asked


@pytest.mark.parametrize(
    "words, share, blocks", [(12, 0.356, 2.83), (20, 0.324, 3.39), (41, 0.318, 4.25), (100, 0.321, 8.18)]
)
def test_shares_of_speech_are_those_of_the_released_code(words, share, blocks):
    rng = np.random.default_rng(words)
    runs = []
    for _ in range(20_000):
        speech_first = bool(rng.integers(2))
        runs.append((speech_first, block_sizes(words, speech_first, RELEASED, rng)))
    spoken = [sum(sizes[1 - first :: 2]) / words for first, sizes in runs]
    assert abs(np.mean(spoken) - share) < 0.006
    assert abs(np.mean([len(sizes) for _, sizes in runs]) - blocks) < 0.03


def test_speech_keeps_the_longer_half_of_a_silence_on_both_sides():
    config = dataclasses.replace(SMALL, rule="capped_range", block_words_min=3)
    # words 2 and 3 lie at frames 9-10 and 15-18, five silent frames apart
    assert interleave(SILENT, config, seeded(False)) == [Span("text", 0, 3, 0, 0), Span("speech", 3, 6, 12, 40)]
    assert interleave(SILENT, config, seeded(True)) == [Span("speech", 0, 3, 0, 13), Span("text", 3, 6, 0, 0)]
