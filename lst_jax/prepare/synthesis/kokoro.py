"""Speech of Kokoro from a local directory, by the package kokoro-onnx: far more natural, and far slower.

The directory holds the model and its voices as they are published: one .onnx file and one .bin file, such as
kokoro-v1.0.onnx and voices-v1.0.bin. The package is an optional extra (`requirements-kokoro.txt`); it brings espeak-ng
and phonemizer, which are under the GPL, version 3 or later.
"""

import functools
import hashlib
import importlib.metadata
import itertools
import os
import pathlib
from typing import Any

import numpy as np
import soxr

from lst_jax.core.errors import DataError, first_line
from lst_jax.core.hashing import file_sha256
from lst_jax.prepare import audio
from lst_jax.prepare.aligners.pocket_sphinx import PocketSphinxAligner
from lst_jax.prepare.synthesis.protocol import Speech, share_out
from lst_jax.storage.at_hand import at_hand

VERSION = 1  # of what is done here; raise it when any sample or time changes
SEED = 1  # of the model's noise
LANGUAGES = {"a": "en-us", "b": "en-gb"}  # by the first letter of a voice's name; words are aligned in English alone
PACKAGES = ("kokoro-onnx", "onnxruntime", "phonemizer", "espeakng-loader")


class Kokoro:
    """A `protocol.Synthesiser`. Voices are the English ones of the directory, such as af_heart.

    Kokoro does not tell when it says which word, so the words' times are those of the embedded aligner. Its noise goes
    on from the utterance before, so the model is loaded afresh for each. It runs in one thread; workers are processes.
    """

    def __init__(self, directory: str | os.PathLike):
        """Raises: DataError where the extra is not installed, or the directory holds no whole Kokoro."""
        self._given, self._aligner = directory, PocketSphinxAligner()
        try:
            import kokoro_onnx  # noqa: F401 -- optional
        except ModuleNotFoundError as error:
            raise DataError(
                f"--synthesiser kokoro:{directory}: needs kokoro-onnx, which is an extra; pip install "
                "'lst_jax[kokoro]', in a clone pip install -e '.[kokoro]'"
            ) from error
        folder = at_hand(directory)
        self._model, self._voices = (_only(folder, suffix) for suffix in (".onnx", ".bin"))
        try:
            self._known = [voice for voice in self._loaded().get_voices() if voice[0] in LANGUAGES]
            self.voices = tuple(self._known[:1])
            if not self._known:
                raise ValueError("no voice is English")
            self._sound("yes", self._known[0])
        except Exception as error:  # of any kind, as the files decide what fails
            raise DataError(
                f"{directory}: cannot be used as a Kokoro ({first_line(error)}); download its .onnx "
                "file and its voices again"
            ) from error

    @functools.cached_property
    def name(self) -> str:
        """See `protocol.Synthesiser`."""
        digest = hashlib.sha256()
        for path in (self._model, self._voices):
            digest.update(bytes.fromhex(file_sha256(path)))
        packages = "/".join(f"{package}-{importlib.metadata.version(package)}" for package in PACKAGES)
        return f"kokoro/{digest.hexdigest()[:16]}/{packages}/{self._aligner.name}/{VERSION}"

    def __reduce__(self):
        """Pickles as its settings."""
        return type(self), (self._given,)

    def check_voice(self, voice: str) -> None:
        """See `protocol.Synthesiser`."""
        if voice not in self._known:
            raise DataError(
                f"--voice {voice}: {self._voices} has no such English voice; use {' or '.join(self._known)}"
            )

    def speak(self, text: str, voice: str) -> Speech:
        """See `protocol.Synthesiser`."""
        samples, rate = self._sound(text, voice)
        words, length_sec = text.split(" "), len(samples) / rate
        placed = self._aligner.align(text, soxr.resample(samples, rate, audio.RATE), words)
        counts = [len(written.split(" ")) for written, *_ in placed]  # words without a sound join another
        heads = list(itertools.accumulate(counts[:-1], initial=0))
        times = [(min(start_sec, length_sec), min(end_sec, length_sec)) for _, start_sec, end_sec in placed]
        return Speech(samples, rate, share_out(words, heads, times))

    def _sound(self, text: str, voice: str) -> tuple[np.ndarray, int]:
        return self._loaded().create(text, voice, lang=LANGUAGES[voice[0]])

    def _loaded(self) -> Any:
        import kokoro_onnx
        import onnxruntime

        onnxruntime.set_seed(SEED)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])
        return kokoro_onnx.Kokoro.from_session(session, str(self._voices))


def _only(directory: pathlib.Path, suffix: str) -> pathlib.Path:
    """The one file of a kind. Raises: DataError where there is none, or there are several."""
    found = sorted(directory.glob(f"*{suffix}"))
    if len(found) != 1:
        raise DataError(
            f"{directory}: must hold one {suffix} file and has {len(found)}; give the directory of one "
            "Kokoro, with its .onnx file and its voices' .bin file"
        )
    return found[0]
