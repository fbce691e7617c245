"""Praat TextGrids, as of the Montreal Forced Aligner: the intervals of one tier are words and silences.

The long and the short text form are one format to Praat, and to this reader: what counts are strings in quotes, flags
in angle brackets and numbers that stand alone; everything else is comment (Praat manual, "TextGrid file formats").
"""

import codecs
import math
import re
from collections.abc import Iterator

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.alignment import Placed, to_seconds
from lst_jax.data.importers import base
from lst_jax.data.importers.alignments import Alignment, AlignmentTree, tree_paths, words_of
from lst_jax.data.importers.formats import SPEAKER, AlignmentFormat, Export, Option, Path
from lst_jax.data.records import Utterance
from lst_jax.storage import objects

SUFFIX = ".TextGrid"
WORD_TIER = "words"  # the Montreal Forced Aligner's name; "SPEAKER - words" where there are several speakers
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|<(\w*)>|![^\n]*|([^\s"]+)')
LONGEST_NUMBER = 64  # characters: matching takes quadratic time
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
# Praat writes a mark before UTF-16; some others leave it out, but every TextGrid starts with the F of "File type".
_STARTS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"\0F", "utf-16-be"),
    (b"F\0", "utf-16-le"),
)


def open_alignments(path: Path, tier: str | None = None, speaker: str | None = None) -> AlignmentTree:
    """The TextGrids under a folder. `tier` names the one with the words; `speaker` stands for "SPEAKER - words".

    Raises: DataError where there are none, or both are given.
    """
    if speaker is not None:
        if tier is not None:
            raise DataError(f"--speaker {speaker}: a speaker has one tier, and --tier names it; leave one of them out")
        tier = f"{speaker} - {WORD_TIER}"
    return AlignmentTree("textgrid", tree_paths(path, SUFFIX), lambda file: parse(objects.read_bytes(file), tier))


def parse(content: bytes, tier: str | None) -> Alignment:
    """The words of a TextGrid file. Raises: RejectedItem."""
    if content.startswith(b"ooBinaryFile"):
        raise RejectedItem("binary TextGrid", "is in Praat's binary form; save it as a text file")
    tokens = _tokens(_decoded(content))
    if [next(tokens, None), next(tokens, None)] not in (["ooTextFile", "TextGrid"], ["ooTextFile short", "TextGrid"]):
        raise RejectedItem("not a TextGrid", 'does not start with "ooTextFile" "TextGrid"; is it a TextGrid?')
    _take(tokens, float)
    end_sec = _take(tokens, float)
    if _take(tokens, bool):
        tiers = [_tier(tokens) for _ in range(_count(tokens))]
    else:
        tiers = []
    return Alignment(words_of(_chosen([t for t in tiers if t is not None], tier), base.SILENCES, base.UNKNOWN), end_sec)


def format_file(utterance: Utterance, unit_rate: float) -> str:
    """A TextGrid (long form) with the tier "words"; units, speaker and source are lost.

    Raises: RejectedItem where a word could not be read back.
    """
    end_sec = len(utterance.units) / unit_rate
    intervals, at = [], 0.0
    for text, start_sec, stop_sec in to_seconds(utterance.words, unit_rate):
        intervals += [("", at, start_sec)] * (start_sec > at)
        intervals.append((base.exportable_word(text, "a TextGrid"), start_sec, stop_sec))
        at = stop_sec
    intervals += [("", at, end_sec)] * (end_sec > at)
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {end_sec!r}",
        "tiers? <exists>",
        "size = 1",
        "item []:",
        "    item [1]:",
        '        class = "IntervalTier"',
        f'        name = "{WORD_TIER}"',
        "        xmin = 0",
        f"        xmax = {end_sec!r}",
        f"        intervals: size = {len(intervals)}",
    ]
    for number, (text, start_sec, stop_sec) in enumerate(intervals, 1):
        quoted = text.replace('"', '""')
        lines += [
            f"        intervals [{number}]:",
            f"            xmin = {start_sec!r}",
            f"            xmax = {stop_sec!r}",
            f'            text = "{quoted}"',
        ]
    return "\n".join(lines) + "\n"


def _decoded(content: bytes) -> str:
    encoding = next((name for start, name in _STARTS if content.startswith(start)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise RejectedItem(
            "unreadable", f"is neither UTF-8 nor UTF-16 ({error.reason}); save it as one of them"
        ) from error


def _tokens(text: str) -> Iterator[str | float | bool]:
    """Strings, numbers and flags (<exists> is True, another False) of the file, in order."""
    for match in _TOKEN.finditer(text):
        string, flag, word = match.groups()
        if string is not None:
            yield string.replace('""', '"')
        elif flag is not None:
            yield flag == "exists"
        elif word is not None and len(word) <= LONGEST_NUMBER and _NUMBER.fullmatch(word):
            yield float(word)


def _take(tokens: Iterator[str | float | bool], kind: type) -> str | float | bool:
    value = next(tokens, None)
    if type(value) is not kind:
        wanted = {str: "a string", float: "a number", bool: "a flag"}[kind]
        raise RejectedItem("broken TextGrid", f"has {base.short(value)} where {wanted} must be; is the file whole?")
    return value


def _count(tokens: Iterator[str | float | bool]) -> int:
    value = _take(tokens, float)
    if not (math.isfinite(value) and value == int(value) and value >= 0):
        raise RejectedItem("broken TextGrid", f"has {value:g} where a count must be; is the file whole?")
    return int(value)


def _tier(tokens: Iterator[str | float | bool]) -> tuple[str, list[Placed]] | None:
    """(name, intervals) of the next tier; None where it is one of points."""
    kind, name = _take(tokens, str), _take(tokens, str)
    _take(tokens, float), _take(tokens, float)
    count = _count(tokens)
    if kind == "TextTier":
        for _ in range(count):
            _take(tokens, float), _take(tokens, str)
        return None
    if kind != "IntervalTier":
        raise RejectedItem("broken TextGrid", f"has a tier of class {base.short(kind)}; is the file whole?")
    intervals = []
    for _ in range(count):
        start_sec, end_sec = _take(tokens, float), _take(tokens, float)
        intervals.append((_take(tokens, str), start_sec, end_sec))
    return name, intervals


def _chosen(tiers: list[tuple[str, list[Placed]]], wanted: str | None) -> list[Placed]:
    """The tier named `wanted`; without one, the only one named words or "SPEAKER - words", else the only one."""

    def fits(name: str) -> bool:
        return name == wanted if wanted is not None else re.fullmatch(rf"(.* - )?{WORD_TIER}", name.lower()) is not None

    found = [intervals for name, intervals in tiers if fits(name)]
    if not found and wanted is None and len(tiers) == 1:
        found = [tiers[0][1]]
    if len(found) != 1:
        names = ", ".join(base.short(name) for name, _ in tiers)
        raise RejectedItem(
            "no word tier",
            f"{len(found)} of its interval tiers ({names}) are named "
            f"{WORD_TIER if wanted is None else wanted!r}; name the tier with --tier, or one of several speakers with --speaker",
        )
    return found[0]


FORMAT = AlignmentFormat(
    "textgrid",
    "a tree of Praat TextGrids",
    open_alignments,
    options=(Option("tier", f"tier of a TextGrid with the words (default: {WORD_TIER})"), SPEAKER),
    export=Export("a folder of ID.TextGrid", format_file, SUFFIX),
)
