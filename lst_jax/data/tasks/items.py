"""Items of a task: a prompt, its choices, and which choice is right (docs/formats_external.md, "Tasks").

Example: a line of a task's file with all fields, and one without the optional fields:

    {"id": "a1", "prompt": {"text": "Tom was hungry.", "units": [7, 7, 9]}, "choices": [{"text": "He ate.", "units":
     [3]}, {"text": "He slept.", "units": [4]}], "label": 0, "group": "a", "bands": {"band": "x"}, "unit_rate": 25.0}
    {"prompt": null, "choices": [{"text": "brick"}, {"text": "blick"}], "label": 0}
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.alignment import fit_frames, to_seconds
from lst_jax.data.importers import base
from lst_jax.data.records import Utterance, Word, check_utterance
from lst_jax.storage.place import Place, to_place

ITEM_FIELDS = frozenset({"id", "prompt", "choices", "label", "group", "bands", "unit_rate", "codebook"})
HIGHEST_RATE = 48000  # units per second: no more than samples
PART_FIELDS = frozenset({"text", "units", "words", "name"})


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A prompt or a choice, as text, as speech units uint16 [frames], or as both. A form that is missing is None.

    Runs whose patches follow words need `words`, in frames. In benchmarks of audio, `name` is the name of its file.
    """

    text: str | None
    units: np.ndarray | None = None
    words: tuple[Word, ...] | None = None
    name: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Item:
    """A question. `label` counts choices from 0, or is None where it is not known. Without `prompt`, choices stand alone.

    Results of the items of one `group` (the voices of a pair) are averaged first. `bands` are the headings under which
    its result is reported, such as {"frequency": "oov"}.
    """

    id: str
    prompt: Part | None
    choices: tuple[Part, ...]
    label: int | None
    group: str | None = None
    bands: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Task:
    """The items of one file. `note` says how the file was read. Rate and codebook are None where it gives none."""

    items: tuple[Item, ...]
    note: str = ""
    unit_rate: float | None = None
    codebook: str | None = None  # fingerprint of the unit tokenizer


def check(items: Sequence[Item], place: str | os.PathLike | Place) -> None:
    """Raises: DataError where there are no items, two have one id, or a label is not the number of a choice."""
    if not items:
        raise DataError(f"{place}: has no items; add some")
    seen = set()
    for item in items:
        if item.id in seen:
            raise DataError(f"{place}: item {item.id}: two items have this id; give each its own")
        seen.add(item.id)
        if not item.choices or (item.label is not None and not (0 <= item.label < len(item.choices) > 1)):
            raise DataError(
                f"{place}: item {item.id}: label={item.label}: must be from 0 to the {len(item.choices)} "
                "choices less one, of two or more; correct it"
            )


def read(path: str | os.PathLike | Place) -> Task:
    """Reads a task's JSON lines. An item without an id is named after its line: "task.jsonl:3".

    Raises: DataError naming file, line and fix. A field that the format does not have is an error too.
    """
    items, rates, codebooks = [], set(), set()
    for place, line in base.text_lines(path):
        try:
            fields = base.json_object(line)
            item, rate, codebook = _item(fields, f"{to_place(path).name}:{place.rpartition(' ')[2]}")
        except RejectedItem as error:
            raise DataError(f"{place}: {error}") from error
        items.append(item)
        rates.add(rate)
        codebooks.add(codebook)
    check(items, path)
    for name, values in (("unit_rate", rates), ("codebook", codebooks)):
        if len(values) > 1:
            raise DataError(
                f"{path}: {name}: lines have different values ({', '.join(sorted(map(str, values)))}); give "
                "all units one"
            )
    return Task(tuple(items), "", rates.pop(), codebooks.pop())


def line(item: Item, unit_rate: float | None, codebook: str | None) -> dict[str, Any]:
    """The JSON object of an item. `read` gives the item back."""
    fields = {
        "id": item.id,
        "prompt": None if item.prompt is None else _part_line(item.prompt, unit_rate),
        "choices": [_part_line(part, unit_rate) for part in item.choices],
        "label": item.label,
    }
    if item.group is not None:
        fields["group"] = item.group
    if item.bands:
        fields["bands"] = dict(item.bands)
    if unit_rate is not None:
        fields |= {"unit_rate": unit_rate, "codebook": codebook}
    return fields


