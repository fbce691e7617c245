"""Trees of recordings with transcripts, as corpora publish them.

LibriSpeech, LibriTTS:  SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt, lines `ID WORDS`, ID.flac or ID.wav beside it
MLS:                    transcripts.txt, lines `ID<tab>WORDS`, audio/SPEAKER/BOOK/SPEAKER_BOOK_NUMBER.flac below it
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare.corpora import line_parts, listing
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place

SUFFIXES = (".flac", ".wav", ".ogg", ".opus", ".mp3")
LIBRISPEECH_END, MLS_NAME = ".trans.txt", "transcripts.txt"


@dataclasses.dataclass(frozen=True)
class Trees:
    """Recordings of a tree (see the module), in the order of its transcript files.

    Example: "84-121123-0000 GO DO YOU HEAR" in 84/121123/84-121123.trans.txt
        -> Item("84-121123-0000", Path(".../84-121123-0000.flac"), "go do you hear", "84")
    """

    settings: Settings
    name: str = "tree"

    def files(self, place: Place) -> list[InputFile]:
        """See `Reader.files`."""
        if self.settings.where:
            raise DataError(
                f"{place}: a tree has no fields to select by {dict(self.settings.where)}; leave the filter out"
            )
        found = listing.input_files(place, _is_transcript)
        if not found:
            raise DataError(
                f"{place}: has no *{LIBRISPEECH_END} and no {MLS_NAME}; give a LibriSpeech-style tree "
                "SPEAKER/CHAPTER/*.trans.txt, or one of MLS"
            )
        return sorted(found, key=lambda file: (file.place.name == MLS_NAME, str(file.place)))

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `Reader.parts`."""
        return line_parts.parts(file, number, part_items)

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `Reader.read`. A blank or a tab parts id and words."""
        for _, place, line in line_parts.lines(part, self.settings.skip_bad):
            if isinstance(line, RejectedItem):
                yield BadItem(place, line.reason, f"{place}: {line}")
                continue
            name, *rest = re.split(r"\s", line.strip(), maxsplit=1)
            if name:
                yield _item(part.place, name, rest[0] if rest else "", place)
            elif self.settings.skip_bad:
                yield BadItem(place, "no transcript", f"{place}: is empty; each line must be `ID WORDS`")
            else:
                raise DataError(f"{place}: is empty; each line must be `ID WORDS`")


def _item(transcript: Place, name: str, text: str, place: str) -> Item:
    folder, speaker = transcript.parent, name.partition("-")[0]
    if transcript.name == MLS_NAME:
        speaker, _, rest = name.partition("_")
        folder = folder / "audio" / speaker / rest.partition("_")[0]
    return Item(name, _audio(folder / name), " ".join(text.lower().split()), speaker, place=place)


def _audio(stem: Place) -> Place:
    """The recording called so, of the first suffix that is there; .flac where none is, and in a bucket."""
    names = [stem.with_name(stem.name + suffix) for suffix in SUFFIXES]
    if not isinstance(stem, pathlib.Path):
        return names[0]
    return next((path for path in names if os.path.isfile(path)), names[0])  # False also for impossible names


def _is_transcript(name: str) -> bool:
    return name.endswith(LIBRISPEECH_END) or name.rpartition("/")[2] == MLS_NAME


def _is_at(place: Place) -> bool:
    if isinstance(place, pathlib.Path):
        return any(path for pattern in (f"*{LIBRISPEECH_END}", MLS_NAME) for path in place.rglob(pattern))
    return any(map(_is_transcript, objects.listing(place)))


LAYOUTS = (Layout("tree", "transcripts beside recordings, as of LibriSpeech and MLS", "speech", Trees, is_at=_is_at),)
