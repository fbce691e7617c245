"""The embedded speech tokenizer: k-means over log-mel spectra. It needs nothing but this package."""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from lst_jax.core import json_files
from lst_jax.core.errors import DataError
from lst_jax.prepare import audio as audio_lib
from lst_jax.prepare.speech_tokenizers import kmeans
from lst_jax.storage import objects
from lst_jax.storage.place import BucketPath, Place, to_place

STACK = 4  # log-mel frames of 10 ms in a unit frame: 25 Hz, the paper's rate
FRAME = STACK * audio_lib.HOP  # samples of a unit frame
FORMAT_VERSION, UNLEVELLED_VERSION = 2, 1
LEVEL_DB = -26.0  # of full scale: the nominal level of speech in telephony (ITU-T P.56)
PAUSE_DB = 30.0  # below the loudest twentieth of the frames
MOST_GAIN_DB = 50.0  # what is quieter still is no speech
CHUNK = 256  # frames whose features exist at one time: 10 s
SETTINGS_KEY = "unit_tokenizer"  # one JSON text: several metadata keys would be written in random order


class LogMelKMeans:
    """Four stacked log-mel frames of 10 ms, standardised per dimension, to the nearest of k centroids; 25 Hz.

    Frame j covers samples [640·j, 640·(j+1)) of audio at 16 kHz; a rest of 20 ms or more is a frame of its own.
    Version 2 first brings each utterance to one level (`level_db`), so that its units do not follow the volume.
    Version 1, whose files are still read and mean what they meant, takes the sound as loud as it is.
    """

    kind = "logmel_kmeans"
    unit_rate = audio_lib.RATE / FRAME

    def __init__(self, centroids: np.ndarray, mean: np.ndarray, scale: np.ndarray, level_db: float | None = LEVEL_DB):
        """`centroids` float32 [k, 320] in standardised space; `mean` and `scale` float32 [320] take features there.

        `level_db` is the level of speech that utterances are brought to; None is version 1, which does not.
        """
        self.centroids, self.mean, self.scale, self.level_db = centroids, mean, scale, level_db
        self.codebook_size = len(centroids)
        self.version = UNLEVELLED_VERSION if level_db is None else FORMAT_VERSION
        settings = f"{self.kind} {self.version}" + ("" if level_db is None else f" {level_db}")
        digest = hashlib.sha256(settings.encode())
        for array in (centroids, mean, scale):
            digest.update(np.ascontiguousarray(array, "<f4").tobytes())
        self.fingerprint = digest.hexdigest()[:16]

    @classmethod
    def fit(
        cls, features: Iterable[np.ndarray], k: int, seed: int, standardise: bool = True, progress: bool = False
    ) -> "LogMelKMeans":
        """Fits k centroids to chunks of `features` [frames, 320]. Raises: DataError where frames are fewer than k."""
        rows = np.concatenate([np.zeros((0, STACK * audio_lib.MEL_BINS), np.float32), *features])
        if not 2 <= k <= 65536:
            raise DataError(f"k={k}: must lie in 2..65536 (units are 16 bits); the paper has 501")
        if len(rows) < k:
            raise DataError(
                f"units: {len(rows)} frames of audio cannot make {k} centroids; give more audio or a smaller k"
            )
        mean, scale = np.zeros(rows.shape[1], np.float32), np.ones(rows.shape[1], np.float32)
        if standardise:
            mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
            scale = np.maximum(rows.std(axis=0, dtype=np.float64), 1e-3).astype(np.float32)
        return cls(kmeans.fit((rows - mean) / scale, k, seed, progress=progress), mean, scale)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "LogMelKMeans":
        """Reads what `save` wrote. Raises: DataError where the file is another one or not whole."""
        settings, tensors = _read(path)
        shapes = {name: array.shape for name, array in tensors.items()}
        dims = STACK * audio_lib.MEL_BINS
        if (
            shapes.keys() != {"centroids", "mean", "scale"}
            or shapes["centroids"][1:] != (dims,)
            or shapes["mean"] != (dims,)
            or shapes["scale"] != (dims,)
        ):
            raise DataError(
                f"{path}: has tensors {shapes}, not centroids [k, {dims}], mean and scale [{dims}]; fit it "
                "again with `lst prepare units-fit`"
            )
        if settings["version"] not in (UNLEVELLED_VERSION, FORMAT_VERSION):
            raise DataError(
                f"{path}: has version {settings['version']}, this program reads {UNLEVELLED_VERSION} and "
                f"{FORMAT_VERSION}; fit it again with `lst prepare units-fit`"
            )
        if not all(np.isfinite(array).all() for array in tensors.values()):
            raise DataError(f"{path}: has values that are not finite; copy the file again")
        level_db = settings["level_db"] if settings["version"] == FORMAT_VERSION and "level_db" in settings else None
        if settings["version"] == FORMAT_VERSION and not isinstance(level_db, float):
            raise DataError(f"{path}: has no level_db; fit it again with `lst prepare units-fit`")
        tokenizer = cls(**tensors, level_db=level_db)
        if "fingerprint" in settings and settings["fingerprint"] != tokenizer.fingerprint:
            raise DataError(
                f"{path}: its values give the fingerprint {tokenizer.fingerprint}, it says {settings['fingerprint']}; "
                "it was damaged, copy the file again"
            )
        return tokenizer

    def save(self, path: str | os.PathLike) -> None:
        """Writes safetensors with the settings in its metadata, complete or not at all. Raises: StorageError."""
        settings = {
            "kind": self.kind,
            "version": self.version,
            "unit_rate": self.unit_rate,
            "sample_rate": audio_lib.RATE,
            "mel_bins": audio_lib.MEL_BINS,
            "stack": STACK,
            "window": audio_lib.WINDOW,
            "hop": audio_lib.HOP,
            "fingerprint": self.fingerprint,
        }
        if self.level_db is not None:
            settings["level_db"] = self.level_db
        tensors = {"centroids": self.centroids, "mean": self.mean, "scale": self.scale}
        objects.write_bytes(to_place(path), safetensors.numpy.save(tensors, {SETTINGS_KEY: json.dumps(settings)}))

    @staticmethod
    def features(audio: np.ndarray, level_db: float | None = LEVEL_DB) -> np.ndarray:
        """Stacked log-mel float32 [frames, 320] of audio at 16 kHz, brought to a level; at least one frame."""
        return np.concatenate(list(feature_chunks(lambda: [audio], level_db)))

    def encode(self, audio: np.ndarray, rate: int) -> np.ndarray:
        """Units uint16 [frames] of float32 mono samples; `rate` must be 16000."""
        return self.encode_blocks(lambda: [audio], rate)

    def encode_blocks(self, blocks: Callable[[], Iterable[np.ndarray]], rate: int) -> np.ndarray:
        """`encode` of audio in blocks; `blocks` is called twice. The units do not depend on where blocks end.

        Distances are float64, so that no choice hangs on how the matrix product was threaded.
        """
        if rate != audio_lib.RATE:
            raise DataError(f"rate={rate}: units are made from {audio_lib.RATE} Hz; resample with load_audio")
        centroids, units = self.centroids.astype(np.float64), []
        for chunk in feature_chunks(blocks, self.level_db):
            rows = (chunk.astype(np.float64) - self.mean) / self.scale
            units.append(kmeans.assign(rows, centroids)[0].astype(np.uint16))
        return np.concatenate(units)

    def decode_mel(self, units: np.ndarray) -> np.ndarray:
        """The centroids' log-mel float32 [4·frames, 80], what `units` stand for."""
        return (self.centroids[units] * self.scale + self.mean).reshape(-1, audio_lib.MEL_BINS)

    def resynthesise(self, units: np.ndarray) -> np.ndarray:
        """Audio float32 [640·frames] at 16 kHz for the ear, by Griffin-Lim; rough, but words can be made out."""
        return audio_lib.griffin_lim(self.decode_mel(units))


