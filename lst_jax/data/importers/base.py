"""What all importers share: bad items that stop or are counted, JSON lines, units and words out of JSON."""

import fnmatch
import glob
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, TypeVar

import numpy as np

from lst_jax.core import json_files
from lst_jax.core.errors import DataError, RejectedItem, UserError, first_line
from lst_jax.data import line_files
from lst_jax.data.alignment import Placed, check_placed
from lst_jax.data.records import Utterance
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

T = TypeVar("T")
R = TypeVar("R")
OnBad = Callable[[RejectedItem], None]
LONGEST_SEC = 1e9
# Labels that are no words, in lower case: those of Praat users, Kaldi and the Montreal Forced Aligner, and the marks of
# sounds that corpora write between brackets.
_SOUNDS = (
    "sil silence sp eps s /s pause p noise nsn laughter laugh breath breathing inhale exhale cough coughing sneeze sigh "
    "lipsmack click music applause beep static"
).split()
_BRACKETS = ("<>", "[]", "{}")
SOUND_MARKS = frozenset(f"{a}{name}{b}" for name in _SOUNDS for a, b in _BRACKETS)
SILENCES = SOUND_MARKS | {"", "sil", "sp"}
# What aligners and transcribers write for a word that they do not know.
UNKNOWN_MARKS = frozenset(
    f"{a}{name}{b}" for name in ("unk", "unknown", "spn", "oov", "inaudible") for a, b in _BRACKETS
)
UNKNOWN = UNKNOWN_MARKS | {"spn"}


def stop(error: RejectedItem) -> None:
    """What to do with a bad item unless told otherwise: raise it."""
    raise error


def converted(items: Iterable[tuple[str, T]], convert: Callable[[T], R], on_bad: OnBad) -> Iterator[R]:
    """`convert` of each item that it takes; the others go to `on_bad`, their place (unless "") before the message.

    Example: [("a.jsonl: line 1", 5), ("a.jsonl: line 2", 0)] through a `convert` that refuses 0 gives what 5 gives.
    Raises: what `on_bad` raises.
    """
    for place, item in items:
        try:
            result = convert(item)
        except RejectedItem as error:
            on_bad(RejectedItem(error.reason, f"{place}: {error}" if place else str(error)))
        except DataError as error:
            on_bad(RejectedItem("breaks a rule of records", f"{place}: {error}" if place else str(error)))
        except UserError:
            raise
        except Exception as error:  # what a reader did not foresee is one bad item as well
            what = f"cannot be read ({type(error).__name__}: {first_line(error)}); leave it out, and report this"
            on_bad(RejectedItem("unexpected error", f"{place}: {what}" if place else what))
        else:
            yield result


def unique(utterances: Iterable[tuple[str, Utterance]], on_bad: OnBad) -> Iterator[Utterance]:
    """The utterances of (place, utterance) without those whose id came before."""
    seen = set()
    for place, utterance in utterances:
        if utterance.id in seen:
            on_bad(
                RejectedItem("the id is there twice", f"{place}: id {utterance.id!r} is there twice; give each its own")
            )
            continue
        seen.add(utterance.id)
        yield utterance


def source_files(paths: Sequence[str], patterns: Sequence[str]) -> list[Place]:
    """The files that are meant: files by name, those of a folder and its folders by `patterns`, those of a glob.

    A pattern counts for compressed files as well. Folders and globs are in the order of the names, and no file is twice.

    Example: source_files(["data"], ["*.on_the_fly"]) -> [Path("data/a.chunk.00.on_the_fly"), Path("data/b/c.on_the_fly.gz")]
    Raises: DataError where nothing is there; StorageError.
    """
    found: dict[Place, None] = {}
    for name in paths:
        place = to_place(name)
        if objects.is_folder(place):
            files = files_below(place, [pattern + end for pattern in patterns for end in ("", *line_files.COMPRESSED)])
            if not files:
                raise DataError(f"{place}: has no {' or '.join(patterns)} files; give the files themselves")
        elif glob.has_magic(name) and not objects.exists(place):
            files = sorted(objects.matching(place), key=_in_order)
            if not files:
                raise DataError(f"{name}: fits no file; correct the pattern")
        else:
            files = [place]
        found |= dict.fromkeys(files)
    return list(found)


def files_below(folder: Place, patterns: Sequence[str]) -> list[Place]:
    """The files in a folder and its folders whose names fit one of the patterns, in the order of the names."""
    if isinstance(folder, pathlib.Path):
        return sorted({file for pattern in patterns for file in folder.rglob(pattern) if file.is_file()})
    names = objects.sizes(folder)
    fitting = (folder / name for name in names if any(fnmatch.fnmatchcase(name.split("/")[-1], p) for p in patterns))
    return sorted(fitting, key=_in_order)


def _in_order(place: Place) -> tuple[str, ...]:
    return place.parts


def text_lines(path: str | os.PathLike | Place) -> Iterator[tuple[str, str]]:
    """(place, line) of a text file's lines that are not blank. Example place: "a.jsonl: line 3".

    Raises: DataError where one is not UTF-8.
    """
    for _, place, line in line_files.lines(path):
        if line.strip():
            yield place, line.rstrip("\r\n")


