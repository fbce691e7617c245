"""Made-up sounds, an aligner without acoustics, and what every synthesiser is asked."""

import pickle
import time

import numpy as np
import soxr

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare.aligners import pocket_sphinx
from lst_jax.prepare.corpora import choose
from lst_jax.prepare.synthesis.protocol import Speech, Synthesiser

PLAIN = "you are in a maze of twisty little passages all alike and the magic words derive from this game"
TO_ALIGN = [
    "please enter your password followed by the pound key",
    "that conference is full",
    "all circuits are busy now",
]


def texts(paths):
    """The corpus of text files."""
    return choose.open_corpus(paths, "text")


class EvenAligner:
    """Places n words on n equal parts; `delay` seconds an utterance make a run slow enough to be killed."""

    def __init__(self, name: str = "even", delay: float = 0.0):
        self.name, self.delay = name, delay

    def align(self, item_id, audio, words):
        """See `lst_jax.prepare.Aligner`."""
        time.sleep(self.delay)
        part = len(audio) / 16000 / len(words)
        return [(word, i * part, (i + 1) * part) for i, word in enumerate(words)]

    def guessed(self, words):
        """Words with a digit count as guessed."""
        return [word for word in words if any(c.isdigit() for c in word)]


def sweep(seconds: float, start: float) -> np.ndarray:
    """A rising tone with a little noise, float32 at 16 kHz."""
    time = np.arange(int(seconds * 16000)) / 16000
    noise = np.random.default_rng(int(start)).normal(0, 0.01, len(time))
    return (0.3 * np.sin(2 * np.pi * (start * time + 600 * time**2)) + noise).astype(np.float32)


class ToneSynthesiser:
    """A word is a tone of 20 ms a letter, between pauses of 50 ms; `delay` seconds an utterance, so that it can be
    killed. Times are known, and so is what it refuses."""

    name = "tones"
    voices = ("low",)
    pitches = {"low": 200.0, "high": 500.0}

    def __init__(self, delay: float = 0.0, rate: int = 22050):
        self.delay, self.rate = delay, rate

    def check_voice(self, voice):
        """See `lst_jax.prepare.synthesis.protocol.Synthesiser`."""
        if voice not in self.pitches:
            raise DataError(f"--voice {voice}: is no tone; use low or high")

    def speak(self, text, voice):
        """See `lst_jax.prepare.synthesis.protocol.Synthesiser`."""
        time.sleep(self.delay)
        if "unspeakable" in text:
            raise RejectedItem("no tone", "it cannot be said; leave it out")
        if "mute" in text:
            return Speech(np.zeros(self.rate, np.float32), self.rate, [(0.1, 0.2)] * len(text.split()))
        pause, pieces, words = np.zeros(self.rate // 20, np.float32), [], []
        for word in text.split():
            pieces.append(pause)
            start = sum(map(len, pieces))
            clock = np.arange(self.rate // 50 * len(word)) / self.rate
            pieces.append((0.5 * np.sin(2 * np.pi * self.pitches[voice] * clock)).astype(np.float32))
            words.append((start / self.rate, (start + len(clock)) / self.rate))
        words = words[:-1] if "forgotten" in text else words
        return Speech(np.concatenate([*pieces, pause]), self.rate, words)


def assert_is_synthesiser_that_pickles(synthesiser):
    assert isinstance(synthesiser, Synthesiser)
    assert pickle.loads(pickle.dumps(synthesiser)).name == synthesiser.name


def assert_nothing_stays(synthesiser, fresh, voice, others, text):
    """What was said before, `text` in the other voices, changes no sample."""
    first = synthesiser.speak(PLAIN, voice)
    for other in others:
        synthesiser.speak(text, other)
    again = fresh.speak(PLAIN, voice)
    np.testing.assert_array_equal(first.samples, again.samples)
    assert first.words == again.words


def assert_one_interval_a_word_and_sound_in_it(speech, text, first_sec, shortest_sec, number_sec, slack_sec):
    """Intervals in order from `first_sec` on; the word 1234567 may take `number_sec`."""
    words = text.split()
    assert len(speech.words) == len(words)
    inside, before = np.zeros(len(speech.samples), bool), first_sec
    for word, (start_sec, end_sec) in zip(words, speech.words, strict=True):
        assert start_sec >= before
        assert shortest_sec < end_sec - start_sec < (number_sec if word == "1234567" else 2.2), word
        inside[round(start_sec * speech.rate) : round(end_sec * speech.rate)] = True
        before = end_sec - slack_sec
    energy = speech.samples**2
    assert energy[inside].mean() > 100 * energy[~inside].mean()  # pauses are 20 dB below speech at least
    assert inside.mean() > 0.75


def apart_from_alignment(speech, text):
    """Seconds [words, 2] by which forced alignment of the sound finds other starts and ends."""
    samples = soxr.resample(speech.samples, speech.rate, 16000)
    found = pocket_sphinx.PocketSphinxAligner(least_score=-20.0).align("u", samples, text.split())
    return np.abs(np.array(speech.words) - [times for _, *times in found])
