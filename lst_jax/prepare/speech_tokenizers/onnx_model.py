"""Speech tokenizers of other projects as ONNX models: sound or log-mel in, one code per frame out.

A directory holds the model and `speech_tokenizer.json`, which says how it is to be fed. For one of a 25 Hz codebook that
hears Whisper's log-mel of 128 bins and wants to be told their number:

    {"model": "s3.onnx", "unit_rate": 25.0, "codebook_size": 4096, "input": "log_mel", "input_name": "feats",
     "length_name": "feats_length", "output_name": "indices", "longest_sec": 30, "mel": {"bins": 128}}

`Description` has all fields. Models run on the CPU in one thread, so that a code does not depend on how many there are;
several processes share the work. onnxruntime is an extra (`requirements-onnx.txt`).
"""

import dataclasses
import functools
import glob
import hashlib
import json
import os
import pathlib
from typing import Any, Literal

import numpy as np
import soxr

from lst_jax.core import json_files, strict
from lst_jax.core.errors import ConfigError, DataError, RejectedItem, first_line
from lst_jax.core.hashing import file_sha256
from lst_jax.prepare import audio as audio_lib
from lst_jax.prepare.speech_tokenizers.log_mel_kmeans import MOST_GAIN_DB, speech_level_db
from lst_jax.storage import objects
from lst_jax.storage.at_hand import at_hand
from lst_jax.storage.place import Place

DESCRIPTION = "speech_tokenizer.json"
VERSION = 1  # of what is done here; raise it when any code could change
PROBE_SEC, PROBE_LEVEL = 2.0, 0.05  # of the noise that a model must make codes of before it is used
SLACK_FRAMES = 2  # that a model may give more or less than the length tells


@dataclasses.dataclass(frozen=True)
class Mel:
    """A log-mel spectrum. The defaults are Whisper's (openai/whisper, `audio.py`); `bins` is 80 or 128 there."""

    bins: int
    fft: int = 400  # samples of a window and of its transform
    hop: int = 160
    low_hz: float = 0.0
    high_hz: float | None = None  # None = half the sample rate
    scale: Literal["slaney", "htk"] = "slaney"  # "slaney" has filters of equal area, "htk" of equal height
    log: Literal["log10", "ln"] = "log10"
    floor: float = 1e-10  # of the energy
    below_max: float | None = 8.0  # what is further below the loudest value is raised to there; None = nothing is
    add: float = 4.0
    divide: float = 4.0  # the values are (log + add) / divide


@dataclasses.dataclass(frozen=True)
class Description:
    """What `speech_tokenizer.json` says. Names of inputs and outputs are those of the ONNX model."""

    model: str  # file name in the directory
    unit_rate: float  # codes per second
    codebook_size: int
    input: Literal["waveform", "log_mel"]
    input_name: str
    output_name: str
    sample_rate: int = 16000
    mel: Mel | None = None  # of a model that hears log-mel
    input_axes: int | None = None  # None = [1, samples], or [1, bins, frames]; 3 = a waveform [1, 1, samples]
    length_name: str | None = None  # an input [1] with the number of samples or of mel frames; None = there is none
    length_type: Literal["int32", "int64"] = "int32"
    level_db: float | None = None  # the level that utterances are brought to first; None = as loud as they are
    longest_sec: float | None = None  # longer recordings are rejected; None = any length


