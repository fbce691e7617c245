"""LibriLight's long recordings with the transcripts of Libriheavy, which are Lhotse's cuts.

    libriheavy_cuts_small.jsonl.gz        one cut per line: `start` and `duration` in seconds, one supervision, one recording
    AUDIO/small/100/BOOK/CHAPTER.flac     `recording.id` and its suffix, below the folder of LibriLight

The manifests name the audio by the path `download/librilight/…`, wherever LibriLight lies; `--audio-root` says where. A
supervision has two transcripts in `custom.texts`: the book's, with case and punctuation, and what was recognised, in
capitals; `--transcript` chooses. The manifests for recognition alone have `text` instead. LibriLight itself has none.
Source: https://github.com/k2-fsa/libriheavy (README), https://github.com/facebookresearch/libri-light (data_preparation).
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from lst_jax.core.errors import RejectedItem
from lst_jax.data import line_files
from lst_jax.data.importers.formats import Option
from lst_jax.prepare.corpora import fields, line_parts, reading
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place

BOOK, RECOGNISED = "book", "recognised"
TRANSCRIPT = Option("transcript", "which transcript of Libriheavy: book (default) or recognised", metavar="NAME")
SUFFIXES = (".jsonl", ".jsonl.gz")


@dataclasses.dataclass(frozen=True)
class LibriLight:
    """Reads the cuts; audio lies below `--audio-root`, else where the cut says, from the folder of the manifest."""

    settings: Settings
    name = "librilight"

    def __post_init__(self):
        reading.refuse_filter(self.settings, self.name)
        reading.check_options(self.settings, self.name, transcript=(BOOK, RECOGNISED))

    def files(self, place: Place) -> list[InputFile]:
        """See `protocol.Reader`."""
        needs = "a file libriheavy_cuts_*.jsonl.gz or their folder"
        return reading.files_at(place, lambda path: _is_manifest(path.rpartition("/")[2]), self.name, needs)

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `protocol.Reader`."""
        yield from line_parts.parts(file, number, part_items)

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `protocol.Reader`."""

        def items(line: str, where: str) -> Iterator[Item]:
            yield self._item(line_files.json_object(line), where, part.place.parent)

        yield from reading.items_of(line_parts.lines(part, skip_bad=True), self.settings, items)

    def _item(self, cut: Mapping[str, Any], where: str, folder: Place) -> Item:
        said, recording = _only(cut, "supervisions"), reading.within(cut, "recording")
        source = reading.text_within(_only(recording, "sources"), "source")
        custom = said["custom"] if "custom" in said else None
        texts = custom["texts"] if isinstance(custom, dict) and "texts" in custom else None
        number = 1 if self._transcript == RECOGNISED else 0
        text = reading.text_within(said, "text") if texts is None else reading.text_within(texts, number)
        recognised = texts is None or number == 1
        duration_sec = reading.number_of_seconds(reading.within(cut, "duration"), "duration")
        if not duration_sec:
            raise RejectedItem("wrong type", "duration=0: must be more than 0 seconds; correct it")
        return Item(
            reading.text_within(cut, "id"),
            self._audio(folder, reading.text_within(recording, "id"), source),
            reading.usual(text) if recognised else reading.plain(text),
            reading.text_within(said, "speaker") if "speaker" in said else None,
            reading.number_of_seconds(reading.within(cut, "start"), "start"),
            duration_sec,
            language=reading.language(reading.text_within(said, "language")) if "language" in said else None,
            place=where,
        )

    @property
    def _transcript(self) -> str:
        return self.settings.options["transcript"] if "transcript" in self.settings.options else BOOK

    def _audio(self, folder: Place, recording: str, source: str) -> Place:
        if "audio_root" not in self.settings.options:
            return fields.audio_at(folder, source)
        suffix = pathlib.PurePosixPath(source).suffix
        return fields.audio_at(reading.audio_root(self.settings, folder), recording + suffix)


def is_at(place: Place) -> bool:
    """Whether a folder has manifests of Libriheavy by their names."""
    return any(name.startswith("libriheavy_cuts_") and _is_manifest(name) for name in objects.names(place))


def _is_manifest(name: str) -> bool:
    return name.endswith(SUFFIXES)


def _only(fields: Any, key: str) -> Mapping[str, Any]:
    found = reading.within(fields, key)
    if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], dict):
        raise RejectedItem("several supervisions", f"{key} must be a list of one object; use --layout lhotse")
    return found[0]


LAYOUTS = (
    Layout(
        "librilight",
        "Libriheavy's cuts of LibriLight's recordings",
        "speech",
        LibriLight,
        (reading.AUDIO_ROOT, TRANSCRIPT),
        is_at=is_at,
    ),
)
