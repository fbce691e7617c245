"""The LST release's `.on_the_fly` lines: words and silences in turn, each followed by its units.

    {"file_id": "u1", "interleaved": "<LST MODE SEP>TEXT [SIL] <LST MODE SEP>HUBERT 5 5 <LST MODE SEP>TEXT a ..."}

with `<LST MODE SEP>HUBERT 9` for the dots is the utterance u1 of units 5 5 9 with the word "a" at frame 2. Released
lines alternate strictly: a `[SIL]` stands before, between and behind all words, without units where there is no
silence. Export writes the same, byte for byte.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from lst_jax.core.errors import RejectedItem
from lst_jax.data.importers import base
from lst_jax.data.importers.formats import Export, Path, UnitFormat, Units
from lst_jax.data.records import Utterance, Word, check_utterance

SEPARATOR = "<LST MODE SEP>"
TEXT, UNITS = "TEXT", "HUBERT"
SILENCE = "[SIL]"
UNIT_RATE = 25.0  # of the released unit files
CODEBOOK_SIZE = 501


def read(
    path: str | os.PathLike,
    codebook_size: int = CODEBOOK_SIZE,
    source: str | None = None,
    on_bad: base.OnBad = base.stop,
) -> Iterator[Utterance]:
    """The utterances of a file of such lines. Raises: RejectedItem (a DataError) naming file and line, by default."""

    def parse(item: tuple[str, str | RejectedItem]) -> tuple[str, Utterance]:
        place, line = item
        return place, parse_line(base.json_object(line), codebook_size, source)

    return base.unique(base.converted(base.items_of_lines(path), parse, on_bad), on_bad)


def parse_line(fields: dict[str, Any], codebook_size: int, source: str | None) -> Utterance:
    """The utterance of one line. Raises: DataError."""
    name = base.item_id(fields, "file_id")
    pieces = base.field(fields, "interleaved", str).split(SEPARATOR)
    if pieces[0].strip() or len(pieces) % 2 == 0:
        raise RejectedItem(
            "bad structure",
            f"interleaved must be pairs of {SEPARATOR}{TEXT} and {SEPARATOR}{UNITS}; is the line whole?",
        )
    units: list[int] = []
    words = []
    for number in range(1, len(pieces), 2):
        text = _content(pieces[number], TEXT, number)
        start = len(units)
        units.extend(_unit(part) for part in _content(pieces[number + 1], UNITS, number + 1).split())
        if text == SILENCE:
            continue
        if not text:
            raise RejectedItem("bad structure", f"part {number} is a {TEXT} without a word; silence is {SILENCE}")
        if len(units) == start:
            raise RejectedItem("word without units", f"word {text!r} has no units; leave the line out")
        words.append(Word(text, start, len(units)))
    if not units:
        raise RejectedItem("no units", "interleaved has no units; leave the line out")
    utterance = Utterance(name, np.array(units, np.uint16), tuple(words), None, source)
    check_utterance(utterance, codebook_size)
    return utterance


def format_line(utterance: Utterance) -> str:
    """The line of an utterance. Speaker and source are lost: the format has no place for them.

    Raises: RejectedItem where a word could not be read back.
    """
    parts, at = [], 0
    units = utterance.units.tolist()
    for word in utterance.words:
        text = base.exportable_text(word.text, "an .on_the_fly line", (SEPARATOR,))
        if text == SILENCE:
            raise RejectedItem(
                "cannot be written", f"the word {SILENCE} means silence in an .on_the_fly line; change it"
            )
        parts += [(SILENCE, units[at : word.start_frame]), (text, units[word.start_frame : word.end_frame])]
        at = word.end_frame
    parts.append((SILENCE, units[at:]))
    text = "".join(f"{SEPARATOR}{TEXT} {word} {SEPARATOR}{UNITS} {' '.join(map(str, run))} " for word, run in parts)
    return json.dumps({"file_id": utterance.id, "interleaved": text[:-1]}, ensure_ascii=False)


def _content(piece: str, mode: str, number: int) -> str:
    """What follows the mode's name. Example: _content("TEXT in ", "TEXT", 3) -> "in"."""
    found, _, content = piece.partition(" ")
    if found.strip() != mode:
        raise RejectedItem(
            "bad structure", f"part {number} has mode {base.short(found)}, not {mode!r}; is the line whole?"
        )
    return content.strip()


def _unit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise RejectedItem("bad units", f"{base.short(text)} is not a unit; units are integers in 0..65535")
    return int(text)


def _read(path: Path, units: Units, on_bad: base.OnBad) -> Iterator[Utterance]:
    return read(path, units.codebook_size, units.source, on_bad)


def _line(utterance: Utterance, unit_rate: float) -> str:
    return format_line(utterance) + "\n"


FORMAT = UnitFormat(
    "lst",
    "the LST release's .on_the_fly lines",
    _read,
    unit_rate=UNIT_RATE,
    codebook_size=CODEBOOK_SIZE,
    export=Export("one .on_the_fly file", _line),
)