def items_of_lines(path: str | os.PathLike | Place) -> Iterator[tuple[str, tuple[str, str | RejectedItem]]]:
    """As `text_lines`, for `converted`: (place, (place, line)). A line that is not UTF-8 comes as its RejectedItem."""
    for _, place, line in line_files.lines(path, skip_bad=True):
        if isinstance(line, RejectedItem):
            yield place, (place, line)
        elif line.strip():
            yield place, (place, line.rstrip("\r\n"))


def text_of(line: str | RejectedItem) -> str:
    """The line. Raises: what came in its place."""
    if isinstance(line, RejectedItem):
        raise line
    return line


def json_object(text: str | RejectedItem) -> dict[str, Any]:
    """The JSON object of a line or file. Raises: RejectedItem where it is none."""
    text = text_of(text)
    try:
        return json_files.decode(text)
    except json_files.NotJson as error:
        raise RejectedItem("not JSON", f"{error}; write one object per line") from error


def field(fields: Mapping[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    """Field `name` of a JSON object, of the wanted type. Raises: RejectedItem."""
    if name not in fields:
        raise RejectedItem("missing field", f"has no {name!r}; is the file of this format?")
    value = fields[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise RejectedItem("wrong type", f"{name} must not be a {type(value).__name__}; correct it")
    return value


def optional_text(fields: Mapping[str, Any], name: str) -> str | None:
    """A string or nothing. Raises: RejectedItem where it is something else."""
    if name not in fields or fields[name] is None:
        return None
    return field(fields, name, str)


def item_id(fields: Mapping[str, Any], name: str, kinds: tuple[type, ...] = (str, int)) -> str:
    """The string or the integer that names the item, as a string. Raises: RejectedItem where there is none."""
    value = str(field(fields, name, kinds))
    if not value:
        raise RejectedItem("missing field", f"{name} is empty; give each item a name")
    return value


def unit_array(values: Sequence[Any], name: str = "units") -> np.ndarray:
    """Unit ids uint16 of a JSON list. Raises: RejectedItem where one is no integer in 0..65535, or there is none."""
    if not values:
        raise RejectedItem("no units", f"{name} is empty; leave the item out")
    odd = [v for v in values if type(v) is not int or not 0 <= v <= 65535]
    if odd:
        raise RejectedItem("bad units", f"{name} has {short(odd[0])}; units are integers in 0..65535")
    return np.array(values, np.uint16)


def placed_words(values: Any, name: str) -> list[Placed]:
    """Words in seconds of a JSON list of [word, start_sec, end_sec], edges stripped; blank words are silence.

    Raises: RejectedItem where it is another structure, or times break a rule.
    """
    if not isinstance(values, list):
        raise RejectedItem("wrong type", f"{name} must be a list of [word, start_sec, end_sec]; correct it")
    placed = []
    for number, entry in enumerate(values):
        if not (isinstance(entry, list) and len(entry) == 3 and isinstance(entry[0], str) and number_pair(entry[1:])):
            raise RejectedItem(
                "bad words", f"{name}[{number}] is {short(entry)}, not [word, start_sec, end_sec]; correct it"
            )
        if entry[0].strip():
            placed.append((entry[0].strip(), float(entry[1]), float(entry[2])))
    check_placed(placed)
    return placed


def number_pair(value: Any) -> bool:
    """Whether `value` is a list of two numbers that can be seconds; NaN cannot."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < LONGEST_SEC for v in value)
    )


def parse_seconds(text: str) -> float:
    """A decimal number of seconds. Raises: RejectedItem where it is none, or not finite."""
    try:
        value = float(text)
    except ValueError as error:
        raise RejectedItem("bad times", f"{text!r} is not a number of seconds; correct it") from error
    if not math.isfinite(value):
        raise RejectedItem("bad times", f"{text!r} is not a finite number of seconds; correct it")
    return value


def exportable_text(text: str, format_name: str, forbidden: Sequence[str] = ()) -> str:
    """`text`, if the format can hold it and an importer would give it back: no blank edges, nothing `forbidden`.

    Raises: RejectedItem.
    """
    bad = next((part for part in forbidden if part in text), None)
    if not text or text != text.strip() or bad is not None:
        why = f"has {bad!r} in it" if bad is not None else "is empty or has blanks at its edges"
        raise RejectedItem(
            "cannot be written",
            f"text {text!r} {why}, which {format_name} cannot hold; change it, or export to another format",
        )
    return text


def exportable_word(
    text: str, format_name: str, forbidden: Sequence[str] = (), labels: Set[str] = SILENCES | UNKNOWN
) -> str:
    """As `exportable_text`, where `labels` such as "sil" mean silence or an unknown word. Raises: RejectedItem."""
    if text.lower() in labels:
        raise RejectedItem(
            "cannot be written",
            f"the word {text!r} does not mean a word in {format_name}; change it, or export to another format",
        )
    return exportable_text(text, format_name, forbidden)


def short(value: Any) -> str:
    """A value for a message, cut to 60 characters and without the semicolon that parts rule and fix."""
    text = repr(value).replace(";", ",")
    return text if len(text) <= 60 else f"{text[:57]}..."
