"""Where the sound of an item lies: a file, an object of a bucket, a stretch of either, or bytes at hand."""

import dataclasses
import io
import os
import pathlib
from typing import BinaryIO

from lst_jax.storage import objects
from lst_jax.storage.place import Place, in_bucket


@dataclasses.dataclass(frozen=True)
class Stretch:
    """`size` bytes of a file from byte `start`: a member of a tar. `name` is the member's, for messages."""

    place: Place
    start: int
    size: int
    name: str

    def __str__(self) -> str:
        return f"{self.place}: {self.name}"


@dataclasses.dataclass(frozen=True)
class Content:
    """The bytes of an audio file that lie in a column of a table. `name` says where, for messages."""

    content: bytes = dataclasses.field(repr=False)
    name: str

    def __str__(self) -> str:
        return self.name


AudioPlace = Place | Stretch | Content


def opened(audio: AudioPlace) -> pathlib.Path | BinaryIO:
    """What soundfile opens: the path of a local file, else a file object that can seek.

    Objects of buckets are read by ranges, as a part of a long recording needs few of them.
    Raises: FileNotFoundError, OSError, StorageError.
    """
    if isinstance(audio, pathlib.Path):
        return audio
    if isinstance(audio, Content):
        return io.BytesIO(audio.content)
    if isinstance(audio, Stretch):
        return io.BytesIO(objects.read_range(audio.place, audio.start, audio.size))
    return objects.open_to_read(audio)


def is_there(audio: AudioPlace) -> bool:
    """Whether there is a file. An object of a bucket is held to be there until it is read, as each look takes a request."""
    if isinstance(audio, pathlib.Path):
        return audio.is_file()
    return True


def state(audio: AudioPlace) -> str:
    """Size and time of change: enough to see that a local file was replaced, without reading hours of audio.

    Of what lies in buckets, and inside other files, nothing is asked: a request each would take days.
    """
    path = audio.place if isinstance(audio, Stretch) else audio
    if isinstance(path, Content) or in_bucket(path):
        return "not looked at"
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns}"
