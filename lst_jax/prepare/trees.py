"""Trees of recordings with transcripts, as corpora publish them.

LibriSpeech, LibriTTS:  SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt, lines `ID WORDS`, ID.flac or ID.wav beside it
MLS:                    transcripts.txt, lines `ID<tab>WORDS`, audio/SPEAKER/BOOK/SPEAKER_BOOK_NUMBER.flac below it
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator

from lst_jax.core.errors import DataError
from lst_jax.data import line_files

SUFFIXES = (".flac", ".wav", ".ogg", ".opus", ".mp3")


@dataclasses.dataclass(frozen=True)
class Transcribed:
    """A recording and its transcript; `place` is where the transcript stands."""

    id: str
    audio_path: pathlib.Path
    text: str
    speaker: str
    place: str


def read_tree(root: pathlib.Path) -> list[Transcribed]:
    """The recordings of a tree (see the module), in the order of its transcript files.

    Example: "84-121123-0000 GO DO YOU HEAR" in 84/121123/84-121123.trans.txt
        -> Transcribed("84-121123-0000", Path(".../84-121123-0000.flac"), "GO DO YOU HEAR", "84", ...)
    Raises: DataError where there is no transcript file or a line is not "ID WORDS".
    """
    found: list[Transcribed] = []
    for transcript in sorted(root.glob("**/*.trans.txt")):
        found += _librispeech(transcript)
    for transcript in sorted(root.glob("**/transcripts.txt")):
        found += _mls(transcript)
    if not found:
        raise DataError(
            f"{root}: has no *.trans.txt and no transcripts.txt; give a LibriSpeech-style tree "
            "SPEAKER/CHAPTER/*.trans.txt, or one of MLS"
        )
    return found


def _librispeech(transcript: pathlib.Path) -> Iterator[Transcribed]:
    for name, text, place in _transcripts(transcript):
        yield Transcribed(name, _audio(transcript.parent / name), text, name.partition("-")[0], place)


def _mls(transcript: pathlib.Path) -> Iterator[Transcribed]:
    for name, text, place in _transcripts(transcript):
        speaker, _, rest = name.partition("_")
        folder = transcript.parent / "audio" / speaker / rest.partition("_")[0]
        yield Transcribed(name, _audio(folder / name), text, speaker, place)


def _transcripts(path: pathlib.Path) -> Iterator[tuple[str, str, str]]:
    """(id, words, place) of each line; a blank or a tab parts the two."""
    for _, place, line in line_files.lines(path):
        name, *rest = re.split(r"\s", line.strip(), maxsplit=1)
        if not name:
            raise DataError(f"{place}: is empty; each line must be `ID WORDS`")
        yield name, rest[0] if rest else "", place


def _audio(stem: pathlib.Path) -> pathlib.Path:
    """The recording called so, of the first suffix that is there; .flac where none is."""
    names = [stem.with_name(stem.name + suffix) for suffix in SUFFIXES]
    return next((path for path in names if os.path.isfile(path)), names[0])  # False also for impossible names
