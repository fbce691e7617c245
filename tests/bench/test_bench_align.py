"""`lst bench align`: the truth is a synthesiser's, and the numbers are of these words."""

import json

import numpy as np
import pytest

from lst_jax.bench import align
from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare.synthesis.protocol import Speech

TEXTS = ["Press one, or two.", "the key -- don't", "one", "please enter"]


class Metronome:
    """Every word lasts 0.3 s, with 0.2 s before it."""

    name, voices = "metronome", ("tick", "tock")

    def check_voice(self, voice):
        if voice not in self.voices:
            raise DataError(f"--voice {voice}: no such voice; use tick")

    def speak(self, text, voice):
        words = text.split(" ")
        times = [(0.2 + 0.5 * i, 0.5 + 0.5 * i) for i in range(len(words))]
        return Speech(np.full(round(16000 * (0.5 * len(words) + 0.2)), 0.1, np.float32), 16000, times)


class Late:
    """Each word of the truth, 30 ms later; it refuses what it does not know, and searches twice for the second."""

    name = "late"

    def __init__(self, spoken):
        self.spoken = {one.name: one for one in spoken}
        self.searched_twice = {spoken[1].name}

    def align(self, item_id, audio, words):
        one = self.spoken[item_id]
        if words != one.words:
            raise RejectedItem("poor match", "other words")
        return [(word, start + 0.03, end + 0.03) for word, (start, end) in zip(words, one.gold, strict=True)]

    def guessed(self, words):
        return []

    def take_retried(self, item_id):
        return item_id in self.searched_twice


@pytest.fixture
def spoken(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return align.speak(str(path), Metronome(), ("tick", "tock"), 10, None)


def test_texts_are_spoken_as_words_of_letters(spoken):
    assert [one.words for one in spoken] == [
        ["press", "one", "or", "two"],
        ["the", "key", "don't"],
        ["please", "enter"],
    ]
    assert spoken[0].gold[1] == pytest.approx((0.7, 1.0)) and spoken[0].audio.dtype == np.float32


def test_numbers_are_those_of_the_words_that_were_placed(spoken):
    measured = align.measure(spoken, [Late(spoken)])
    late = measured["aligners"]["late"]
    assert measured["words"] == 9 and late["placed"] == 1 and late["second_searches"] == 1
    assert late["start_ms"] == pytest.approx({"bias": 30, "median": 30, "p95": 30})
    assert late["near"] == {"0.02": 0.0, "0.05": 1.0, "0.1": 1.0} and late["wrong_refused"] == 1
    ideal = measured["aligners"][align.IDEAL]
    assert ideal["placed"] == 1 and ideal["wrong_refused"] is None
    assert ideal["start_ms"]["bias"] > 0 > ideal["end_ms"]["bias"]  # characters are said in the middle of their share
    assert ideal["near"]["0.1"] == 1
    text = align.markdown(measured)
    assert "| late | 100.0% | 100.0% | 1 | 30, 30, +30 | 30, 30, +30 | 0.0% | 100.0% | 100.0% | 100.0% |" in text


def test_what_is_refused_is_counted_by_its_reason(spoken):
    class Refusing(Late):
        name = "refusing"

        def align(self, item_id, audio, words):
            if item_id == spoken[0].name:
                raise RejectedItem("alignment failed", "no")
            return super().align(item_id, audio, words)

    measured = align.measure(spoken, [Refusing(spoken)])
    found = measured["aligners"]["refusing"]
    assert found["placed"] == pytest.approx(5 / 9) and found["rejected"] == {"alignment failed": 1}
    assert "- refusing: 1 alignment failed." in align.markdown(measured)


def test_noise_is_so_far_below_the_speech(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    plain, noisy = (align.speak(str(path), Metronome(), ("tick",), 2, db) for db in (None, 20.0))
    noise = noisy[0].audio - plain[0].audio
    assert 20 * np.log10(np.std(noise) / 0.1) == pytest.approx(-20, abs=0.1)


def test_too_few_texts_and_unknown_voices_are_one_line(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "only one text"}\n{"text": 5}\n')
    with pytest.raises(DataError, match="has 1 texts that can be spoken; give two"):
        align.speak(str(path), Metronome(), ("tick",), 5, None)
    with pytest.raises(DataError, match="--voice boom"):
        align.speak(str(path), Metronome(), ("boom",), 5, None)
