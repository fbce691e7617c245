"""Numbers as people write them in tables: `1.5B`, `300M tokens`, `2,31`, `70,000,000`, `5.76e23 FLOPs`, `nan`.

A comma or a dot may be a decimal mark or part the thousands, and one cell alone does not always say which. So the mark
is looked for in all cells of a table first (`decimal_mark`), and each cell is read with it afterwards (`amount`).
"""

import math
import re
from collections.abc import Iterable

MISSING = frozenset(
    ("", "-", "–", "—", "?", "nan", "na", "n/a", "#n/a", "none", "null", "inf", "+inf", "-inf", "infinity", "-infinity")
)
POWERS = {"k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12}
WORDS = {"thousand": 1e3, "mn": 1e6, "million": 1e6, "bn": 1e9, "billion": 1e9, "tn": 1e12, "trillion": 1e12}
UNITS = POWERS | WORDS | {f"{word}s": power for word, power in WORDS.items() if len(word) > 2}
FLOP_PREFIXES = POWERS | {"p": 1e15, "e": 1e18, "z": 1e21, "y": 1e24}
COUNTED = r"(?:params?|parameters?|tok(?:en)?s?|flops?)?"
_BETWEEN_THOUSANDS = re.compile(r"(?<=\d)[ \u00a0\u2009\u202f_'’](?=\d{3}(?!\d))")
_CELL = re.compile(r"([+-]?[\d.,]+)(e[+-]?\d{1,4})?(.*)", re.DOTALL)
_UNIT = re.compile(rf"({'|'.join(sorted(UNITS, key=len, reverse=True))})?{COUNTED}")
_FLOP_UNIT = re.compile(rf"([{''.join(FLOP_PREFIXES)}])flops?")
_PARTED = {mark: re.compile(rf"[+-]?\d{{1,3}}(?:{re.escape(mark)}\d{{3}})+") for mark in ".,"}
_PARTED_ONCE = {mark: re.compile(rf"[+-]?[1-9]\d{{0,2}}{re.escape(mark)}\d{{3}}") for mark in ".,"}
OTHER = {".": ",", ",": "."}


def is_missing(cell: object) -> bool:
    """Whether a cell holds no finite number on purpose. Example: "" and "NaN" and None -> True."""
    if isinstance(cell, float):
        return not math.isfinite(cell)
    return cell is None or (isinstance(cell, str) and cell.strip().casefold() in MISSING)


def unit(text: str) -> float:
    """What a unit multiplies by: a letter, a word or a number. Raises: ValueError.

    Example: "B" -> 1e9, "millions" -> 1e6, "524288" -> 524288.0.
    """
    value = UNITS.get(text.strip().casefold())
    value = float(text) if value is None else value
    if not 0 < value < math.inf:
        raise ValueError
    return value


def flop_unit(word: str) -> float | None:
    """Example: "ZFLOPs" -> 1e21, "FLOPs" -> None."""
    found = _FLOP_UNIT.fullmatch(word.casefold())
    return FLOP_PREFIXES[found.group(1)] if found else None


def has_unit(cell: object) -> bool:
    """Whether a cell multiplies by a unit of its own, as "1.5B" does."""
    return isinstance(cell, str) and (parts := _parts(cell)) is not None and parts[1] != 1


def decimal_mark(cells: Iterable[str], is_parted_by_comma: bool) -> str:
    """The decimal mark of a table: "." or ",". Raises: ValueError, whose text is the rule that the cells break.

    Args: is_parted_by_comma: whether commas also part the table's cells; where they do not, a comma is more likely a decimal
    mark.
    Example: ["1,5B", "2,31"] -> ","; ["70,000,000", "2.31"] -> "."; ["1,234"] is refused, except between semicolons.
    """
    sure: dict[str, str] = {}
    unsure: dict[str, str] = {}
    for cell in cells:
        parts = _parts(cell)
        if parts:
            digits = parts[0].partition("e")[0]
            marks = {mark: digits.count(mark) for mark in ".,"}
            if all(marks.values()):
                sure.setdefault(max(".,", key=digits.rfind), cell)
            for mark in ".,":
                if marks[mark] and not marks[OTHER[mark]]:
                    if marks[mark] > 1:
                        sure.setdefault(OTHER[mark], cell)
                    elif _PARTED_ONCE[mark].fullmatch(digits):
                        unsure.setdefault(mark, cell)
                    else:
                        sure.setdefault(mark, cell)
    if len(sure) == 2:
        raise ValueError(f"{sure['.']!r} has a decimal dot and {sure[',']!r} a decimal comma; write all cells alike")
    if sure:
        return next(iter(sure))
    if "," not in unsure:
        return "."
    if is_parted_by_comma or "." in unsure:
        raise ValueError(f"{unsure[',']!r} may have a decimal comma or a comma between thousands; say --decimal , or .")
    return ","


def amount(cell: str | float, decimal: str) -> float:
    """The number of a cell that is not missing. Raises: ValueError, without a reason.

    Example: amount("1.5B", ".") -> 1.5e9; amount("70 000 000", ".") -> 7e7; amount("1.234,5", ",") -> 1234.5.
    """
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        raise ValueError
    if not isinstance(cell, str):
        return float(cell) if abs(cell) < 1e300 else math.nan  # whole numbers of JSON may be longer than a float
    parts = _parts(cell)
    if parts is None:
        raise ValueError
    number, multiplier = parts
    digits, exponent, power = number.partition("e")
    whole, mark, fraction = digits.partition(decimal)
    thousands = OTHER[decimal]
    if thousands in whole:
        if not _PARTED[thousands].fullmatch(whole):
            raise ValueError
        whole = whole.replace(thousands, "")
    return float(whole + (mark and f".{fraction}") + exponent + power) * multiplier


def _parts(cell: str) -> tuple[str, float] | None:
    """The digits with their exponent, and what the unit multiplies by; None where it is no number."""
    text = _BETWEEN_THOUSANDS.sub("", cell.strip())
    found = _CELL.fullmatch(text.casefold())
    if not found or not text.isascii():
        return None
    digits, exponent, rest = found.groups()
    rest = "".join(rest.split())
    scale = flop_unit(rest)
    if scale is None:
        named = _UNIT.fullmatch(rest)
        if not named or (exponent and named.group(1)):
            return None
        scale = UNITS[named.group(1)] if named.group(1) else 1.0
    elif exponent:
        return None
    return digits + (exponent or ""), scale
