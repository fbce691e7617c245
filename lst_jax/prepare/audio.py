"""Sound as numbers: the spectra that units and pictures are made of, and WAV files. `recordings` reads files."""

import functools
import io
import os
from collections.abc import Iterable

import numpy as np
import soundfile

from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

RATE = 16000  # Hz, what every part here works at
HOP = 160  # samples: 10 ms
WINDOW = 400  # samples: 25 ms
FFT = 512
MEL_BINS = 80
POWER_FLOOR = 1e-5  # of a mel bin; about white noise 70 dB below full scale, so that digital silence is not an outlier
SHORTEST_SEC = 0.04  # one frame at 25 Hz
QUIETEST_POWER = 1e-12  # -120 dB, below what 16 bits can say


def write_wav(path: str | os.PathLike | Place, samples: np.ndarray, rate: int = RATE) -> None:
    """Samples float32 as a WAV file, complete or not at all; too loud ones are scaled down. Raises: StorageError."""
    objects.write_bytes(to_place(path), wav_of(samples, rate))


def wav_of(samples: np.ndarray, rate: int = RATE) -> bytes:
    """The content of a WAV file of samples float32; too loud ones are scaled down."""
    content = io.BytesIO()
    soundfile.write(content, samples / max(1.0, float(abs(samples).max())), rate, format="WAV")
    return content.getvalue()


def levels(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Level in dB of full scale float32 [frames] of each 10 ms of audio at 16 kHz, a rest left out."""
    found, rest = [], np.zeros(0, np.float32)
    for block in blocks:
        samples = np.concatenate([rest, block])
        whole = len(samples) // HOP * HOP
        power = np.square(samples[:whole].reshape(-1, HOP), dtype=np.float64).mean(axis=1)
        found.append((10 * np.log10(power + QUIETEST_POWER)).astype(np.float32))
        rest = samples[whole:]
    return np.concatenate(found) if found else np.zeros(0, np.float32)


def log_mel(audio: np.ndarray, first: int, frames: int) -> np.ndarray:
    """Log-mel energies float32 [frames, 80] of `audio` at 16 kHz; frame i is centred on sample first + 160·i.

    Hann windows of 25 ms every 10 ms, power spectrum, 80 triangular mel filters over 0-8000 Hz, natural logarithm.
    Samples outside the recording count as zero.
    """
    start, end = first - WINDOW // 2, first - WINDOW // 2 + (frames - 1) * HOP + WINDOW
    before = max(0, -start)
    padded = np.pad(audio, (before, max(0, end - len(audio))))[start + before : end + before]
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]
    power = np.abs(np.fft.rfft(windows * hann(), FFT)) ** 2
    return np.log(np.maximum(power @ mel_filters().T, POWER_FLOOR)).astype(np.float32)


@functools.cache
def hann() -> np.ndarray:
    """The periodic Hann window, float64 [400]."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)


@functools.cache
def mel_filters() -> np.ndarray:
    """Triangular filters float64 [80, 257], equally spaced on Slaney's scale (Auditory Toolbox, 1998).

    The scale is linear up to 1 kHz (15 steps of 200/3 Hz), then logarithmic (27 steps a factor of 6.4).
    """
    mels = np.linspace(0, 15 + 27 * np.log(RATE / 2 / 1000) / np.log(6.4), MEL_BINS + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    hertz = np.arange(FFT // 2 + 1) * RATE / FFT
    low, centre, high = (edges[i : i + MEL_BINS, None] for i in range(3))
    return np.maximum(0, np.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre)))


def griffin_lim(mel: np.ndarray, rounds: int = 32) -> np.ndarray:
    """Audio float32 [160·frames] whose log-mel energies [frames, 80] are about `mel`.

    Magnitudes come from the pseudo-inverse of the filters, phases from `rounds` of Griffin & Lim (1984), starting from
    a fixed draw.
    """
    frames = len(mel)
    power = np.maximum(np.exp(mel.astype(np.float64)) @ np.linalg.pinv(mel_filters()).T, 0)
    magnitude = np.sqrt(power)
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, magnitude.shape)
    spectrum = magnitude * np.exp(1j * angle)
    for _ in range(rounds):
        windows = _windows(_overlap_add(spectrum), frames)
        again = np.fft.rfft(windows * hann(), FFT)
        spectrum = magnitude * again / np.maximum(np.abs(again), 1e-9)
    audio = _overlap_add(spectrum)[WINDOW // 2 - HOP // 2 :][: frames * HOP]
    return audio.astype(np.float32)


def _windows(audio: np.ndarray, frames: int) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(audio, WINDOW)[::HOP][:frames]


def _overlap_add(spectrum: np.ndarray) -> np.ndarray:
    """The least-squares inverse of windowed frames: sum of windowed frames over sum of squared windows."""
    frames = np.fft.irfft(spectrum, FFT)[:, :WINDOW] * hann()
    total, weight = np.zeros((2, (len(frames) - 1) * HOP + WINDOW))
    for i, frame in enumerate(frames):
        total[i * HOP : i * HOP + WINDOW] += frame
        weight[i * HOP : i * HOP + WINDOW] += hann() ** 2
    return total / np.maximum(weight, 1e-3)
