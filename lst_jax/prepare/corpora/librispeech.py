"""LibriSpeech, and trees of the same form: recordings of chapters beside one file with their transcripts.

    SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt    lines `ID WORDS`, parted by a blank or a tab
    SPEAKER/CHAPTER/ID.flac                      or .wav, .ogg, .opus, .mp3

The words are capitals alone in the corpus, and become lower case. The layout says neither how long its recordings are nor
their language.
Source: https://www.openslr.org/12 (README.TXT of the archives), Panayotov et al. 2015.
"""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Iterator

from lst_jax.prepare.corpora import groups, reading
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place
from lst_jax.storage.walk import walk

TRANSCRIPTS = ".trans.txt"
LOOKED_AT = 2  # folders of each level, when a tree in a bucket is to be recognised: each takes a request
LEVELS = 5


@dataclasses.dataclass(frozen=True)
class LibriSpeech:
    """Reads such trees; an entry of a part is a file of transcripts."""

    settings: Settings
    name = "librispeech"

    def __post_init__(self):
        reading.refuse_filter(self.settings, self.name)

    def files(self, place: Place) -> list[InputFile]:
        """See `protocol.Reader`."""
        needs = "a folder with SPEAKER/CHAPTER/*.trans.txt below it"
        return reading.tree_at(place, self.name, needs, lambda path: path.endswith(TRANSCRIPTS))

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `protocol.Reader`."""
        exact = self.settings.exact
        return groups.entry_parts(file, number, part_items, exact, _transcript_files(file.place, exact))

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `protocol.Reader`."""
        items = (item for entry in part.entries for item in self._items(part.place / entry))
        return groups.chosen(items, part.first, part.count)

    def _items(self, transcript: Place) -> Iterator[Item | BadItem]:
        beside = reading.audio_names(objects.names(transcript.parent))
        make = functools.partial(_items, transcript.parent, beside)
        yield from reading.items_of(reading.lines_of_small_file(transcript), self.settings, make)


def is_at(place: Place) -> bool:
    """Whether a tree has a file of transcripts; in a bucket, whether one of its first folders has."""
    if isinstance(place, pathlib.Path):
        return any(one.name.endswith(TRANSCRIPTS) for _, inside in walk(place) for one in inside)
    level = [place]
    for _ in range(LEVELS):
        below = []
        for folder in level:
            names = objects.names(folder)
            if any(name.endswith(TRANSCRIPTS) for name in names):
                return True
            below += [folder / name for name in names if "." not in name][:LOOKED_AT]
        level = below
    return False


def _transcript_files(root: Place, exact: bool) -> Iterator[groups.Entry]:
    """The files of transcripts, and how many items each gives: as many as recordings lie there, or `exact`, its lines."""
    for _, inside in walk(root):
        transcripts = [one for one in inside if one.name.endswith(TRANSCRIPTS)]
        recordings = sum(one.name.lower().endswith(reading.AUDIO_SUFFIXES) for one in inside)
        version = str([(one.name, one.size, one.version) for one in inside])
        for one in transcripts:
            lines = reading.count_of_lines(root / one.path) if exact else recordings // len(transcripts)
            yield groups.Entry((one.path,), lines if exact else max(1, lines), one.size, version)


def _items(folder: Place, beside: dict[str, str], line: str, where: str) -> Iterator[Item]:
    name, *rest = re.split(r"\s", line.strip(), maxsplit=1)
    audio = beside[name] if name in beside else f"{name}{reading.AUDIO_SUFFIXES[0]}"
    yield Item(name, folder / audio, reading.lower(rest[0]) if rest else "", name.partition("-")[0], place=where)


LAYOUTS = (
    Layout("librispeech", "a tree of *.trans.txt with .flac or .wav beside them", "speech", LibriSpeech, is_at=is_at),
)
