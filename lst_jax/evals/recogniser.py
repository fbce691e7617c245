"""What generated speech is heard by: a recogniser that has nothing to do with the model."""

import importlib
import importlib.metadata
from typing import Protocol, runtime_checkable

import numpy as np
import pocketsphinx

from lst_jax.core.errors import DataError
from lst_jax.prepare.audio import RATE

EMBEDDED = "pocketsphinx"


@runtime_checkable
class Recogniser(Protocol):
    """Audio to text."""

    name: str  # what is recorded beside the numbers

    def transcribe(self, audio: np.ndarray) -> str:
        """The words of float32 mono samples at 16 kHz; "" where none is heard."""


class PocketSphinx:
    """The recogniser that comes with pocketsphinx: US English, general vocabulary, weak but free of downloads.

    Rates by it are for comparing systems heard by it; what it makes of the original units is reported beside them.
    """

    def __init__(self):
        """The library's own acoustic model, dictionary and language model."""
        self.name = f"pocketsphinx-{importlib.metadata.version('pocketsphinx')}/en-us"
        self._decoder = pocketsphinx.Decoder(samprate=RATE, loglevel="FATAL")

    def transcribe(self, audio: np.ndarray) -> str:
        """See `Recogniser`; features start anew, so that the result does not depend on what was heard before."""
        if not len(audio):
            return ""
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        self._decoder.process_raw((np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return "" if found is None else found.hypstr


def load_recogniser(spec: str) -> Recogniser:
    """The recogniser of `pocketsphinx` or `whisper:DIR`. Raises: DataError where it is neither, or cannot be used."""
    if spec == EMBEDDED:
        return PocketSphinx()
    name, _, directory = spec.partition(":")
    if name == "whisper" and directory:
        return importlib.import_module("lst_jax.evals.whisper").Whisper(directory)
    raise DataError(f"--recogniser {spec}: must be {EMBEDDED} or whisper:DIR; correct it")
