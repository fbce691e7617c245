"""Manifests that are small enough to be held: their items as lists, for commands that need all of them at once."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data import line_files
from lst_jax.prepare.corpora import fields, line_parts, lines
from lst_jax.prepare.corpora.choose import open_corpus
from lst_jax.prepare.corpora.corpus import Corpus, without_bad
from lst_jax.prepare.corpora.protocol import BadItem, Item, TextItem
from lst_jax.prepare.corpora.registry import Settings

T = TypeVar("T")  # something with an id


def read_items(path: str | os.PathLike, where: Mapping[str, str], skip_bad: bool = False) -> list[Item | BadItem]:
    """Items of a speech manifest, or of another corpus whose layout is seen by its name.

    `where` keeps the lines with these field values. With `skip_bad`, a line that is no item becomes a BadItem.
    Raises: DataError naming the file, the line and the fix; also where two items have one id, or there are none.
    """
    corpus = open_corpus([path], "speech", Settings(where, skip_bad))
    items = unique(list(corpus.items()), path)
    if not items:
        raise corpus.empty()
    return items


def unused_fields(corpus: Corpus) -> dict[str, int]:
    """How many lines of the JSON-lines manifests of a corpus have each field that nothing here reads."""
    counts: dict[str, int] = {}
    for part in corpus.parts(1000):
        reader = corpus.readers.of(part)
        if not isinstance(reader, lines.JsonLines):
            continue
        known = fields.KNOWN_FIELDS | reader.settings.where.keys()
        for _, found in line_files.objects_of(line_parts.lines(part, skip_bad=True), skip_bad=True):
            for name in () if isinstance(found, RejectedItem) else found.keys() - known:
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


def iter_texts(corpora: Sequence[Corpus]) -> Iterator[str]:
    """The texts alone, of documents or of transcripts, empty and bad ones left out. Raises: DataError."""
    return (item.text for corpus in corpora for item in without_bad(corpus.items()) if item.text.strip())


def iter_text_fields(corpus: Corpus) -> Iterator[tuple[TextItem | BadItem, dict[str, Any]]]:
    """The documents of a corpus of texts, each with all fields of its line; none where it is no JSON line."""
    for part in corpus.parts(1000):
        reader = corpus.readers.of(part)
        if isinstance(reader, lines.JsonLines):
            yield from reader.read_with_fields(part)  # ty: ignore[invalid-yield]
        else:
            yield from ((item, {}) for item in reader.read(part))