def feature_chunks(blocks: Callable[[], Iterable[np.ndarray]], level_db: float | None) -> Iterator[np.ndarray]:
    """Stacked log-mel float32 [frames, 320] of audio in blocks, CHUNK frames at a time; at least one frame."""
    gain_db = 0.0 if level_db is None else min(level_db - speech_level_db(blocks()), MOST_GAIN_DB)
    gain = np.float32(10 ** (gain_db / 20))
    before = audio_lib.WINDOW // 2 - audio_lib.HOP // 2  # samples that the first window of a frame reaches before it
    held, done, total = np.zeros(before, np.float32), 0, 0  # from `before` samples before frame `done` on
    for block in blocks():
        held, total = np.concatenate([held, block * gain]), total + len(block)
        while len(held) >= CHUNK * FRAME + 2 * before:
            yield _features(held[: CHUNK * FRAME + 2 * before], CHUNK)
            held, done = held[CHUNK * FRAME :], done + CHUNK
    left = max(1, int(total / FRAME + 0.5)) - done
    while left > 0:
        frames = min(left, CHUNK)
        yield _features(held[: frames * FRAME + 2 * before], frames)
        held, left = held[frames * FRAME :], left - frames


def speech_level_db(blocks: Iterable[np.ndarray]) -> float:
    """The level of the speech in audio at 16 kHz, in dB of full scale: the median of its frames that are not pauses.

    Pauses are the 10 ms that lie more than PAUSE_DB below the loudest twentieth. A median does not hear whether the
    loudest samples were clipped.
    """
    level = audio_lib.levels(blocks)
    if not len(level):
        return LEVEL_DB
    return float(np.median(level[level >= np.percentile(level, 95) - PAUSE_DB]))


