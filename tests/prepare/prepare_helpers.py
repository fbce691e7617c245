"""Made-up sounds, and an aligner without acoustics."""

import time

import numpy as np


class EvenAligner:
    """Places n words on n equal parts; `delay` seconds an utterance make a run slow enough to be killed."""

    def __init__(self, name: str = "even", delay: float = 0.0):
        self.name, self.delay = name, delay

    def align(self, item_id, audio, words):
        """See `lst_jax.prepare.align.Aligner`."""
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
    return (0.3 * np.sin(2 * np.pi * (start * time + 600 * time ** 2)) + noise).astype(np.float32)
