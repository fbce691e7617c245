"""What a corpus gives: parts that any process can read by itself, and items in them.

A reader knows one layout. It lists the files of a corpus, cuts them into parts, and reads the items of a part:

    files    from one listing, with sizes; nothing is opened
    parts    in order, as they are found: memory does not grow with the corpus
    items    of one part, read by whoever makes its records, on this machine or another
"""

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

from lst_jax.data.alignment import Placed
from lst_jax.prepare.corpora.audio_place import AudioPlace
from lst_jax.prepare.recordings import Recording
from lst_jax.storage.place import Place


@dataclasses.dataclass(frozen=True)
class Item:
    """A recording, or a part of it, and its transcript. `place` says where it is written down, for messages."""

    id: str
    audio: AudioPlace
    text: str
    speaker: str | None
    offset_sec: float = 0.0
    duration_sec: float | None = None
    channel: str | None = None
    language: str | None = None
    words: tuple[Placed, ...] | None = None  # with times from the corpus itself, in seconds from the item's start
    place: str = dataclasses.field(default="", compare=False)

    @property
    def recording(self) -> Recording:
        """Its sound."""
        return Recording(self.audio, self.offset_sec, self.duration_sec, self.channel)

    def identity(self) -> str:
        """A text that changes whenever the item means something else; its audio's content is not looked at."""
        part = (self.offset_sec, self.duration_sec, self.channel)
        said = f"{self.id}\0{self.text}\0{self.speaker}" + (f"\0{part}" if part != (0.0, None, None) else "")
        others = (self.language, self.words)
        return said + (f"\0{others}" if others != (None, None) else "")


@dataclasses.dataclass(frozen=True)
class TextItem:
    """A text document. `place` says where it is written down, for messages."""

    id: str
    text: str
    place: str = dataclasses.field(default="", compare=False)

    def identity(self) -> str:
        """A text that changes whenever the item means something else."""
        return f"{self.id}\0{self.text}"


@dataclasses.dataclass(frozen=True)
class BadItem:
    """A line that is no item: it is rejected for `reason` when it is prepared, and the others go on."""

    id: str  # where it is
    reason: str
    message: str  # says where it is as well
    place: str = ""
    stops: bool = dataclasses.field(default=False, compare=False)  # whether it ends a command without --skip-bad

    def identity(self) -> str:
        """See `Item.identity`."""
        return f"{self.id}\0{self.reason}\0{self.message}"


@dataclasses.dataclass(frozen=True)
class InputFile:
    """A file of a corpus, as a listing gives it. `version` changes with its content: a time, or a generation."""

    place: Place
    size: int
    version: str
    name: str  # for ids: the file's own, with as many folders before it as tell it from the others


@dataclasses.dataclass(frozen=True)
class Part:
    """Consecutive items of one input, small enough to be made in one go. It pickles in a few hundred bytes.

    What `start`, `first` and `count` count is the reader's business: bytes and lines of a file of lines, a row group
    and rows of a table, members of a tar. `entries` names the files of a part of a tree of small files.
    """

    name: str  # differs from that of every other part, and sorts in the corpus's order: "00002-0000017"
    place: Place
    digest: str  # changes with the content that the part is read from
    start: int = 0
    first: int = 0
    count: int = 0
    entries: tuple[str, ...] = ()
    input_name: str = ""  # `InputFile.name`
    size: int = 0  # bytes of the input that the part is, for the progress bar; 0 where the reader does not know


@typing.runtime_checkable
class Reader(typing.Protocol):
    """Reads one layout. It pickles as its settings; what it keeps in memory does not grow with the corpus."""

    name: str

    def files(self, place: Place) -> list[InputFile]:
        """The files at a place that the user names: the file, or those of a folder or a glob.

        Raises: DataError that names the place and what this layout needs there.
        """

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """Parts of about `part_items` items of file `number`, found as they are needed. Raises: DataError."""

    def read(self, part: Part) -> Iterator[Any]:
        """The items (Item, or TextItem, or BadItem) of a part, in order. Raises: DataError."""