def _features(samples: np.ndarray, frames: int) -> np.ndarray:
    """Of samples that begin half a window before the first frame's; zeros follow them."""
    mel = audio_lib.log_mel(samples, audio_lib.WINDOW // 2, STACK * frames)
    return mel.reshape(frames, STACK * audio_lib.MEL_BINS)


def recognises(path: Place) -> bool:
    """Whether `path` is a file of this kind, of any version."""
    try:
        return not objects.is_folder(path) and _read(path)[0]["kind"] == LogMelKMeans.kind
    except DataError:
        return False


def check_kind(path: str | os.PathLike, known: str) -> None:
    """Raises: DataError that says why a file is no unit tokenizer: not safetensors, without settings, or unknown."""
    settings, _ = _read(path)
    raise DataError(f"{path}: is of kind {settings['kind']!r}, known are {known}; fit one with `lst prepare units-fit`")


def _read(path: str | os.PathLike | Place) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    place = to_place(path)
    if objects.is_folder(place) or not objects.exists(place):
        raise DataError(f"{path}: no such file; make it with `lst prepare units-fit`")
    if isinstance(place, BucketPath):
        with objects.scratch("units") as folder:
            objects.download(place, pathlib.Path(folder) / "units")
            return _read_file(pathlib.Path(folder) / "units", path)
    return _read_file(place, path)


def _read_file(
    file_path: pathlib.Path, path: str | os.PathLike | Place
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Settings and tensors of a file of this machine, which the user knows as `path`."""
    try:
        with safetensors.safe_open(file_path, framework="numpy") as file:
            settings = json_files.decode((file.metadata() or {SETTINGS_KEY: "{}"})[SETTINGS_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (safetensors.SafetensorError, OSError) as error:
        raise DataError(f"{path}: is not a safetensors file ({error}); make it with `lst prepare units-fit`") from error
    except (KeyError, json_files.NotJson):
        settings = {}
    if "kind" not in settings or "version" not in settings:
        raise DataError(
            f"{path}: is no unit tokenizer ({SETTINGS_KEY} with kind and version is not in its metadata); "
            "make one with `lst prepare units-fit`"
        )
    return settings, tensors  # ty: ignore[possibly-unresolved-reference]
