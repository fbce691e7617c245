"""Recordings: a file, a part of it, or one of its channels, read in blocks as 16 kHz mono.

Nothing here trusts a header: a file is read to its end in blocks, however long it says it is.
"""

import atexit
import contextlib
import dataclasses
import math
import os
import pathlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile
import soxr

from lst_jax.core.errors import DataError, RejectedItem, first_line
from lst_jax.prepare.audio import RATE, SHORTEST_SEC
from lst_jax.prepare.corpora import audio_place
from lst_jax.prepare.corpora.audio_place import AudioPlace
from lst_jax.storage.place import Place, to_place

BLOCK_SEC = 10
BLOCK_VALUES = 1 << 22  # of all channels: files with many channels have shorter blocks
LONGEST_SEC = 1200.0  # that is held in memory where blocks would do as well: 77 MB
LONGEST_WHOLE_SEC = 7200.0  # that is held where a model or an aligner needs all of it: 461 MB
RATES = (4000, 384_000)  # Hz, least and most; a file of another rate has a wrong header
END_SLACK_SEC = 0.1  # how far a part may reach beyond the end: other programs round
SEEKABLE_FORMATS = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC"})  # exactly, to the sample
UNKNOWN_LENGTH = 1 << 62  # frames; libsndfile gives such a number where the header has none
SAME_SOUND = 0.1  # channels whose difference has at most this share of the sum's energy say the same
TOO_LONG = "too long"  # the reason of what does not fit in memory
MEAN = "mean"  # a "channel": the mean of all


