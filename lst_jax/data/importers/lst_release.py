"""The LST release's `.on_the_fly` lines: words and silences in turn, each followed by its units.

    {"file_id": "u1", "interleaved": "<LST MODE SEP>TEXT [SIL] <LST MODE SEP>HUBERT 5 5 <LST MODE SEP>TEXT a ..."}

with `<LST MODE SEP>HUBERT 9` for the dots is the utterance u1 of units 5 5 9 with the word "a" at frame 2. Released
lines alternate strictly: a `[SIL]` stands before, between and behind all words, without units where there is no
silence. Export writes the same, byte for byte.

Some released words have no units either, as their aligner gave them less than a frame. Such a word takes one frame from
what lies beside it: from the silence before it, else from the silence behind it, else from a neighbour of two frames or
more. The report counts these words.
"""

import json
from collections.abc import Callable, Iterator
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
TOOK_FRAME = "words without units took a frame beside them"  # note


def read(
    path: Path,
    codebook_size: int = CODEBOOK_SIZE,
    source: str | None = None,
    on_bad: base.OnBad = base.stop,
    note: Callable[[str], None] = lambda what: None,
) -> Iterator[Utterance]:
    """The utterances of a file of such lines; `note` is told of each word that took a frame.

    Raises: RejectedItem (a DataError) naming file and line, by default.
    """

    def parse(item: tuple[str, str | RejectedItem]) -> tuple[str, Utterance]:
        place, line = item
        return place, parse_line(base.json_object(line), codebook_size, source, note)

    return base.unique(base.converted(base.items_of_lines(path), parse, on_bad), on_bad)


def parse_line(
    fields: dict[str, Any], codebook_size: int, source: str | None, note: Callable[[str], None] = lambda what: None
) -> Utterance:
    """The utterance of one line. Raises: DataError."""
    name = base.item_id(fields, "file_id")
    pieces = base.field(fields, "interleaved", str).split(SEPARATOR)
    if pieces[0].strip() or len(pieces) % 2 == 0:
        raise RejectedItem(
            "bad structure",
            f"interleaved must be pairs of {SEPARATOR}{TEXT} and {SEPARATOR}{UNITS}; is the line whole?",
        )
    parts: list[tuple[str, list[int]]] = []
    for number in range(1, len(pieces), 2):
        text = _content(pieces[number], TEXT, number)
        if not text:
            raise RejectedItem("bad structure", f"part {number} is a {TEXT} without a word; silence is {SILENCE}")
        parts.append((text, [_unit(part) for part in _content(pieces[number + 1], UNITS, number + 1).split()]))
    if not any(run for _, run in parts):
        raise RejectedItem("no units", "interleaved has no units; leave the line out")
    took = _give_frames(parts)
    units: list[int] = []
    words = []
    for text, run in parts:
        if text != SILENCE:
            words.append(Word(text, len(units), len(units) + len(run)))
        units += run
    utterance = Utterance(name, np.array(units, np.uint16), tuple(words), None, source)
    check_utterance(utterance, codebook_size)
    for _ in range(took):
        note(TOOK_FRAME)
    return utterance


def _give_frames(parts: list[tuple[str, list[int]]]) -> int:
    """Moves a frame beside it into each word that has none; the frames keep their order. Returns how many words took one.

    Example: [("[SIL]", [5, 5]), ("a", []), ("b", [9])] -> [("[SIL]", [5]), ("a", [5]), ("b", [9])]
    Raises: RejectedItem where nothing beside a word can spare a frame.
    """
    took = 0
    for number, (text, run) in enumerate(parts):
        if text == SILENCE or run:
            continue
        before = next((part for part in reversed(parts[:number]) if part[1]), None)
        behind = next((part for part in parts[number + 1 :] if part[1]), None)
        beside = [side for side in ((before, -1), (behind, 0)) if side[0] is not None]
        silences = [side for side in beside if side[0][0] == SILENCE]
        words = [side for side in beside if side[0][0] != SILENCE and len(side[0][1]) > 1]
        if not silences + words:
            raise RejectedItem(
                "word without units",
                f"word {text!r} has no units, and nothing beside it has one to spare; leave the line out",
            )
        (_, giver), place = (silences + words)[0]
        run.append(giver.pop(place))
        took += 1
    return took


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
    return read(path, units.codebook_size, units.source, on_bad, units.note)


def _line(utterance: Utterance, unit_rate: float) -> str:
    return format_line(utterance) + "\n"


FORMAT = UnitFormat(
    "lst",
    "the LST release's .on_the_fly lines",
    _read,
    unit_rate=UNIT_RATE,
    codebook_size=CODEBOOK_SIZE,
    export=Export("one .on_the_fly file", _line),
    patterns=("*.on_the_fly",),
)
