"""What is to be prepared: JSON-lines manifests, LibriSpeech-style trees and plain text.

A speech manifest has one JSON object a line; the audio path is relative to the manifest:

    {"id": "u1", "audio": "audio/u1.ogg", "text": "hello world", "speaker": "s1", "split": "train"}
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from lst_jax.core.errors import DataError

T = TypeVar("T")  # something with an id


@dataclasses.dataclass(frozen=True)
class Item:
    """A recording and its transcript."""

    id: str
    audio_path: pathlib.Path
    text: str
    speaker: str | None


@dataclasses.dataclass(frozen=True)
class TextItem:
    """A text document."""

    id: str
    text: str


def read_items(path: str | os.PathLike, where: Mapping[str, str]) -> list[Item]:
    """Items of a manifest file or, where `path` is a directory, of a LibriSpeech-style tree.

    Raises: DataError naming the file, the line and the fix.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or directory; give a JSON-lines manifest or a LibriSpeech-style tree")
    if not path.is_dir():
        return read_manifest(path, where)
    if where:
        raise DataError(f"{path}: a tree has no fields to select by {dict(where)}; leave the filter out")
    return read_librispeech(path)


def read_manifest(path: str | os.PathLike, where: Mapping[str, str]) -> list[Item]:
    """Reads `{audio, text[, id, speaker]}` lines; `where` keeps the lines with these field values.

    The id of a line without one is its audio path without suffix. Empty transcripts are kept here: they are counted as
    rejected when they are prepared.
    Example: read_manifest("m.jsonl", {"split": "train"}) -> [Item("u1", Path("audio/u1.ogg"), "hello world", "s1")]
    Raises: DataError naming file and line where the JSON, a key or an id is wrong, or nothing is selected.
    """
    path = pathlib.Path(path)
    items = []
    for number, fields in _json_lines(path):
        if not _selected(fields, where, f"{path}: line {number}"):
            continue
        audio, text = (_string(fields, key, path, number) for key in ("audio", "text"))
        name = _string(fields, "id", path, number) if "id" in fields else str(pathlib.PurePath(audio).with_suffix(""))
        speaker = fields["speaker"] if "speaker" in fields else None
        if not isinstance(speaker, str | None):
            raise DataError(f"{path}: line {number}: speaker must be a string or null; correct it")
        items.append(Item(name, path.parent / audio, " ".join(text.split()), speaker))
    return _some(unique(items, path), path, where)


def read_librispeech(root: str | os.PathLike) -> list[Item]:
    """Reads a tree `SPEAKER/CHAPTER/*.trans.txt` with the `.flac` files beside; transcripts become lower case.

    Example: "84-121123-0000 GO DO YOU HEAR" in 84/121123/84-121123.trans.txt
        -> Item("84-121123-0000", Path(".../84-121123-0000.flac"), "go do you hear", "84")
    Raises: DataError where there is no transcript file or a line is not "ID WORDS".
    """
    root = pathlib.Path(root)
    transcripts = sorted(root.glob("**/*.trans.txt"))
    if not transcripts:
        raise DataError(f"{root}: has no *.trans.txt; give a LibriSpeech-style tree SPEAKER/CHAPTER/*.trans.txt")
    items = []
    for transcript in transcripts:
        for number, line in enumerate(_lines(transcript), 1):
            name, _, text = line.strip().partition(" ")
            if not name:
                raise DataError(f"{transcript}: line {number}: is empty; each line must be `ID WORDS`")
            speaker = name.partition("-")[0]
            items.append(Item(name, transcript.parent / f"{name}.flac", " ".join(text.lower().split()), speaker))
    return _some(unique(items, root), root, {})


def unique(items: list[T], place: str | os.PathLike) -> list[T]:
    """The items, whose ids must differ. Raises: DataError naming `place` and the id."""
    seen = set()
    for item in items:
        if item.id in seen:  # ty: ignore[missing-attribute]
            raise DataError(f"{place}: {item.id}: the id is there twice; give every item its own")  # ty: ignore[missing-attribute]
        seen.add(item.id)  # ty: ignore[missing-attribute]
    return items


def iter_texts(path: str | os.PathLike, where: Mapping[str, str]) -> Iterator[str]:
    """The texts alone, of text documents or of transcripts, empty ones left out. Raises: as `iter_text`."""
    found = read_items(path, where) if pathlib.Path(path).is_dir() else iter_text(path, where)
    return (item.text for item in found if item.text.strip())


def iter_text(path: str | os.PathLike, where: Mapping[str, str]) -> Iterator[TextItem]:
    """Text documents of a JSON-lines file `{text[, id]}`, or of a .txt file with one document a line.

    A document without id is named by file and line: "news.txt:12". Blank lines of a .txt file are no documents.
    Raises: DataError naming file and line.
    """
    return (item for item, _ in iter_text_fields(path, where))


def iter_text_fields(path: str | os.PathLike, where: Mapping[str, str]) -> Iterator[tuple[TextItem, dict[str, Any]]]:
    """As `iter_text`, each document with all fields of its line, none for .txt."""
    path = pathlib.Path(path)
    if path.suffix == ".txt":
        if where:
            raise DataError(f"{path}: plain text has no fields to select by {dict(where)}; leave the filter out")
        for number, line in enumerate(_lines(path), 1):
            if line.strip():
                yield TextItem(f"{path.name}:{number}", line.strip()), {}
        return
    for number, fields in _json_lines(path):
        if _selected(fields, where, f"{path}: line {number}"):
            name = _string(fields, "id", path, number) if "id" in fields else f"{path.name}:{number}"
            yield TextItem(name, _string(fields, "text", path, number)), fields


def _json_lines(path: pathlib.Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}: line {number}: is not JSON ({error}); write one object a line") from error
        if not isinstance(fields, dict):
            raise DataError(
                f"{path}: line {number}: must be a JSON object, not {type(fields).__name__}; write one object a line"
            )
        yield number, fields


def _lines(path: pathlib.Path) -> Iterator[str]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; correct the path")
    with path.open(encoding="utf-8", newline="\n") as file:
        try:
            yield from file
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: is not UTF-8 text ({error.reason}); convert it") from error


def _selected(fields: Mapping[str, Any], where: Mapping[str, str], place: str) -> bool:
    for key, value in where.items():
        if key not in fields:
            raise DataError(f"{place}: has no field {key!r} to select by; add it or leave the filter out")
        if str(fields[key]) != value:
            return False
    return True


def _string(fields: Mapping[str, Any], key: str, path: pathlib.Path, number: int) -> str:
    if key not in fields:
        raise DataError(f"{path}: line {number}: has no {key!r}; it needs audio and text for speech, text for text")
    if not isinstance(fields[key], str):
        raise DataError(f"{path}: line {number}: {key} must be a string, not {type(fields[key]).__name__}; correct it")
    return fields[key]


def _some(items: list[Item], path: pathlib.Path, where: Mapping[str, str]) -> list[Item]:
    if not items:
        chosen = f" with {dict(where)}" if where else ""
        raise DataError(f"{path}: has no items{chosen}; add lines or change the filter")
    return items