@dataclasses.dataclass(frozen=True)
class Recording:
    """Where a recording is: a file, its part from `offset_sec` for `duration_sec` (None: to the end), a channel.

    `channel` is a number from 1, a letter from A, left, right, or mean. Without one, the channels of a file must say the
    same: a mean of two speakers would be units of neither.
    """

    audio: AudioPlace
    offset_sec: float = 0.0
    duration_sec: float | None = None
    channel: str | None = None

    def samples(self, longest_sec: float = LONGEST_WHOLE_SEC) -> np.ndarray:
        """All samples, float32 at 16 kHz.

        Raises: RejectedItem where the file is missing, unreadable, too short, too long, silent, or not finite.
        """
        blocks, total = [], 0
        for block in self.blocks():
            blocks.append(block)
            total += len(block)
            if total > longest_sec * RATE:
                raise RejectedItem(
                    TOO_LONG,
                    f"{self.audio}: is longer than {longest_sec:g} s; cut it into utterances, with the fields offset "
                    "and duration",
                )
        return np.concatenate(blocks)

    def blocks(self) -> Iterator[np.ndarray]:
        """The samples in blocks of at most some seconds, float32 at 16 kHz.

        What is only known at the end (too short, silent, several channels) is raised there. Raises: as `samples`.
        """
        try:
            if not audio_place.is_there(self.audio):
                raise FileNotFoundError
            with _reading(self) as file:
                yield from self._resampled(file)
        except RejectedItem:
            raise
        except FileNotFoundError as error:
            raise RejectedItem("missing audio", f"{self.audio}: no such audio file; correct the path") from error
        except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
            # TypeError: soundfile takes a file called .raw for one without a header. ValueError: NUL in a path.
            raise RejectedItem(
                "unreadable audio",
                f"{self.audio}: cannot be read as audio ({_cause(error)}); give WAV, FLAC, Ogg or MP3",
            ) from error

    def _resampled(self, file: soundfile.SoundFile) -> Iterator[np.ndarray]:
        rate = file.samplerate
        if not RATES[0] <= rate <= RATES[1]:
            raise RejectedItem(
                "absurd rate",
                f"{self.audio}: says it has {rate} samples per second, speech has {RATES[0]} to {RATES[1]}; "
                "correct its header",
            )
        if rate == RATE:
            yield from self._mono(file)
            return
        resampler = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
        for block in self._mono(file):
            yield resampler.resample_chunk(block)
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)

    def _mono(self, file: soundfile.SoundFile) -> Iterator[np.ndarray]:
        """Samples of the chosen channel at the file's rate."""
        total, loud, column = 0, False, self._column(file.channels)
        apart = together = 0.0  # energy of the difference between channels, and of their sum
        for block in self._frames(file):
            if not np.isfinite(block).all():
                raise RejectedItem("NaN audio", f"{self.audio}: has samples that are not finite; make the file again")
            if column is None and file.channels > 1:
                mean = block.mean(axis=1)
                apart += float(np.square(block - mean[:, None], dtype=np.float64).mean(axis=1).sum())
                together += float(np.square(mean, dtype=np.float64).sum())
            mono = block.mean(axis=1) if column in (None, MEAN) else np.ascontiguousarray(block[:, column])
            total, loud = total + len(mono), loud or bool(mono.any())
            yield mono
        if total < SHORTEST_SEC * file.samplerate:
            raise RejectedItem(
                "too short",
                f"{self.audio}: is {total / file.samplerate:.3f} s long, shorter than one frame of {SHORTEST_SEC} s; "
                "leave it out",
            )
        if apart > SAME_SOUND * together:
            raise RejectedItem(
                "several channels",
                f"{self.audio}: has {file.channels} channels that say different things; choose one with the field "
                "channel or with --channel: 1 (left), 2 (right), or mean",
            )
        if not loud:
            raise RejectedItem("silent audio", f"{self.audio}: every sample is zero; make the file again")

    def _frames(self, file: soundfile.SoundFile) -> Iterator[np.ndarray]:
        """Frames [n, channels] of the part."""
        rate, size = file.samplerate, min(BLOCK_SEC * file.samplerate, max(1, BLOCK_VALUES // file.channels))
        skip = round(self.offset_sec * rate) - file.passed
        if skip and file.frames < UNKNOWN_LENGTH and file.format in SEEKABLE_FORMATS:
            skip -= file.seek(min(skip, file.frames))
        while skip > 0:
            passed = len(file.read(min(skip, size), dtype="float32", always_2d=True))
            if not passed:
                break
            skip -= passed
            file.passed += passed
        left = math.inf if self.duration_sec is None else round(self.duration_sec * rate)
        while left > 0 and skip <= 0:
            block = file.read(int(min(left, size)), dtype="float32", always_2d=True)
            if not len(block):
                break
            left -= len(block)
            file.passed += len(block)
            yield block
        if skip > 0 or (left < math.inf and left > END_SLACK_SEC * rate):
            until = "its end" if self.duration_sec is None else f"{self.offset_sec + self.duration_sec:g} s"
            raise RejectedItem(
                "beyond the end",
                f"{self.audio}: ends before the part from {self.offset_sec:g} s to {until} does; correct offset and "
                "duration",
            )

    def begins_behind(self, file: soundfile.SoundFile) -> bool:
        """Whether an open file has not yet gone past the first frame of this part."""
        return file.passed <= round(self.offset_sec * file.samplerate)

    def _column(self, channels: int) -> int | str | None:
        """The index of the wanted channel of `channels`, MEAN, or None where none is wanted."""
        if self.channel is None or self.channel == MEAN:
            return self.channel
        number = channel_number(self.channel)
        if number is None or number > channels:
            raise RejectedItem(
                "no such channel",
                f"{self.audio}: has {channels} channel{'s' * (channels != 1)}, not channel {self.channel}; channels are "
                "1, 2, … or A, B, …, left, right, or mean",
            )
        return number - 1


class _Sequential(soundfile.SoundFile):
    """A file that is read from its start to its end.

    soundfile seeks after every read of a file that can, and fails where the header does not say the length
    (python-soundfile#361). Told that it cannot seek, it reads on; `seek` itself still works.
    """

    passed = 0  # frames that were read, where nothing seeks
    source: pathlib.Path | BinaryIO | None = None

    def __init__(self, audio: AudioPlace):
        """Raises: as `audio_place.opened`, and soundfile's errors."""
        self.source = audio_place.opened(audio)
        try:
            super().__init__(self.source)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the object of a bucket as well, which is read ahead by another thread until then."""
        super().close()
        if self.source is not None and not isinstance(self.source, pathlib.Path):
            self.source.close()

    def seekable(self) -> bool:
        """No: see the class."""
        return False


class _Kept(NamedTuple):
    """A file that is open where a part of it ended, and what tells that it is the wanted one."""

    process: int  # who is forked shares the file's position with its parent
    audio: AudioPlace
    state: str
    file: _Sequential


_kept: _Kept | None = None


@contextlib.contextmanager
def _reading(part: Recording) -> Iterator[_Sequential]:
    """The file of a part. One that cannot seek, such as an hour of a podcast, is kept open for the part behind this one.

    Each of a hundred parts would be reached from the file's start otherwise: fifty hours are decoded for one.
    """
    global _kept
    state = audio_place.state(part.audio)
    kept, _kept = _kept, None
    if kept is not None and kept[:3] == (os.getpid(), part.audio, state) and part.begins_behind(kept.file):
        file = kept.file
    else:
        if kept is not None:
            kept.file.close()
        file = _Sequential(part.audio)
    try:
        yield file
    except BaseException:
        file.close()
        raise
    if part.duration_sec is None or file.format in SEEKABLE_FORMATS or isinstance(part.audio, audio_place.Content):
        file.close()
    else:
        _kept = _Kept(os.getpid(), part.audio, state, file)


def _forget() -> None:
    if _kept is not None:
        _kept.file.close()


atexit.register(_forget)


def load_audio(path: str | os.PathLike | Place, channel: str | None = MEAN) -> np.ndarray:
    """Samples of a whole file, float32 at 16 kHz; of several channels the mean, or the one that is named.

    Raises: as `Recording.samples`, also where there are several channels and `channel` is None.
    """
    return Recording(to_place(path), channel=channel).samples()


def channel_number(channel: str) -> int | None:
    """1, 2, … of a channel's name; None where it has no such form. Example: "B", "right" and "2" -> 2"""
    text = channel.strip().lower()
    if text in ("left", "right"):
        return 1 + (text == "right")
    if text.isascii() and text.isdigit() and 1 <= len(text) <= 4 and int(text) > 0:
        return int(text)
    return ord(text) - ord("a") + 1 if len(text) == 1 and "a" <= text <= "z" else None


def check_channel(option: str, channel: str | None) -> None:
    """Raises: DataError where the value of an option names no channel."""
    if channel is not None and channel != MEAN and channel_number(channel) is None:
        raise DataError(f"{option} {channel}: names no channel; use 1, 2, … or A, B, …, left, right, or {MEAN}")


def channels_of(audio: AudioPlace) -> int:
    """How many channels a file has; 1 where it cannot be read, which is for reading it to say."""
    try:
        with _Sequential(audio) as file:
            return file.channels
    except (soundfile.SoundFileError, OSError, TypeError, ValueError):
        return 1


def _cause(error: Exception) -> str:
    return first_line(error).split(": ")[-1].rstrip(".")
