"""A JSON document with a list of items, instead of a line for each: what `json.dump` makes of a list.

Source: https://huggingface.co/docs/datasets/loading#json (a list, or one in a field of an object).

    [{"id": "u1", "audio": "u1.flac", "text": "hello"}, …]        {"version": 1, "data": [{"text": "A document."}, …]}

The items have the fields of a manifest. The document is read in blocks, so it may be of any size.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.importers.formats import Option
from lst_jax.prepare.corpora import fields, json_parts, listing
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part, TextItem
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage.place import Place

NAME = "json-array"
KEY = Option(
    "json_key", "the field of the list, where the document is an object (default: it is a list)", metavar="NAME"
)


@dataclasses.dataclass(frozen=True)
class JsonArray:
    """Elements of a list → items. `kind` says of which kind of items."""

    settings: Settings
    kind: Literal["speech", "text"]
    name: str = NAME

    def files(self, place: Place) -> list[InputFile]:
        """See `Reader.files`."""
        found = listing.input_files(place, lambda name: listing.suffix(name) == ".json")
        if not found:
            raise DataError(f"{place}: has no *.json; give a file with a list of objects")
        return found

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `Reader.parts`."""
        key = self.settings.options[KEY.name] if KEY.name in self.settings.options else None
        return json_parts.parts(file, number, part_items, self.settings.exact, key)

    def read(self, part: Part) -> Iterator[Item | TextItem | BadItem]:
        """See `Reader.read`."""
        return json_parts.items_of(part, lambda place, name, value: self._items(part, place, value))

    def _items(self, part: Part, place: str, value: Any) -> Iterator[Item | TextItem | BadItem]:
        item = fields.item_or_bad(place, self.settings.skip_bad, lambda: self._item(part, place, value))
        if item is not None:
            yield item

    def _item(self, part: Part, place: str, value: Any) -> Item | TextItem | None:
        """Raises: RejectedItem."""
        if not isinstance(value, dict):
            raise RejectedItem(
                "not JSON", f"must be a JSON object, not {type(value).__name__}; is it the list of items?"
            )
        if not fields.selected(value, self.settings.where):
            return None
        if self.kind == "speech":
            return fields.item_of(value, part.place.parent, place, self.settings.text_field)
        item_id = fields.id_of(value) if "id" in value else f"{part.input_name}:{place.rpartition(' ')[2]}"
        return TextItem(item_id, fields.text_of(value, self.settings.text_field), place)


LAYOUTS = (
    Layout(NAME, "a JSON list of objects with audio and text", "speech", lambda s: JsonArray(s, "speech"), (KEY,)),
    Layout(NAME, "a JSON list of objects with text", "text", lambda s: JsonArray(s, "text"), (KEY,)),
)
