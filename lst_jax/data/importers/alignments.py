"""Alignments from files: words in seconds by item, without units, and their pairing with units.

Any of them serves `lst prepare` as an aligner as well: `align(item_id)` gives the words of a recording.
"""

import dataclasses
import hashlib
import os
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

from lst_jax.core.errors import DataError, RejectedItem, first_line
from lst_jax.data.alignment import SLACK_SEC, Placed, fit_frames
from lst_jax.data.importers import base
from lst_jax.data.records import Utterance, Word, check_utterance
from lst_jax.storage import objects
from lst_jax.storage.place import BucketPath, Place, to_place

READ_TOGETHER = 64  # files of a tree in a bucket
OTHER_WORDS = "with other words than their units had"


@dataclasses.dataclass(frozen=True)
class Alignment:
    """Words in seconds, silence left out; the length of the recording and the words' channel, where the file says it."""

    words: tuple[Placed, ...]
    duration_sec: float | None
    channel: str | None = None


@typing.runtime_checkable
class AlignmentFile(typing.Protocol):
    """Words of items. `name` says where from, for the metadata."""

    name: str

    def __len__(self) -> int:
        """Number of items."""

    def key(self, item_id: str) -> str | None:
        """The file's own name of an item; None where it has no alignment of its own, or several."""

    def lookup(self, item_id: str) -> Alignment:
        """The alignment of an item. Raises: RejectedItem where there is none, or it breaks a rule."""

    def align(self, item_id: str) -> list[Placed]:
        """(word, start_sec, end_sec) of an item, in order. Raises: RejectedItem."""

    def fingerprint(self) -> str:
        """16 hex digits over all ids and what the files say of them; reads every file."""


