"""GigaSpeech: long recordings whose segments are listed in one JSON document.

    GigaSpeech.json                              {"language": "EN", "audios": [{"aid", "path", "segments": [...]}, ...]}
    audio/podcast/P0000/POD0000000001.opus       `path`, from the folder of GigaSpeech.json

A segment is {"sid", "speaker", "begin_time", "end_time", "subsets", "text_tn"}, in seconds. Its text is in capitals, with
<COMMA>, <PERIOD>, <QUESTIONMARK> and <EXCLAMATIONPOINT>; it becomes lower case with these marks. Segments that are nothing
but <SIL>, <MUSIC>, <NOISE> or <OTHER> are rejected as having no speech. `--subset` takes one of XS, S, M, L, XL, DEV, TEST.
Source: https://github.com/SpeechColab/GigaSpeech (README), Chen et al. 2021.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from lst_jax.core.errors import RejectedItem
from lst_jax.data.importers.formats import Option
from lst_jax.prepare.corpora import fields, json_parts, reading
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place

FILE = "GigaSpeech.json"
PUNCTUATION = {"<COMMA>": ",", "<PERIOD>": ".", "<QUESTIONMARK>": "?", "<EXCLAMATIONPOINT>": "!"}
NO_SPEECH = frozenset({"<SIL>", "<MUSIC>", "<NOISE>", "<OTHER>"})
SUBSETS = ("XS", "S", "M", "L", "XL", "DEV", "TEST")
SUBSET = Option("subset", f"only the segments of a subset: {', '.join(SUBSETS)}", metavar="NAME")
NO_SPEAKER = "N/A"


@dataclasses.dataclass(frozen=True)
class GigaSpeech:
    """Reads GigaSpeech.json, one recording with its segments at a time."""

    settings: Settings
    name = "gigaspeech"

    def __post_init__(self):
        reading.refuse_filter(self.settings, self.name)
        reading.check_options(self.settings, self.name, subset=SUBSETS)

    def files(self, place: Place) -> list[InputFile]:
        """See `protocol.Reader`."""
        return reading.files_at(place, lambda path: path == FILE, self.name, f"{FILE} or its folder")

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `protocol.Reader`."""
        exact = self.settings.exact
        yield from json_parts.parts(file, number, part_items, exact, "audios", lambda audio: len(self._segments(audio)))

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `protocol.Reader`."""
        folder = reading.audio_root(self.settings, part.place.parent)

        def items(where: str, _: str | None, audio: Any) -> Iterator[Item | BadItem]:
            for segment in self._segments(audio):
                try:
                    yield _item(audio, segment, folder, where)
                except RejectedItem as error:
                    yield reading.bad_line(where, error, self.settings)

        return json_parts.items_of(part, items)

    def _segments(self, audio: Any) -> list[Any]:
        """The segments of the subset; an audio that is none is one bad segment."""
        segments = audio["segments"] if isinstance(audio, dict) and "segments" in audio else None
        subset = self.settings.options["subset"] if "subset" in self.settings.options else None
        return [segment for segment in segments if _is_of(segment, subset)] if isinstance(segments, list) else [None]


def _is_of(segment: Any, subset: str | None) -> bool:
    if subset is None or not isinstance(segment, dict):
        return True
    return "subsets" in segment and isinstance(segment["subsets"], list) and f"{{{subset}}}" in segment["subsets"]


def is_at(place: Place) -> bool:
    """Whether a folder has GigaSpeech.json."""
    return objects.exists(place / FILE)


def text_of(tagged: str) -> str:
    """Example: "HELLO <COMMA> WORLD <PERIOD>" -> "hello, world." """
    words: list[str] = []
    for word in tagged.split():
        if word in PUNCTUATION and words:
            words[-1] += PUNCTUATION[word]
        elif word not in PUNCTUATION:
            words.append(word.lower())
    return " ".join(words)


def _item(audio: Any, segment: Mapping[str, Any], folder: Place, where: str) -> Item | BadItem:
    name, tagged = reading.text_within(segment, "sid"), reading.text_within(segment, "text_tn")
    begin_sec = reading.number_of_seconds(reading.within(segment, "begin_time"), "begin_time")
    end_sec = reading.number_of_seconds(reading.within(segment, "end_time"), "end_time")
    if tagged and not set(tagged.split()) - NO_SPEECH:
        return reading.bad_item(name, where, "no speech", f"{name}: is {tagged}, which is no speech; it is left out")
    if end_sec <= begin_sec:
        raise RejectedItem("wrong type", f"{name}: ends at {end_sec:g} s, before it begins; correct its times")
    speaker = reading.text_within(segment, "speaker") if "speaker" in segment else NO_SPEAKER
    return Item(
        name,
        fields.audio_at(folder, reading.text_within(audio, "path")),
        text_of(tagged),
        None if speaker == NO_SPEAKER else speaker,
        begin_sec,
        round(end_sec - begin_sec, 6),
        language="en",
        place=where,
    )


LAYOUTS = (
    Layout(
        "gigaspeech",
        "GigaSpeech.json and the recordings that it lists",
        "speech",
        GigaSpeech,
        (SUBSET, reading.AUDIO_ROOT),
        is_at=is_at,
    ),
)
