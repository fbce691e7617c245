"""LJSpeech: one voice, one table.

    metadata.csv      ID|transcript|transcript with numbers and abbreviations written out; no header, no quoting
    wavs/ID.wav

The third column is taken, or the second where a line has two, as corpora that copy the layout have. Case and punctuation
are kept. Source: https://keithito.com/LJ-Speech-Dataset (README of the archive).
"""

import dataclasses
from collections.abc import Iterator

from lst_jax.core.errors import RejectedItem
from lst_jax.prepare.corpora import line_parts, reading
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place

TABLE, WAVS = "metadata.csv", "wavs"


@dataclasses.dataclass(frozen=True)
class LjSpeech:
    """Reads metadata.csv. The speaker of `LJ001-0001` is LJ; of ids of another form, nobody."""

    settings: Settings
    name = "ljspeech"

    def __post_init__(self):
        reading.refuse_filter(self.settings, self.name)

    def files(self, place: Place) -> list[InputFile]:
        """See `protocol.Reader`."""
        table = place / TABLE if objects.exists(place / TABLE) else place
        return reading.files_at(table, lambda path: path == TABLE, self.name, f"a folder with {TABLE} and {WAVS}")

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `protocol.Reader`."""
        return line_parts.parts(file, number, part_items)

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `protocol.Reader`."""
        wavs = part.place.parent / WAVS

        def items(line: str, where: str) -> Iterator[Item]:
            cells = line.split("|")
            if len(cells) not in (2, 3) or not cells[0]:
                raise RejectedItem("wrong columns", f"has {len(cells)} columns parted by |; it needs ID|text|text")
            speaker, language = ("LJ", "en") if cells[0].startswith("LJ") else (None, None)
            text = reading.plain(cells[-1])
            yield Item(cells[0], wavs / f"{cells[0]}.wav", text, speaker, language=language, place=where)

        return reading.items_of(line_parts.lines(part, skip_bad=True), self.settings, items)


def is_at(place: Place) -> bool:
    """Whether a folder has the table beside its recordings."""
    return {TABLE, WAVS} <= set(objects.names(place))


LAYOUTS = (Layout("ljspeech", "metadata.csv with wavs beside it", "speech", LjSpeech, is_at=is_at),)
