"""The People's Speech, as its archives unpack: JSON lines of whole recordings beside folders of their pieces.

    train/clean.json       one recording per line: {"identifier": "…", "training_data":
                           {"duration_ms": [15920, …], "label": ["the words", …], "name": ["x_00000.flac", …]}}
    train/clean/NAME       the pieces; `train/clean/clean_000000.tar` and so on must be unpacked here

So are train/dirty, train/clean_sa, train/dirty_sa, validation/validation and test/test. The dataset on Hugging Face is
Parquet: `--layout huggingface` reads that. The words are in lower case; the recordings are English, and name no speaker.
Source: https://mlcommons.org/datasets/peoples-speech, https://huggingface.co/datasets/MLCommons/peoples_speech_v1.0,
Galvez et al. 2021.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

from lst_jax.core.errors import RejectedItem
from lst_jax.data import line_files
from lst_jax.prepare.corpora import groups, line_parts, reading
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place

SUBSETS = ("clean", "clean_sa", "dirty", "dirty_sa", "validation", "test")
COLUMNS = ("duration_ms", "label", "name")


@dataclasses.dataclass(frozen=True)
class PeoplesSpeech:
    """Reads the manifests of subsets. The entries of a part are the numbers of `groups.Group`."""

    settings: Settings
    name = "peoples-speech"

    def __post_init__(self):
        reading.refuse_filter(self.settings, self.name)

    def files(self, place: Place) -> list[InputFile]:
        """See `protocol.Reader`. In a folder, the manifests of subsets whose folders lie beside them."""
        needs = "a manifest such as train/clean.json with the folder train/clean beside it"
        if not objects.is_folder(place):
            return reading.files_at(place, lambda path: True, self.name, needs)
        folders = [place, *(place / split for split in ("train", "validation", "test"))]
        found = [
            folder / f"{subset}.json"
            for folder in folders
            for subset in SUBSETS
            if {subset, f"{subset}.json"} <= set(objects.names(folder))
        ]
        return [
            file for one in found or [place] for file in reading.files_at(one, lambda path: False, self.name, needs)
        ]

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `protocol.Reader`."""
        for index, group in enumerate(groups.grouped(_lines(file.place), part_items, self.settings.exact)):
            (first, start, _, _), *_ = group.things
            size = sum(one[2] for one in group.things)
            digest = hashlib.sha256(repr((group.skip, group.take, group.things)).encode()).hexdigest()[:16]
            name, inside = line_parts.part_name(number, index), (str(group.skip), str(group.take))
            yield Part(name, file.place, digest, start, first, len(group.things), inside, file.name, size)

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `protocol.Reader`."""
        folder = part.place.parent / part.place.name.removesuffix(".json")

        def items(line: str, where: str) -> Iterator[Item | BadItem]:
            for length_ms, text, name in _pieces(line):
                try:
                    yield _item(length_ms, text, name, folder, where)
                except RejectedItem as error:
                    yield reading.bad_line(where, error, self.settings)

        found = reading.items_of(line_parts.lines(part, skip_bad=True), self.settings, items)
        return groups.chosen(found, *map(int, part.entries))


def _lines(place: Place) -> Iterator[tuple[tuple[int, int, int, str], int]]:
    """(number, first byte, bytes, digest) of each line, and how many items it gives."""
    start = 0
    with objects.open_to_read(place) as opened:
        for number, line in enumerate(opened, 1):
            yield (number, start, len(line), hashlib.sha256(line).hexdigest()), _count(line)
            start += len(line)


def _count(line: bytes) -> int:
    try:
        return len(_pieces(line.decode())) if line.strip() else 0
    except (RejectedItem, UnicodeDecodeError):
        return 1


def _pieces(line: str) -> list[tuple[Any, Any, Any]]:
    """(milliseconds, words, name) of the pieces of a recording. Raises: RejectedItem."""
    columns = [reading.within(line_files.json_object(line), "training_data", column) for column in COLUMNS]
    if not all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        raise RejectedItem("wrong columns", f"{', '.join(COLUMNS)} must be lists of one length; correct it")
    return list(zip(*columns, strict=True))


def _item(length_ms: Any, text: Any, name: Any, folder: Place, where: str) -> Item:
    fields = {"label": text, "name": name}
    name = reading.text_within(fields, "name")
    length_sec = reading.number_of_seconds(length_ms, "duration_ms") / 1000
    if not length_sec:
        raise RejectedItem("wrong type", f"{name}: duration_ms=0: must be more than 0; correct it")
    words = reading.usual(reading.text_within(fields, "label"))
    return Item(name.rpartition(".")[0] or name, folder / name, words, None, 0.0, length_sec, None, "en", place=where)


def is_at(place: Place) -> bool:
    """Whether a folder, or its train, has a manifest of a subset beside the subset's folder."""
    folders = [place, place / "train"]
    return any({"clean", "clean.json"} <= set(objects.names(folder)) for folder in folders)


LAYOUTS = (
    Layout(
        "peoples-speech",
        "People's Speech, unpacked: train/clean.json, train/clean",
        "speech",
        PeoplesSpeech,
        is_at=is_at,
    ),
)
