"""The recogniser that comes with pocketsphinx."""

import importlib.metadata

import numpy as np
import pocketsphinx

from lst_jax.prepare.audio import RATE


class PocketSphinx:
    """US English with a general vocabulary: weak, but it needs no download.

    Its error rates compare systems that are all heard by it. What it makes of the recordings' own units is reported
    beside them.
    """

    def __init__(self):
        """The library's own acoustic model, dictionary and language model."""
        self.name = f"pocketsphinx-{importlib.metadata.version('pocketsphinx')}/en-us"
        self._decoder = pocketsphinx.Decoder(samprate=RATE, loglevel="FATAL")

    def transcribe(self, audio: np.ndarray) -> str:
        """See `Recogniser`. Features start anew, so that the result does not depend on what was heard before."""
        if not len(audio):
            return ""
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        self._decoder.process_raw((np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return "" if found is None else found.hypstr
