"""Lines of a recording's name and its units, as textless systems write them: `name|71 71 93`.

    u1.wav|71 71 93 82 11

is the utterance u1 of these five units, without words. Public facts: fairseq, `examples/textless_nlp/gslm/speech2unit`
(`quantize_with_kmeans.py` writes such files).
"""

from collections.abc import Iterator

from lst_jax.core.errors import RejectedItem
from lst_jax.data.importers import base
from lst_jax.data.importers.formats import Export, Path, UnitFormat, Units
from lst_jax.data.importers.slamkit import AUDIO_SUFFIXES
from lst_jax.data.records import Utterance, check_utterance

SEPARATOR = "|"


def parse_line(line: str, codebook_size: int, source: str | None) -> Utterance:
    """The utterance of one line; its id is the name without an audio suffix. Raises: DataError."""
    name, separator, units = line.rpartition(SEPARATOR)
    name = name.strip()
    if not separator or not name:
        raise RejectedItem("bad structure", f"is {base.short(line)}, not NAME{SEPARATOR}UNITS; is it a unit file?")
    return utterance_of(name, units, codebook_size, source)


def utterance_of(name: str, units: str, codebook_size: int, source: str | None) -> Utterance:
    """The utterance of a recording's name and its units between blanks. Raises: DataError."""
    parts = units.split()
    odd = next((part for part in parts if not (part.isascii() and part.isdigit() and len(part) <= 5)), None)
    if odd is not None:
        raise RejectedItem("bad units", f"{base.short(odd)} is not a unit; units are integers in 0..65535")
    suffix = next((s for s in AUDIO_SUFFIXES if name.lower().endswith(s)), "")
    ids = base.unit_array([int(part) for part in parts])
    utterance = Utterance(name[: len(name) - len(suffix)], ids, (), None, source)
    check_utterance(utterance, codebook_size)
    return utterance


def format_line(utterance: Utterance, unit_rate: float) -> str:
    """The line of an utterance; words, speaker and source are lost. Raises: RejectedItem."""
    name = base.exportable_text(utterance.id, "a unit file", ("\n", "\r"))
    return f"{name}{SEPARATOR}{' '.join(map(str, utterance.units.tolist()))}\n"


def read(path: Path, units: Units, on_bad: base.OnBad) -> Iterator[Utterance]:
    """The utterances of a file of such lines. Raises: RejectedItem naming file and line, by default."""

    def parse(item: tuple[str, str | RejectedItem]) -> tuple[str, Utterance]:
        place, line = item
        return place, parse_line(base.text_of(line), units.codebook_size, units.source)

    return base.unique(base.converted(base.items_of_lines(path), parse, on_bad), on_bad)


FORMAT = UnitFormat(
    "gslm",
    "lines of NAME|UNITS",
    read,
    export=Export("one file of NAME|UNITS, units alone", format_line),
    patterns=("*.txt", "*.units"),
)
