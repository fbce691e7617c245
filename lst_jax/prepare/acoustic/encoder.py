"""A loaded HuBERT or wav2vec2 and its batches: recordings in, one array per recording out."""

import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare.acoustic import wav2vec2, weights

LONGEST_SEC = 120  # at one time. Attention is quadratic: 6000 frames of 12 heads are 1.7 GB a recording
PIECE_SEC, MARGIN_SEC = 50, 5  # of a longer recording: what each piece gives frames for, and hears before and behind it
SMALLEST_BUCKET = 64  # frames
MAX_BATCH = 64
BATCH_FRAMES = 24_000  # frames of a batch, padding included: 16 recordings of 30 s at 50 Hz
SQUARE_FRAMES = 16 * 1500**2  # B·T² of a batch, what attention takes


class Encoder:
    """Architecture, parameters and normalisation of one model directory; `fingerprint` names them (16 hex digits)."""

    def __init__(self, directory: str | os.PathLike, layer: int | None = None):
        """With `layer` as a model of that hidden state; with None as a CTC model. Raises: DataError."""
        self.arch = weights.read_architecture(directory)
        if layer is not None and not 0 <= layer <= self.arch.num_hidden_layers:
            raise DataError(f"{directory}: layer={layer}: must lie in 0..{self.arch.num_hidden_layers}; choose another")
        self.layer = layer
        self.normalise = weights.read_normalise(directory)
        depth = self.arch.num_hidden_layers if layer is None else layer
        params = weights.read_parameters(directory, self.arch, depth, head=layer is None)
        self.fingerprint = _fingerprint(params, f"{self.arch} {layer} {self.normalise}")
        self.params = jax.device_put(params)

    def batches(self, recordings: Mapping[int, np.ndarray]) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
        """(keys of `recordings`, audio [B, S], samples [B]) of recordings as `heard` gives them, by length.

        Lengths and batch sizes come from few values, so that little is compiled; the batch's last rows may be empty.
        Raises: RejectedItem, see `check`.
        """
        groups: dict[int, list[int]] = {}
        for place, recording in recordings.items():
            groups.setdefault(bucket(self.check(recording)), []).append(place)
        for frames, places in sorted(groups.items()):
            most = batch_size(frames)
            for start in range(0, len(places), most):
                chosen = places[start : start + most]
                yield chosen, *self._pad([recordings[i] for i in chosen], frames)

    def check(self, recording: np.ndarray) -> int:
        """Frames of a recording. Raises: RejectedItem where it is shorter than a frame or too long for attention."""
        frames = self._frames(recording)
        if _is_long(recording):
            raise RejectedItem(
                "too long",
                f"{len(recording) / wav2vec2.SAMPLE_RATE:.0f} s of audio is longer than the {LONGEST_SEC} s that this "
                "model aligns; cut it into utterances, or give its words from files, as --aligner ctm:PATH does",
            )
        return frames

    def heard(self, recording: np.ndarray) -> np.ndarray:
        """A float32 recording at 16 kHz as the model hears it: standardised, where the model's directory says so."""
        return _standardised(recording) if self.normalise else recording

    def _frames(self, recording: np.ndarray) -> int:
        """Frames of a recording of any length. Raises: RejectedItem where it is shorter than a frame."""
        frames = int(self.arch.frames(len(recording)))
        if frames < 1:
            raise RejectedItem(
                "too short",
                f"{len(recording) / wav2vec2.SAMPLE_RATE:.3f} s of audio is less than the "
                f"{self.arch.window} samples a frame needs; leave it out",
            )
        return frames

    def map(self, function: Callable[..., Any], recordings: Sequence[np.ndarray]) -> list[np.ndarray | RejectedItem]:
        """function(params, audio [B, S], samples [B]) → [B, T, ...], cut into one array [frames, ...] per recording.

        A recording that is too short has its RejectedItem instead. One that is too long for attention is computed in
        pieces that overlap, so that its frames depend on what lies within MARGIN_SEC of them at least.
        """
        results: dict[int, list[np.ndarray] | RejectedItem] = {}
        pieces: list[_Piece] = []
        for place, recording in enumerate(recordings):
            try:
                own = self._pieces(place, recording)
                results[place], pieces = [np.zeros(0)] * len(own), pieces + own
            except RejectedItem as error:
                results[place] = error
        for numbers, audio_BS, samples_B in self.batches({n: piece.audio for n, piece in enumerate(pieces)}):
            out = np.asarray(function(self.params, audio_BS, samples_B))
            for row, piece in enumerate(pieces[n] for n in numbers):
                results[piece.place][piece.number] = out[row, piece.first : piece.end]
        return [
            result if isinstance(result, RejectedItem) else np.concatenate(result)
            for _, result in sorted(results.items())
        ]

    def _pieces(self, place: int, recording: np.ndarray) -> list["_Piece"]:
        """The pieces of a recording; one that is not too long is one piece. Raises: RejectedItem."""
        frames, audio = self._frames(recording), self.heard(recording)
        if not _is_long(recording):
            return [_Piece(place, 0, audio, 0, frames)]
        hop, pieces = self.arch.hop, []
        step, margin = (round(sec * wav2vec2.SAMPLE_RATE / hop) for sec in (PIECE_SEC, MARGIN_SEC))
        for number, begin in enumerate(range(0, frames, step)):
            end = min(begin + step, frames)
            first, last = max(0, begin - margin), min(frames, end + margin) - 1
            heard = audio[first * hop : last * hop + self.arch.window]
            pieces.append(_Piece(place, number, heard, begin - first, end - first))
        return pieces

    def hidden_states(self, recordings: Sequence[np.ndarray]) -> list[np.ndarray | RejectedItem]:
        """The hidden state float32 [frames, width] of each recording."""
        assert self.layer is not None
        return self.map(functools.partial(wav2vec2.hidden_state, arch=self.arch, layer=self.layer), recordings)

    def log_probs(self, recordings: Sequence[np.ndarray]) -> list[np.ndarray | RejectedItem]:
        """Log-probabilities float32 [frames, characters] of each recording."""
        assert self.layer is None
        return self.map(functools.partial(wav2vec2.log_probs, arch=self.arch), recordings)

    def _pad(self, recordings: Sequence[np.ndarray], frames: int) -> tuple[np.ndarray, np.ndarray]:
        rows = min(_power_of_two(len(recordings)), batch_size(frames))
        audio_BS = np.zeros((rows, self.arch.window + frames * self.arch.hop - 1), np.float32)
        samples_B = np.zeros(rows, np.int32)
        for row, recording in enumerate(recordings):
            samples_B[row] = len(recording)
            audio_BS[row, : len(recording)] = recording
        return audio_BS, samples_B