class OnnxUnits:
    """A `UnitTokenizer` by an ONNX model of one codebook."""

    kind = "onnx"

    def __init__(self, directory: str | os.PathLike | Place):
        """Loads the model and tries it; one in a bucket is copied here.

        Raises: DataError where it, or what is said of it, cannot be used; StorageError.
        """
        self._given, self._directory = directory, at_hand(directory)
        self._says = _read(self._directory / DESCRIPTION)
        self.unit_rate, self.codebook_size = self._says.unit_rate, self._says.codebook_size
        self._model = self._directory / self._says.model
        if not self._model.is_file():
            raise DataError(f"{self._model}: no such file; correct model in {DESCRIPTION}")
        self._session = _session(self._model)
        self._check_names()
        self._try()

    def __reduce__(self):
        """Pickles as its directory: a session belongs to one process."""
        return type(self), (self._given,)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "OnnxUnits":
        """The tokenizer of a directory. Raises: DataError."""
        return cls(path)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Over the description and the model, with the files of its weights: `MODEL` and what begins with that name."""
        settings = {**dataclasses.asdict(self._says), "model": None, "version": VERSION}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for path in sorted(self._directory.glob(f"{glob.escape(self._says.model)}*")):
            digest.update(bytes.fromhex(file_sha256(path)))
        return digest.hexdigest()[:16]

    def encode(self, audio: np.ndarray, rate: int) -> np.ndarray:
        """Units uint16 [frames] of float32 mono samples at `rate` Hz.

        Raises: RejectedItem where the recording is too long, or the model fails or gives another number of codes.
        """
        length_sec = len(audio) / rate
        if self._says.longest_sec is not None and length_sec > self._says.longest_sec:
            raise RejectedItem(
                "too long",
                f"has {length_sec:g} s, the speech tokenizer takes {self._says.longest_sec:g}; cut it, or leave it out",
            )
        try:
            codes = self._run(audio, rate)
        except Exception as error:  # of any kind, as the model decides what fails
            raise RejectedItem(
                "no units", f"the speech tokenizer fails on it ({first_line(error)}); leave it out"
            ) from error
        odd = self._oddity(codes, length_sec)
        if odd:
            raise RejectedItem("no units", f"the speech tokenizer gives {odd}; leave it out")
        return codes.reshape(-1).astype(np.uint16)

    def _run(self, audio: np.ndarray, rate: int) -> np.ndarray:
        says = self._says
        if says.level_db is not None:
            audio = audio * np.float32(10 ** (min(says.level_db - speech_level_db([audio]), MOST_GAIN_DB) / 20))
        if rate != says.sample_rate:
            audio = soxr.resample(audio, rate, says.sample_rate)
        if says.mel is None:
            values = audio.astype(np.float32)[None]
            values = values[None] if says.input_axes == 3 else values
        else:
            values = log_mel(audio, says.sample_rate, says.mel)[None]
        inputs: dict[str, Any] = {says.input_name: values}
        if says.length_name is not None:
            inputs[says.length_name] = np.array([values.shape[-1]], says.length_type)
        return np.asarray(self._session.run([says.output_name], inputs)[0])

    def _oddity(self, codes: np.ndarray, length_sec: float) -> str:
        """What is wrong with codes of so many seconds; empty where nothing is."""
        books = [size for size in codes.shape if size != 1]
        if len(books) > 1:
            return f"an array of {codes.shape}, codes of several codebooks for a frame"
        if codes.dtype.kind not in "iu":
            return f"numbers of type {codes.dtype}, not codes"
        frames = length_sec * self.unit_rate
        if abs(codes.size - frames) > SLACK_FRAMES or not codes.size:
            return f"{codes.size} codes for {frames:.1f} frames at {self.unit_rate:g} per second"
        if not 0 <= codes.min() <= codes.max() < self.codebook_size:
            return f"codes {codes.min()}..{codes.max()}, outside a codebook of {self.codebook_size}"
        return ""

    def _check_names(self) -> None:
        says = self._says
        inputs, outputs = (
            [one.name for one in ends] for ends in (self._session.get_inputs(), self._session.get_outputs())
        )
        given = [name for name in (says.input_name, says.length_name) if name is not None]
        where = self._directory / DESCRIPTION
        if set(given) != set(inputs):
            raise DataError(
                f"{where}: feeds {', '.join(given)}, the model has the inputs {', '.join(inputs)}; "
                "correct input_name and length_name"
            )
        if says.output_name not in outputs:
            raise DataError(
                f"{where}: output_name={says.output_name!r}: the model has {', '.join(outputs)}; name one of them"
            )

    def _try(self) -> None:
        noise = np.random.default_rng(0).normal(0, PROBE_LEVEL, round(PROBE_SEC * audio_lib.RATE)).astype(np.float32)
        try:
            codes = self._run(noise, audio_lib.RATE)
        except Exception as error:  # of any kind, as the model decides what fails
            raise DataError(f"{self._model}: cannot be run ({first_line(error)}); correct {DESCRIPTION}") from error
        odd = self._oddity(codes, PROBE_SEC)
        if odd:
            fix = "take a model of one codebook" if "several codebooks" in odd else f"correct {DESCRIPTION}"
            raise DataError(f"{self._model}: gives {odd} where it hears {PROBE_SEC:g} s of noise; {fix}")


def log_mel(audio: np.ndarray, rate: int, mel: Mel) -> np.ndarray:
    """Log-mel float32 [bins, frames] of samples at `rate`, one frame per `mel.hop` of them, a rest left out.

    Frames are centred on multiples of the hop, and the ends are mirrored, as Whisper's are.
    """
    half = mel.fft // 2
    padded = np.pad(audio.astype(np.float64), half, "reflect" if len(audio) > half else "constant")
    windows = np.lib.stride_tricks.sliding_window_view(padded, mel.fft)[:: mel.hop][: max(1, len(audio) // mel.hop)]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(mel.fft) / mel.fft)
    energy = np.abs(np.fft.rfft(windows * hann)) ** 2 @ mel_filters(rate, mel).T
    values = (np.log10 if mel.log == "log10" else np.log)(np.maximum(energy, mel.floor))
    if mel.below_max is not None:
        values = np.maximum(values, values.max() - mel.below_max)
    return ((values + mel.add) / mel.divide).astype(np.float32).T


@functools.cache
def mel_filters(rate: int, mel: Mel) -> np.ndarray:
    """Triangular filters float64 [bins, fft // 2 + 1], evenly spaced on the scale between the two frequencies."""
    to_mel, to_hertz = (_slaney, _slaney_hertz) if mel.scale == "slaney" else (_htk, _htk_hertz)
    high = rate / 2 if mel.high_hz is None else mel.high_hz
    edges = to_hertz(np.linspace(to_mel(np.array(mel.low_hz)), to_mel(np.array(high)), mel.bins + 2))
    hertz = np.arange(mel.fft // 2 + 1) * rate / mel.fft
    low, centre, top = (edges[i : i + mel.bins, None] for i in range(3))
    filters = np.maximum(0, np.minimum((hertz - low) / (centre - low), (top - hertz) / (top - centre)))
    return filters * (2 / (top - low)) if mel.scale == "slaney" else filters


def recognises(path: Place) -> bool:
    """Whether `path` is a directory of this kind."""
    return objects.look(path / DESCRIPTION) is not None


def _slaney(hertz: np.ndarray) -> np.ndarray:
    """Linear up to 1 kHz (15 steps of 200/3 Hz), then logarithmic (27 steps a factor of 6.4)."""
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4))


