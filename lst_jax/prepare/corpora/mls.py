"""Multilingual LibriSpeech (MLS), one language or one split of it.

    mls_LANGUAGE[_opus]/SPLIT/transcripts.txt                          lines `ID<tab>words`
    mls_LANGUAGE[_opus]/SPLIT/segments.txt                             lines `ID<tab>address<tab>start<tab>end`, in seconds
    mls_LANGUAGE[_opus]/SPLIT/audio/SPEAKER/BOOK/SPEAKER_BOOK_NUMBER.flac   or .opus

The lines of both files are in one order. An item whose segment is not in the same line has no duration. The words are
in lower case. Which suffix the audio has is looked at once per part. Source: https://www.openslr.org/94, Pratap et al. 2020.
"""

import dataclasses
import io
import itertools
import re
from collections.abc import Iterator

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare.corpora import line_parts, reading
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place

TRANSCRIPTS, SEGMENTS = "transcripts.txt", "segments.txt"
SPLITS = ("train", "dev", "test")
FOLDER = re.compile(r"mls_([a-z]+)(_opus)?")


@dataclasses.dataclass(frozen=True)
class Mls:
    """Reads transcripts.txt, with segments.txt beside it where it is there."""

    settings: Settings
    name = "mls"

    def __post_init__(self):
        reading.refuse_filter(self.settings, self.name)

    def files(self, place: Place) -> list[InputFile]:
        """See `protocol.Reader`."""
        needs = "a folder with transcripts.txt and audio/SPEAKER/BOOK below it"
        return reading.files_at(place, lambda path: path.rpartition("/")[2] == TRANSCRIPTS, self.name, needs)

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `protocol.Reader`. The entries of a part are the first byte, and the bytes, of its segments."""
        segments, start = file.place.with_name(SEGMENTS), 0
        with objects.open_to_read(segments) if objects.exists(segments) else io.BytesIO() as opened:
            for part in line_parts.parts(file, number, part_items):
                size = sum(map(len, itertools.islice(opened, part.count)))
                yield dataclasses.replace(part, entries=(str(start), str(size)))
                start += size

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `protocol.Reader`."""
        make = _Items(part.place, _lengths(part))
        yield from reading.items_of(line_parts.lines(part, skip_bad=True), self.settings, make)


def is_at(place: Place) -> bool:
    """Whether a folder is a split, a language or a folder of languages by its names."""
    languages = [place, *(place / name for name in objects.names(place) if FOLDER.fullmatch(name))]
    folders = [folder for language in languages for folder in (language, *(language / split for split in SPLITS))]
    return any({TRANSCRIPTS, "audio"} <= set(objects.names(folder)) for folder in folders)


class _Items:
    """The item of each line of one part; remembers which suffix its audio has."""

    def __init__(self, transcripts: Place, lengths: dict[str, float | None]):
        self.folder, self.lengths = transcripts.parent / "audio", lengths
        self.language = _language(transcripts)
        self.suffix: str | None = None

    def __call__(self, line: str, where: str) -> Iterator[Item]:
        name, *rest = re.split(r"\s", line.strip(), maxsplit=1)
        speaker, _, others = name.partition("_")
        stem = self.folder / speaker / others.partition("_")[0] / name
        if self.suffix is None:
            self.suffix = _suffix(stem)
        text, length = reading.lower(rest[0]) if rest else "", self.lengths[name] if name in self.lengths else None
        audio = stem.with_name(stem.name + (self.suffix or reading.AUDIO_SUFFIXES[0]))
        yield Item(name, audio, text, speaker, duration_sec=length, language=self.language, place=where)


def _suffix(stem: Place) -> str | None:
    """The suffix of a recording that is there."""
    return next((s for s in reading.AUDIO_SUFFIXES if objects.exists(stem.with_name(stem.name + s))), None)


def _lengths(part: Part) -> dict[str, float | None]:
    """Seconds of each utterance whose segment stands at the part's place in segments.txt."""
    start, size = map(int, part.entries)
    if not size:
        return {}
    segments = dataclasses.replace(part, place=part.place.with_name(SEGMENTS), start=start, size=size)
    found = {}
    for _, where, line in line_parts.lines(segments, skip_bad=True):
        fields = [] if isinstance(line, RejectedItem) else line.rstrip("\r\n").split("\t")
        if len(fields) == 4:
            try:
                length = reading.number_of_seconds(fields[3], "end") - reading.number_of_seconds(fields[2], "start")
            except RejectedItem as error:
                raise DataError(f"{where}: {error}") from error
            found[fields[0]] = length if length > 0 else None
    return found


def _language(transcripts: Place) -> str | None:
    """Example: mls_polish_opus/train/transcripts.txt -> "pl"."""
    for name in transcripts.parts:
        match = FOLDER.fullmatch(name)
        if match:
            return reading.language(match[1])
    return None


LAYOUTS = (Layout("mls", "MLS: transcripts.txt with audio/SPEAKER/BOOK beside it", "speech", Mls, is_at=is_at),)
