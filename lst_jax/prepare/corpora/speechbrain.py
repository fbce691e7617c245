"""SpeechBrain's tables of utterances, as its recipes write them: CSV or one JSON object; and the data.json of ESPnet 1.

    train.csv    ID,duration,wav,spk_id,wrd      and perhaps start,stop in samples
    train.json   {"ID": {"wav": "{data_root}/a.wav", "length": 1.5, "spk_id": "84", "words": "…"}, …}, where wav may be
                 {"file": "{data_root}/a.wav", "start": 8000, "stop": 16000}

The words are in `wrd`, `words`, `text`, `transcript` or `transcription`, whichever comes first. Samples become seconds at
`--sample-rate`, 16000 unless given. `{data_root}` or `$data_root`, or another name, stands for `--audio-root`.
Source: https://speechbrain.readthedocs.io (tutorial on data loading; speechbrain.dataio.dataset and dataio.read_audio).

ESPnet 1 (https://espnet.github.io/espnet, data.json); `feat` is read where `filetype` is `sound`, not in archives of Kaldi:

    {"utts": {"ID": {"input": [{"feat": "a.wav", "filetype": "sound"}], "output": [{"text": "…"}], "utt2spk": "84"}, …}}

ESPnet 2 has data directories of Kaldi (`text`, `wav.scp`), which `--layout espnet` reads too. Texts in capitals alone
become lower case.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.importers.formats import Option
from lst_jax.prepare.corpora import fields, json_parts, kaldi, line_parts, reading
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage.place import Place

WORDS = ("wrd", "words", "text", "transcript", "transcription")
LENGTHS = ("duration", "length")
RATE = 16000
SAMPLE_RATE = Option("sample_rate", f"samples per second of start and stop (default: {RATE})", metavar="HZ")
PLACEHOLDER = re.compile(r"^(?:\{\w+\}|\$[\w.]+)/?")


@dataclasses.dataclass(frozen=True)
class SpeechBrain:
    """Reads .csv and .json files."""

    settings: Settings
    name = "speechbrain"

    def __post_init__(self):
        rate = self.settings.options["sample_rate"] if "sample_rate" in self.settings.options else str(RATE)
        if not rate.isdecimal() or not int(rate):
            raise DataError(f"--sample-rate {rate}: must be a whole number of samples per second; correct it")

    def files(self, place: Place) -> list[InputFile]:
        """See `protocol.Reader`."""
        needs = "a .csv or .json file of SpeechBrain, or a folder of such files"
        return reading.files_at(place, lambda path: path.endswith((".csv", ".json")), self.name, needs)

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `protocol.Reader`."""
        if file.place.suffix == ".csv":
            return line_parts.parts(file, number, part_items)
        return json_parts.parts(file, number, part_items, self.settings.exact, None)

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `protocol.Reader`."""
        folder = part.place.parent
        if part.place.suffix == ".csv":
            make = functools.partial(self._items, folder)
            return reading.rows_of(
                part, self.settings, ",", ("ID", "wav"), lambda row, where: make(where, row["ID"], row)
            )
        return json_parts.items_of(part, _guarded(self.settings, functools.partial(self._items, folder)))

    def _items(self, folder: Place, where: str, name: str | None, row: Any) -> Iterator[Item]:
        if name is None or not isinstance(row, dict):
            raise RejectedItem("wrong type", "must be a member of an object, with an object as its value; correct it")
        if not fields.selected(row, self.settings.where):
            return
        wav, start, stop = self._sound(row)
        root = reading.audio_root(self.settings, folder)
        length = next((row[key] for key in LENGTHS if key in row and row[key] != ""), None)
        length_sec = None if length is None else reading.number_of_seconds(length, "duration") or None
        if stop is not None:
            length_sec = stop - start
        speaker = str(row["spk_id"]) if "spk_id" in row and row["spk_id"] not in ("", None) else None
        yield Item(name, self._audio(root, wav), _words(row), speaker, start, length_sec, place=where)

    def _sound(self, row: dict[str, Any]) -> tuple[str, float, float | None]:
        """(path, first second, last second) of an utterance, the last is None for the end. Raises: RejectedItem."""
        wav = reading.within(row, "wav")
        inside = wav if isinstance(wav, dict) else row
        path = reading.text_within(wav, "file") if isinstance(wav, dict) else reading.text_within(row, "wav")
        start, stop = (self._seconds(inside, key) for key in ("start", "stop"))
        if stop is not None and stop <= (start or 0.0):
            raise RejectedItem("wrong type", f"stops at {stop:g} s, before it starts; correct it")
        return path, start or 0.0, stop

    def _seconds(self, row: dict[str, Any], key: str) -> float | None:
        if key not in row or row[key] in ("", None):
            return None
        rate = self.settings.options["sample_rate"] if "sample_rate" in self.settings.options else RATE
        return reading.number_of_seconds(row[key], key) / int(rate)

    def _audio(self, root: Place, path: str) -> Place:
        marked = PLACEHOLDER.match(path)
        if marked and "audio_root" not in self.settings.options:
            raise RejectedItem(
                "no audio root", f"{path[:60]} begins with {marked[0]}; say with --audio-root what it stands for"
            )
        return fields.audio_at(root, path[marked.end() :] if marked else path)


@dataclasses.dataclass(frozen=True)
class Espnet:
    """Reads data.json of ESPnet 1, and data directories of ESPnet 2."""

    settings: Settings
    name = "espnet"

    def __post_init__(self):
        reading.refuse_filter(self.settings, self.name)

    @property
    def _directories(self) -> kaldi.Kaldi:
        return kaldi.Kaldi(self.settings, "espnet")

    def files(self, place: Place) -> list[InputFile]:
        """See `protocol.Reader`."""
        if place.suffix == ".json":
            return reading.files_at(place, lambda path: True, self.name, "a data.json of ESPnet")
        return self._directories.files(place)

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `protocol.Reader`."""
        if file.place.suffix == ".json":
            return json_parts.parts(file, number, part_items, self.settings.exact, "utts")
        return self._directories.parts(file, number, part_items)

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `protocol.Reader`."""
        if part.place.suffix != ".json":
            return self._directories.read(part)
        root = reading.audio_root(self.settings, part.place.parent)
        return json_parts.items_of(part, _guarded(self.settings, functools.partial(_espnet_items, root)))


def _espnet_items(root: Place, where: str, name: str | None, utterance: Any) -> Iterator[Item | BadItem]:
    if name is None:
        raise RejectedItem("wrong type", "utts must be an object of utterances; correct it")
    sound = reading.within(utterance, "input", 0)
    if not isinstance(sound, dict) or "filetype" not in sound or sound["filetype"] != "sound":
        yield reading.bad_item(name, where, "no audio file", f"{name}: has features, not the path of a recording")
        return
    text = reading.text_within(utterance, "output", 0, "text")
    speaker = reading.text_within(utterance, "utt2spk") if "utt2spk" in utterance else None
    language = reading.language(reading.text_within(utterance, "lang")) if "lang" in utterance else None
    audio = fields.audio_at(root, reading.text_within(sound, "feat"))
    yield Item(name, audio, reading.usual(text), speaker, language=language, place=where)


def _guarded(
    settings: Settings, make: Callable[[str, str | None, Any], Iterator[Item | BadItem]]
) -> Callable[[str, str | None, Any], Iterator[Item | BadItem]]:
    """`make`, where an element that is no item becomes a bad one, or stops the command."""

    def items(where: str, name: str | None, value: Any) -> Iterator[Item | BadItem]:
        try:
            yield from make(where, name, value)
        except RejectedItem as error:
            yield reading.bad_line(where if name is None else f"{where} ({name})", error, settings)

    return items


def _words(row: dict[str, Any]) -> str:
    key = next((key for key in WORDS if key in row), None)
    if key is None:
        raise RejectedItem("missing field", f"has no words: none of {', '.join(WORDS)}; add them")
    return reading.usual(reading.text_within(row, key))


LAYOUTS = (
    Layout(
        "speechbrain",
        "CSV or JSON of SpeechBrain's recipes",
        "speech",
        SpeechBrain,
        (reading.AUDIO_ROOT, SAMPLE_RATE),
    ),
    Layout("espnet", "data.json of ESPnet, or its data directories", "speech", Espnet, (reading.AUDIO_ROOT,)),
)
