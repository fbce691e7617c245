"""What is to be prepared: JSON-lines manifests, trees of recordings and plain text.

A speech manifest has one JSON object per line; the audio path is relative to the manifest:

    {"id": "u1", "audio": "audio/u1.ogg", "text": "hello world", "speaker": "s1", "split": "train"}

`offset` and `duration` in seconds choose a part of the recording, `channel` one of its channels. NeMo's names are read
too (`audio_filepath`). A file may be compressed (.gz, .zst).
"""

import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data import line_files
from lst_jax.prepare import trees
from lst_jax.prepare.corpora.fields import KNOWN_FIELDS, id_of, item_of, selected, text_of
from lst_jax.prepare.corpora.protocol import BadItem, Item, TextItem

T = TypeVar("T")  # something with an id


def read_items(path: str | os.PathLike, where: Mapping[str, str], skip_bad: bool = False) -> list[Item | BadItem]:
    """Items of a manifest file or, where `path` is a directory, of a tree of recordings with transcripts.

    `where` keeps the lines with these field values. With `skip_bad`, a line that is no item becomes a BadItem.
    Raises: DataError naming the file, the line and the fix.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or directory; give a JSON-lines manifest or a LibriSpeech-style tree")
    if not path.is_dir():
        return read_manifest(path, where, skip_bad)
    if where:
        raise DataError(f"{path}: a tree has no fields to select by {dict(where)}; leave the filter out")
    items = [
        Item(found.id, found.audio_path, " ".join(found.text.lower().split()), found.speaker, place=found.place)
        for found in trees.read_tree(path)
    ]
    return _some(unique(items, path), path, where)


def read_manifest(path: str | os.PathLike, where: Mapping[str, str], skip_bad: bool = False) -> list[Item | BadItem]:
    """Reads `{audio, text[, id, speaker, offset, duration, channel]}` lines; see `read_items`.

    The id of a line without one is its audio path without suffix, and the offset where it is a part. Empty transcripts
    are kept here: they are counted as rejected when they are prepared.
    Example: read_manifest("m.jsonl", {"split": "train"}) -> [Item("u1", Path("audio/u1.ogg"), "hello world", "s1")]
    Raises: DataError naming file and line where the JSON, a key or an id is wrong, or nothing is selected.
    """
    path = pathlib.Path(path)
    items: list[Item | BadItem] = []
    for place, fields in line_files.json_lines(path, skip_bad):
        if isinstance(fields, RejectedItem):
            items.append(BadItem(place, fields.reason, f"{place}: {fields}"))
            continue
        try:
            if selected(fields, where):
                items.append(item_of(fields, path.parent, place))
        except RejectedItem as error:
            if not skip_bad and error.reason != line_files.NOT_TEXT:
                raise DataError(f"{place}: {error}") from error
            items.append(BadItem(place, error.reason, f"{place}: {error}"))
    return _some(unique(items, path), path, where)


def unused_fields(paths: Iterable[str | os.PathLike], where: Mapping[str, str]) -> dict[str, int]:
    """How many lines of the manifests have each field that nothing here reads. Trees have none."""
    counts: dict[str, int] = {}
    for path in map(pathlib.Path, paths):
        if path.is_dir() or path.suffix == ".txt":
            continue
        for _, fields in line_files.json_lines(path, skip_bad=True):
            for name in () if isinstance(fields, RejectedItem) else fields.keys() - KNOWN_FIELDS - where.keys():
                counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def unique(items: list[T], place: str | os.PathLike) -> list[T]:
    """The items, whose ids must differ. Raises: DataError naming `place` and the id."""
    seen = set()
    for item in items:
        if item.id in seen:  # ty: ignore[missing-attribute]
            raise DataError(f"{place}: {item.id}: the id is there twice; give every item its own")  # ty: ignore[missing-attribute]
        seen.add(item.id)  # ty: ignore[missing-attribute]
    return items


def read_all_items(
    paths: Sequence[str | os.PathLike], where: Mapping[str, str], skip_bad: bool = False
) -> list[Item | BadItem]:
    """The items of several manifests and trees. Raises: DataError where two items have one id."""
    found = [read_items(path, where, skip_bad) for path in paths]
    return unique([item for items in found for item in items], ", ".join(map(str, paths)))


def iter_texts(path: str | os.PathLike, where: Mapping[str, str], skip_bad: bool = False) -> Iterator[str]:
    """The texts alone, of text documents or of transcripts, empty and bad ones left out. Raises: as `iter_text`."""
    found = read_items(path, where, skip_bad) if pathlib.Path(path).is_dir() else iter_text(path, where, skip_bad)
    return (item.text for item in found if not isinstance(item, BadItem) and item.text.strip())


def iter_text(
    path: str | os.PathLike, where: Mapping[str, str], skip_bad: bool = False, name: str | None = None
) -> Iterator[TextItem | BadItem]:
    """Text documents of a JSON-lines file `{text[, id]}`, or of a .txt file with one document per line.

    A document without id is named by file and line: "news.txt:12", or by `name` and line (`short_names`). Blank lines of
    a .txt file are no documents. Raises: DataError naming file and line; with `skip_bad` such a line is a BadItem.
    """
    return (item for item, _ in iter_text_fields(path, where, skip_bad, name))


def iter_text_fields(
    path: str | os.PathLike, where: Mapping[str, str], skip_bad: bool = False, name: str | None = None
) -> Iterator[tuple[TextItem | BadItem, dict[str, Any]]]:
    """As `iter_text`, each document with all fields of its line, none for .txt."""
    path = pathlib.Path(path)
    name = path.name if name is None else name
    if line_files.suffix(path) == ".txt":
        if where:
            raise DataError(f"{path}: plain text has no fields to select by {dict(where)}; leave the filter out")
        for number, place, line in line_files.lines(path, skip_bad):
            if isinstance(line, RejectedItem):
                yield BadItem(place, line.reason, f"{place}: {line}"), {}
            elif line.strip():
                yield TextItem(f"{name}:{number}", line.strip(), place), {}
        return
    for place, fields in line_files.json_lines(path, skip_bad):
        if isinstance(fields, RejectedItem):
            yield BadItem(place, fields.reason, f"{place}: {fields}"), {}
            continue
        try:
            if selected(fields, where):
                number = place.rpartition(" ")[2]
                item_id = id_of(fields) if "id" in fields else f"{name}:{number}"
                yield TextItem(item_id, text_of(fields, "text"), place), fields
        except RejectedItem as error:
            if not skip_bad and error.reason != line_files.NOT_TEXT:
                raise DataError(f"{place}: {error}") from error
            yield BadItem(place, error.reason, f"{place}: {error}"), {}


def short_names(paths: Sequence[str | os.PathLike]) -> list[str]:
    """A name for each file, for ids: its own, with as many folders before it as tell it from the others.

    Example: ["a/part-0.jsonl", "b/part-0.jsonl", "b/c.txt"] -> ["a/part-0.jsonl", "b/part-0.jsonl", "c.txt"]
    """
    parts = [pathlib.PurePath(os.path.abspath(path)).parts for path in paths]
    names = []
    for mine in parts:
        others = [theirs for theirs in parts if theirs != mine]
        count = next(n for n in range(1, len(mine) + 1) if all(theirs[-n:] != mine[-n:] for theirs in others))
        names.append("/".join(mine[-count:]))
    return names


def _some(items: list[T], path: pathlib.Path, where: Mapping[str, str]) -> list[T]:
    if not items:
        chosen = f" with {dict(where)}" if where else ""
        raise DataError(f"{path}: has no items{chosen}; add lines or change the filter")
    return items