class AlignmentTree:
    """One file per item: `ROOT/a/b.TextGrid` holds the item "a/b".

    An item with fewer or more folders before its name finds it too, if no other file has that name: "b", "c/a/b". One
    with other folders does not: "c/b" may be another speaker's.
    """

    def __init__(self, name: str, paths: Mapping[str, Place], parse: Callable[[Place], Alignment]):
        """`paths` by item id. See `tree_paths`."""
        self.name = name
        self._paths, self._parse = dict(paths), parse
        self._by_stem: dict[str, list[str]] = {}
        for item_id in self._paths:
            self._by_stem.setdefault(item_id.rpartition("/")[2], []).append(item_id)

    def __len__(self) -> int:
        """Number of files."""
        return len(self._paths)

    def key(self, item_id: str) -> str | None:
        """See `AlignmentFile.key`."""
        found = self._candidates(item_id)
        return found[0] if len(found) == 1 else None

    def lookup(self, item_id: str) -> Alignment:
        """See `AlignmentFile.lookup`; the file is read now."""
        same = self._candidates(item_id)
        if len(same) != 1:
            why = f"{len(same)} files are named {same[0].rpartition('/')[2]!r}" if same else "no file has its name"
            raise RejectedItem("no alignment", f"{item_id}: has no alignment, {why}; align it, or leave it out")
        path = self._paths[same[0]]
        try:
            return _of_words(self._parse(path))
        except RejectedItem as error:
            raise RejectedItem(error.reason, f"{path}: {error}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise RejectedItem("unreadable", f"{path}: cannot be read ({error}); correct the file") from error

    def _candidates(self, item_id: str) -> list[str]:
        if item_id in self._paths:
            return [item_id]
        stem = item_id.rpartition("/")[2]
        named = self._by_stem[stem] if stem in self._by_stem else []
        return [name for name in named if f"/{item_id}".endswith(f"/{name}") or f"/{name}".endswith(f"/{item_id}")]

    def align(self, item_id: str) -> list[Placed]:
        """See `AlignmentFile.align`."""
        return list(self.lookup(item_id).words)

    def fingerprint(self) -> str:
        """See `AlignmentFile.fingerprint`. Raises: DataError where a file cannot be read."""
        item_ids = sorted(self._paths)
        return _digest(zip(item_ids, _contents([self._paths[item_id] for item_id in item_ids]), strict=True))


class AlignmentTable:
    """All items in memory, each still as its lines, which are parsed when asked for."""

    def __init__(
        self, name: str, items: Mapping[str, tuple[str, typing.Any]], parse: Callable[[typing.Any], Alignment]
    ):
        """`items`: (place, what `parse` takes) by item id."""
        self.name = name
        self._items, self._parse = items, parse

    def __len__(self) -> int:
        """Number of items."""
        return len(self._items)

    def key(self, item_id: str) -> str | None:
        """See `AlignmentFile.key`."""
        key = item_id if item_id in self._items else item_id.rpartition("/")[2]
        return key if key in self._items else None

    def lookup(self, item_id: str) -> Alignment:
        """See `AlignmentFile.lookup`."""
        key = self.key(item_id)
        if key is None:
            raise RejectedItem("no alignment", f"{item_id}: has no alignment; align it, or leave it out")
        place, item = self._items[key]
        try:
            return _of_words(self._parse(item))
        except RejectedItem as error:
            raise RejectedItem(error.reason, f"{place}: {error}") from error

    def align(self, item_id: str) -> list[Placed]:
        """See `AlignmentFile.align`."""
        return list(self.lookup(item_id).words)

    def fingerprint(self) -> str:
        """See `AlignmentFile.fingerprint`."""
        return _digest((item_id, repr(self._items[item_id][1]).encode()) for item_id in sorted(self._items))


def tree_paths(root: str | os.PathLike | Place, suffix: str) -> dict[str, Place]:
    """Files with `suffix` under `root` (or `root` itself, where it is a file) by their path without suffix.

    Example: tree_paths("mfa", ".TextGrid") -> {"84/84-1": Path("mfa/84/84-1.TextGrid")}
    Raises: DataError where there are none; StorageError.
    """
    root = to_place(root)
    if root.suffix == suffix and objects.look(root) is not None:
        return {root.name.removesuffix(suffix): root}
    found = base.files_below(root, [f"*{suffix}"]) if objects.is_folder(root) else []
    if not found:
        raise DataError(f"{root}: has no *{suffix} files; give the folder that holds them")
    above = len(root.parts)
    return {"/".join(path.parts[above:]).removesuffix(suffix): path for path in found}


def words_of(
    intervals: Iterable[Placed], silences: Set[str] = frozenset({""}), unknown: Set[str] = frozenset()
) -> tuple[Placed, ...]:
    """The intervals that are words, edges stripped; `silences` and `unknown` are labels in lower case.

    Example: [("", 0.0, 0.4), ("a ", 0.4, 0.5)] -> (("a", 0.4, 0.5),)
    Raises: RejectedItem where a word is unknown to the aligner, or times break a rule.
    """
    placed = [
        (text.strip(), start_sec, end_sec)
        for text, start_sec, end_sec in intervals
        if text.strip().lower() not in silences
    ]
    label = next((text for text, *_ in placed if text.lower() in unknown), None)
    if label is not None:
        raise RejectedItem(
            "unknown word",
            f"the aligner wrote {label!r} for a word it did not know; add the word to "
            "its dictionary and align again, or leave the item out",
        )
    base.check_placed(placed)
    return tuple(placed)


def paired(
    units: Iterable[Utterance],
    alignments: AlignmentFile,
    unit_rate: float,
    codebook_size: int,
    source: str | None = None,
    on_bad: base.OnBad = base.stop,
    note: Callable[[str], None] = lambda _: None,
) -> Iterator[Utterance]:
    """The utterances of `units` with the words of `alignments` for their own, and `source`, where given.

    `note` is told of each utterance whose own words were others.
    Raises: RejectedItem, by default, where an utterance has no alignment, or its length is another.
    """

    claimed: dict[str | None, str] = {}

    def pair(utterance: Utterance) -> Utterance:
        found = alignments.lookup(utterance.id)
        other = claimed.setdefault(alignments.key(utterance.id), utterance.id)
        if other != utterance.id:
            raise RejectedItem(
                "no alignment", f"{utterance.id}: shares an alignment with {other}; give each its own, under its id"
            )
        frames = len(utterance.units)
        length = frames if found.duration_sec is None else found.duration_sec * unit_rate
        if abs(length - frames) > 2 + SLACK_SEC * unit_rate:
            raise RejectedItem(
                "other length",
                f"{utterance.id}: the alignment is of {found.duration_sec:g} s, "
                f"{frames} units at {unit_rate:g} a second last {frames / unit_rate:g} s; check the "
                "unit rate, and that both are of one audio",
            )
        try:
            words = fit_frames(found.words, unit_rate, frames)
        except RejectedItem as error:
            raise RejectedItem(error.reason, f"{utterance.id}: {error}") from error
        result = dataclasses.replace(utterance, words=words, source=utterance.source if source is None else source)
        check_utterance(result, codebook_size)
        if utterance.words and _said(utterance.words) != _said(words):
            note(OTHER_WORDS)
        return result

    return base.converted((("", u) for u in units), pair, on_bad)


def _said(words: Iterable[Word]) -> list[str]:
    return [word.text.casefold() for word in words]


def _of_words(alignment: Alignment) -> Alignment:
    """The alignment. Raises: RejectedItem where an interval holds several words: an utterance is no word."""
    for text, start_sec, end_sec in alignment.words:
        parts = [part for part in text.split() if any(c.isalnum() for c in part)]
        if len(parts) > 1 and not all(part.isdecimal() for part in parts):  # "10 000" is one word, "see -" too
            raise RejectedItem(
                "not words",
                f"{base.short(text)} at {start_sec:g}..{end_sec:g} s is {len(parts)} words; give words with their own "
                "times; `lst prepare speech` without --aligner finds them",
            )
    return alignment


def _contents(paths: Sequence[Place]) -> Iterator[bytes]:
    """The files' bytes, those of buckets read many at a time; none of one that is not there, which `lookup` says."""
    for start in range(0, len(paths), READ_TOGETHER):
        block = paths[start : start + READ_TOGETHER]
        try:
            yield from objects.read_many(block) if isinstance(block[0], BucketPath) else map(_content, block)
        except FileNotFoundError:
            yield from map(_content, block)


def _content(path: Place) -> bytes:
    try:
        return objects.read_bytes(path)
    except FileNotFoundError:
        return b""
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        raise DataError(f"{path}: cannot be read ({first_line(error)}); correct the file") from error


def _digest(items: Iterable[tuple[str, bytes]]) -> str:
    total = hashlib.sha256()
    for item_id, content in items:
        total.update(f"{len(item_id)}:{item_id}{len(content)}:".encode() + content)
    return total.hexdigest()[:16]
