"""Data directories of Kaldi, and those of ESPnet 2, which are of the same form.

    text        UTTERANCE WORDS                           wav.scp     RECORDING PATH
    segments    UTTERANCE RECORDING START END [CHANNEL]   utt2spk     UTTERANCE SPEAKER
    utt2lang    UTTERANCE LANGUAGE                        utt2dur     UTTERANCE SECONDS

`text` and `wav.scp` must be there. Without `segments` an utterance is the whole recording of its name. All files are sorted
by their first field with LC_ALL=C, as Kaldi requires: so each line is found without holding a file in memory. An END of -1
is the end of the recording; channels count from 0. Relative paths begin at `--audio-root`, else at the directory. A
wav.scp whose lines are commands (`sox … |`), or point into archives (`wav.ark:1234`), has no files to read: such
utterances are rejected. The words are kept as they are, but for lower case where a transcript has capitals alone.
Source: https://kaldi-asr.org/doc/data_prep.html, https://github.com/espnet/data_example.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Literal

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare.corpora import fields, line_parts, reading
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.prepare.corpora.sorted_lines import SortedLines
from lst_jax.storage import objects
from lst_jax.storage.place import Place

TEXT, RECORDINGS, SEGMENTS = "text", "wav.scp", "segments"
OF_UTTERANCES = ("utt2spk", "utt2lang", "utt2dur")
ARCHIVE = re.compile(r".*\.ark(\.gz)?:\d+(\[.*\])?")
NEEDS = "a data directory of Kaldi, with text and wav.scp"
SORT = "sort it with LC_ALL=C sort, as Kaldi's utils/fix_data_dir.sh does"


@dataclasses.dataclass(frozen=True)
class Kaldi:
    """Reads data directories; a part is some lines of `text`, with the lines of the other files that belong to them."""

    settings: Settings
    name: Literal["kaldi", "espnet"] = "kaldi"

    def __post_init__(self):
        reading.refuse_filter(self.settings, self.name)

    def files(self, place: Place) -> list[InputFile]:
        """See `protocol.Reader`."""
        place = place / TEXT if objects.exists(place / TEXT) else place
        found = reading.files_at(place, lambda path: path.rpartition("/")[2] == TEXT, self.name, NEEDS)
        for file in found:
            if not objects.exists(file.place.with_name(RECORDINGS)):
                raise DataError(f"{file.place.parent}: has {TEXT} and no {RECORDINGS}; give {NEEDS}")
        return found

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `protocol.Reader`."""
        return line_parts.parts(file, number, part_items)

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `protocol.Reader`."""
        said = _Said(part)
        folder = reading.audio_root(self.settings, part.place.parent)

        def items(line: str, where: str) -> Iterator[Item | BadItem]:
            name, *rest = line.split(None, 1)
            try:
                yield said.item(name, rest[0] if rest else "", folder, where)
            except RejectedItem as error:
                yield reading.bad_item(name, where, error.reason, f"{name}: {error}")

        yield from reading.items_of(line_parts.lines(part, skip_bad=True), self.settings, items)


class _Said:
    """What the other files of a directory say of the utterances of a part."""

    def __init__(self, part: Part):
        names = sorted(_keys(part))
        self.others = {name: self._of(part.place.with_name(name), names) for name in (*OF_UTTERANCES, SEGMENTS)}
        self.cut = objects.exists(part.place.with_name(SEGMENTS))
        recordings = {line.split()[0] for line in self.others[SEGMENTS].values() if line} if self.cut else set(names)
        self.paths = self._of(part.place.with_name(RECORDINGS), sorted(recordings))

    @staticmethod
    def _of(place: Place, names: list[str]) -> Mapping[str, str]:
        """What a file says of each of these names. Empty where there is no file."""
        if not names or not objects.exists(place):
            return {}
        wanted = {name.encode() for name in names}
        found = SortedLines(place).between(min(wanted), max(wanted))
        return {key.decode(): rest.decode(errors="replace") for key, rest in found if key in wanted}

    def item(self, name: str, text: str, folder: Place, where: str) -> Item:
        """The item of an utterance. Raises: RejectedItem."""
        recording, start_sec, duration_sec, channel = self._segment(name)
        if recording not in self.paths:
            raise RejectedItem("missing audio", f"has no recording {recording} in {RECORDINGS}; add it, or {SORT}")
        path = self.paths[recording]
        if path.endswith("|") or ARCHIVE.fullmatch(path):
            what = "a command" if path.endswith("|") else "a place in an archive"
            raise RejectedItem("no audio file", f"{RECORDINGS} has {what}, {path[:60]!r}; write the audio into files")
        speaker, language = (self._one(file, name) for file in ("utt2spk", "utt2lang"))
        return Item(
            name,
            fields.audio_at(folder, path),
            reading.usual(text),
            speaker,
            start_sec,
            duration_sec,
            channel,
            None if language is None else reading.language(language),
            place=where,
        )

    def _one(self, file: str, name: str) -> str | None:
        return self.others[file][name] if name in self.others[file] else None

    def _segment(self, name: str) -> tuple[str, float, float | None, str | None]:
        """(recording, first second, seconds or None for all, channel) of an utterance. Raises: RejectedItem."""
        if not self.cut:
            length = self._one("utt2dur", name)
            return name, 0.0, None if length is None else reading.number_of_seconds(length, "utt2dur"), None
        line = self._one(SEGMENTS, name)
        if line is None:
            raise RejectedItem("missing segment", f"has no line in {SEGMENTS}; add it, or {SORT}")
        recording, *rest = line.split() or [""]
        if len(rest) not in (2, 3):
            raise RejectedItem("wrong type", f"{SEGMENTS} must have UTTERANCE RECORDING START END; correct its line")
        start_sec = reading.number_of_seconds(rest[0], "start")
        end_sec = None if _number(rest[1]) == -1 else reading.number_of_seconds(rest[1], "end")
        if end_sec is not None and end_sec <= start_sec:
            raise RejectedItem("wrong type", f"ends at {end_sec:g} s in {SEGMENTS}, before it begins; correct its line")
        channel = str(int(rest[2]) + 1) if len(rest) == 3 and rest[2].isdecimal() else None
        return recording, start_sec, None if end_sec is None else round(end_sec - start_sec, 6), channel


def is_at(place: Place) -> bool:
    """Whether a folder is a data directory."""
    return {TEXT, RECORDINGS} <= set(objects.names(place))


def _number(text: str) -> float:
    """The number that a text is; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _keys(part: Part) -> Iterator[str]:
    for _, _, line in line_parts.lines(part, skip_bad=True):
        if not isinstance(line, RejectedItem) and line.strip():
            yield line.split(None, 1)[0]


LAYOUTS = (
    Layout(
        "kaldi",
        "a data directory of Kaldi: text, wav.scp, segments",
        "speech",
        Kaldi,
        (reading.AUDIO_ROOT,),
        is_at=is_at,
    ),
)
