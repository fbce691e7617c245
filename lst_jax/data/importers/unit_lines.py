"""Plain JSON lines of units and words in seconds: the simplest way into this program, and a lossless way out.

    {"id": "u1", "units": [5, 5, 9], "unit_rate": 25.0, "words": [["a", 0.08, 0.12]], "speaker": "s1", "source": "mine"}

`words`, `speaker` and `source` may be missing; `unit_rate` too where the caller gives it.
"""

import json
from collections.abc import Iterator
from typing import Any

from lst_jax.core import json_files
from lst_jax.core.errors import RejectedItem
from lst_jax.data.alignment import fit_frames, to_seconds
from lst_jax.data.importers import base
from lst_jax.data.importers.formats import Export, Path, UnitFormat, Units
from lst_jax.data.records import Utterance, check_utterance

HIGHEST_RATE = 1e6  # units per second: beyond it, it is no rate
FIELDS = {"id", "units", "unit_rate", "words", "speaker", "source"}


def read(
    path: Path,
    unit_rate: float,
    codebook_size: int,
    source: str | None = None,
    on_bad: base.OnBad = base.stop,
) -> Iterator[Utterance]:
    """The utterances of such a file; `source` goes into those that name none.

    Raises: RejectedItem (a DataError) naming file and line, by default.
    """

    def parse(item: tuple[str, str | RejectedItem]) -> tuple[str, Utterance]:
        place, line = item
        return place, parse_line(base.json_object(line), unit_rate, codebook_size, source)

    return base.unique(base.converted(base.items_of_lines(path), parse, on_bad), on_bad)


def parse_line(fields: dict[str, Any], unit_rate: float, codebook_size: int, source: str | None) -> Utterance:
    """The utterance of one line. Raises: DataError."""
    name = base.item_id(fields, "id")
    unknown = sorted(fields.keys() - FIELDS)
    if unknown:
        raise RejectedItem(
            "unknown field", f"has unknown fields {', '.join(unknown)}; known are {', '.join(sorted(FIELDS))}"
        )
    if "unit_rate" in fields and base.field(fields, "unit_rate", (int, float)) != unit_rate:
        raise RejectedItem(
            "other unit rate",
            f"unit_rate is {fields['unit_rate']}, asked for {unit_rate:g}; one directory holds one rate",
        )
    units = base.unit_array(base.field(fields, "units", list))
    placed = base.placed_words(fields["words"], "words") if "words" in fields else []
    own_source = base.optional_text(fields, "source")
    utterance = Utterance(
        name,
        units,
        fit_frames(placed, unit_rate, len(units)),
        base.optional_text(fields, "speaker"),
        own_source if own_source is not None else source,
    )
    check_utterance(utterance, codebook_size)
    return utterance


def format_line(utterance: Utterance, unit_rate: float) -> str:
    """The line of an utterance; nothing is lost. Raises: RejectedItem where a word has blanks at its edges."""
    words = [
        [base.exportable_text(text, "a unit file"), start_sec, end_sec]
        for text, start_sec, end_sec in to_seconds(utterance.words, unit_rate)
    ]
    fields = {"id": utterance.id, "units": utterance.units.tolist(), "unit_rate": unit_rate, "words": words}
    extra = {"speaker": utterance.speaker, "source": utterance.source}
    return json.dumps({**fields, **{k: v for k, v in extra.items() if v is not None}}, ensure_ascii=False)


def first_rate(path: Path) -> float | None:
    """The unit rate that the file's first line states, if it does. Raises: DataError where there is no such file."""
    for _, line in base.text_lines(path):
        try:
            fields = json_files.decode(line, kind=None)
        except ValueError:  # reported with its place when the lines are read
            return None
        rate = fields["unit_rate"] if isinstance(fields, dict) and "unit_rate" in fields else None
        return float(rate) if isinstance(rate, int | float) and 0 < rate < HIGHEST_RATE else None
    return None


def _read(path: Path, units: Units, on_bad: base.OnBad) -> Iterator[Utterance]:
    return read(path, units.unit_rate, units.codebook_size, units.source, on_bad)


def _line(utterance: Utterance, unit_rate: float) -> str:
    return format_line(utterance, unit_rate) + "\n"


FORMAT = UnitFormat(
    "units",
    "JSON lines of id, units and words in seconds",
    _read,
    stated_rate=first_rate,
    export=Export("one JSON-lines file, nothing is lost", _line),
)