def digest(items: Sequence[Item]) -> str:
    """16 hexadecimal digits of what is asked: ids, groups, labels and bands, and the texts and units of all parts."""
    found = hashlib.sha256()
    for item in items:
        own = [[part.text, None if part.units is None else part.units.tolist()] for _, part in parts(item)]
        asked = [item.id, item.group, item.label, dict(item.bands), item.prompt is None, own]
        found.update(json.dumps(asked, ensure_ascii=False).encode() + b"\n")
    return found.hexdigest()[:16]


def parts(item: Item) -> Iterable[tuple[str, Part]]:
    """The item's prompt, if it has one, and its choices, each after its name: "prompt", "choice0", …"""
    if item.prompt is not None:
        yield "prompt", item.prompt
    for number, part in enumerate(item.choices):
        yield f"choice{number}", part


def _item(fields: Mapping[str, Any], name: str) -> tuple[Item, float | None, str | None]:
    _no_others(fields, ITEM_FIELDS, "an item")
    rate, codebook = None, base.optional_text(fields, "codebook")
    if "unit_rate" in fields and fields["unit_rate"] is not None:
        rate = base.field(fields, "unit_rate", (int, float))
        if not 0 < rate <= HIGHEST_RATE:
            raise RejectedItem(
                "bad rate", f"unit_rate={base.short(rate)}: must be above 0, up to {HIGHEST_RATE}; correct it"
            )
        rate = float(rate)
    prompt = fields["prompt"] if "prompt" in fields else None
    choices = base.field(fields, "choices", list)
    label = fields["label"] if "label" in fields else None
    if label is not None:
        label = base.field(fields, "label", int)
    bands = fields["bands"] if "bands" in fields else {}
    if not isinstance(bands, dict) or not all(isinstance(v, str) for v in bands.values()):
        raise RejectedItem("wrong type", "bands must be an object of strings; correct it")
    item = Item(
        base.item_id(fields, "id") if "id" in fields else name,
        None if prompt is None else _part(prompt, "prompt", rate),
        tuple(_part(part, f"choices[{i}]", rate) for i, part in enumerate(choices)),
        label,
        base.optional_text(fields, "group"),
        bands,
    )
    return item, rate, codebook


def _part(fields: Any, place: str, rate: float | None) -> Part:
    if isinstance(fields, str):
        fields = {"text": fields}
    if not isinstance(fields, dict):
        raise RejectedItem("wrong type", f"{place} must be an object with text, units or both; correct it")
    _no_others(fields, PART_FIELDS, place)
    units = words = None
    if "units" in fields and fields["units"] is not None:
        units = base.unit_array(base.field(fields, "units", list), f"{place}.units")
    if "words" in fields and fields["words"] is not None:
        if units is None or rate is None:
            raise RejectedItem("missing field", f"{place}.words: needs units, and unit_rate in the line; add them")
        words = fit_frames(base.placed_words(fields["words"], f"{place}.words"), rate, len(units))
    part = Part(base.optional_text(fields, "text"), units, words, base.optional_text(fields, "name"))
    if part.text is None and units is None and part.name is None:
        raise RejectedItem("missing field", f"{place}: has neither text nor units; add one of them")
    if units is not None:
        try:
            check_utterance(Utterance(place, units, words or (), None, None), 1 << 16)
        except DataError as error:
            raise RejectedItem("bad units", str(error)) from error
    return part


def _part_line(part: Part, rate: float | None) -> dict[str, Any]:
    fields: dict[str, Any] = {"text": part.text}
    if part.units is not None:
        fields["units"] = part.units.tolist()
    if part.words is not None:
        fields["words"] = [[text, round(start, 4), round(end, 4)] for text, start, end in to_seconds(part.words, rate)]
    if part.name is not None:
        fields["name"] = part.name
    return fields


def _no_others(fields: Mapping[str, Any], known: frozenset[str], place: str) -> None:
    others = sorted(fields.keys() - known)
    if others:
        raise RejectedItem(
            "unknown field", f"{place} has the field {others[0]!r}; known are {', '.join(sorted(known))}"
        )