def _slaney_hertz(mels: np.ndarray) -> np.ndarray:
    return np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))


def _htk(hertz: np.ndarray) -> np.ndarray:
    return 2595 * np.log10(1 + hertz / 700)


def _htk_hertz(mels: np.ndarray) -> np.ndarray:
    return 700 * (10 ** (mels / 2595) - 1)


def _read(path: pathlib.Path) -> Description:
    """The description. Raises: DataError naming the field that cannot be used."""
    fields = json_files.read(path, "write the fields that docs/formats.md lists")
    try:
        says = strict.build(Description, fields, "")
    except ConfigError as error:
        raise DataError(f"{path}: {error}") from error
    if (says.mel is None) == (says.input == "log_mel"):
        raise DataError(
            f"{path}: input={says.input!r}: a model that hears log-mel, and no other, needs mel; correct one of them"
        )
    for name, value, most in (("unit_rate", says.unit_rate, 1e4), ("codebook_size", says.codebook_size, 65536)):
        if not 0 < value <= most:
            raise DataError(f"{path}: {name}={value:g}: must be above 0 and at most {most:g}; correct it")
    if (
        says.sample_rate < 1
        or says.mel is not None
        and (min(says.mel.bins, says.mel.hop, says.mel.fft) < 1 or not says.mel.divide)
    ):
        raise DataError(
            f"{path}: sample_rate, and bins, hop and fft of mel, must be at least 1, and divide not 0; correct them"
        )
    return says


def _session(path: pathlib.Path) -> Any:
    try:
        import onnxruntime  # optional
    except ModuleNotFoundError as error:
        raise DataError(
            f"{path}: needs onnxruntime, which is an extra; pip install 'lst_jax[onnx]', in a clone pip install -e '.[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of any kind, as the file decides what fails
        raise DataError(f"{path}: cannot be loaded as an ONNX model ({first_line(error)}); copy it again") from error