class _Piece(NamedTuple):
    """A part of a recording that the model hears at one time, and which of its frames are kept."""

    place: int  # of the recording
    number: int  # of the piece in it
    audio: np.ndarray
    first: int
    end: int


def _is_long(recording: np.ndarray) -> bool:
    return len(recording) > LONGEST_SEC * wav2vec2.SAMPLE_RATE


def bucket(frames: int) -> int:
    """The length that `frames` are padded to: at most a quarter more, four lengths an octave.

    Example: 64 -> 64; 65 -> 80; 100 -> 112; 1499 -> 1536
    """
    if frames <= SMALLEST_BUCKET:
        return SMALLEST_BUCKET
    step = 1 << ((frames - 1).bit_length() - 3)
    return -(-frames // step) * step


def batch_size(frames: int) -> int:
    """Recordings of a padded length that go together: a power of two, fewer the longer they are."""
    most = min(BATCH_FRAMES // frames, SQUARE_FRAMES // frames**2, MAX_BATCH)
    return 1 << max(most, 1).bit_length() - 1


def _standardised(recording: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1, with the 1e-7 of Hugging Face's feature extractor."""
    return (recording - recording.mean()) / np.sqrt(recording.var() + 1e-7)


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


def _fingerprint(params: Any, settings: str) -> str:
    digest = hashlib.sha256(settings.encode())
    for path, array in jax.tree_util.tree_leaves_with_path(params):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(array, "<f4").data)
    return digest.hexdigest()[:16]
