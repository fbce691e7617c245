"""Readers of files with an item on each line: JSON lines of recordings or of documents, and plain text.

    {"id": "u1", "audio": "audio/u1.ogg", "text": "hello world", "speaker": "s1", "split": "train"}
    {"id": "d1", "text": "A document.\\nOf two lines."}

The audio path is relative to the manifest. `fields` says what else a line may have. Files may be compressed (.gz, .zst).
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data import line_files
from lst_jax.prepare.corpora import fields as item_fields
from lst_jax.prepare.corpora import line_parts, listing
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part, TextItem
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage.place import Place

JSON_SUFFIXES = (".jsonl", ".json", ".ndjson")
TEXT_SUFFIXES = (".txt",)


@dataclasses.dataclass(frozen=True)
class JsonLines:
    """JSON lines, one item each. `kind` says of which kind of items."""

    settings: Settings
    kind: Literal["speech", "text"]
    name: str = "jsonl"

    def files(self, place: Place) -> list[InputFile]:
        """See `Reader.files`."""
        return _files(place, JSON_SUFFIXES)

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `Reader.parts`."""
        return _parts(self.settings, self.kind, file, number, part_items)

    def read(self, part: Part) -> Iterator[Item | TextItem | BadItem]:
        """See `Reader.read`."""
        return (item for item, _ in self.read_with_fields(part))

    def read_with_fields(self, part: Part) -> Iterator[tuple[Item | TextItem | BadItem, dict[str, Any]]]:
        """As `read`, each item with all fields of its line. Raises: DataError."""
        skip_bad = self.settings.skip_bad
        for place, fields in line_files.objects_of(line_parts.lines(part, skip_bad), skip_bad):
            if isinstance(fields, RejectedItem):
                yield BadItem(place, fields.reason, f"{place}: {fields}", stops=True), {}
                continue
            try:
                if item_fields.selected(fields, self.settings.where):
                    yield self._item(fields, part, place), fields
            except RejectedItem as error:
                if not skip_bad and error.reason != line_files.NOT_TEXT:
                    raise DataError(f"{place}: {error}") from error
                yield BadItem(place, error.reason, f"{place}: {error}", stops=error.reason != line_files.NOT_TEXT), {}

    def _item(self, fields: dict[str, Any], part: Part, place: str) -> Item | TextItem:
        if self.kind == "speech":
            return item_fields.item_of(fields, part.place.parent, place, self.settings.text_field)
        number = place.rpartition(" ")[2]
        item_id = item_fields.id_of(fields) if "id" in fields else f"{part.input_name}:{number}"
        return TextItem(item_id, item_fields.text_of(fields, self.settings.text_field), place)


@dataclasses.dataclass(frozen=True)
class PlainText:
    """Plain text, a document on each line that is not blank; it is named by file and line: "news.txt:12"."""

    settings: Settings
    name: str = "txt"

    def files(self, place: Place) -> list[InputFile]:
        """See `Reader.files`."""
        if self.settings.where:
            raise DataError(
                f"{place}: plain text has no fields to select by {dict(self.settings.where)}; leave the filter out"
            )
        return _files(place, TEXT_SUFFIXES)

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `Reader.parts`."""
        return _parts(self.settings, "text", file, number, part_items)

    def read(self, part: Part) -> Iterator[TextItem | BadItem]:
        """See `Reader.read`."""
        for number, place, line in line_parts.lines(part, self.settings.skip_bad):
            if isinstance(line, RejectedItem):
                yield BadItem(place, line.reason, f"{place}: {line}", stops=True)
            elif line.strip():
                yield TextItem(f"{part.input_name}:{number}", line.strip(), place)


def _files(place: Place, suffixes: tuple[str, ...]) -> list[InputFile]:
    return listing.input_files(place, lambda name: listing.suffix(name) in suffixes)


def _parts(settings: Settings, kind: str, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
    """Texts are made faster than lines are counted, so that parts of any number of lines serve them."""
    if kind == "text" and not settings.exact:
        return line_parts.large_parts(file, number)
    return line_parts.parts(file, number, part_items)


LAYOUTS = (
    Layout(
        "jsonl",
        "JSON lines with audio and text",
        "speech",
        lambda settings: JsonLines(settings, "speech"),
        suffixes=JSON_SUFFIXES,
    ),
    Layout(
        "jsonl", "JSON lines with text", "text", lambda settings: JsonLines(settings, "text"), suffixes=JSON_SUFFIXES
    ),
    Layout("txt", "plain text, a document per line", "text", PlainText, suffixes=TEXT_SUFFIXES),
)
