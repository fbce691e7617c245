"""A small world as `lst prepare world` writes it, and what its files say, read without the code that wrote them."""

import json
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from lst_jax.prepare.world import items, write

SETTINGS = write.Settings(people=96, hours=0.5, text_times=1.2, items=250, seed=0)
KINDS = tuple(items.KINDS)


def lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def split_into_sentences(text: str) -> list[str]:
    """Example: "he sat. she sat." -> ["he sat.", "she sat."]."""
    assert text.endswith(".")
    return [f"{one}." for one in text.removesuffix(".").split(". ")]


def sentences_of(item: dict[str, Any]) -> Iterator[str]:
    """Every whole sentence of an item: those of its story, and each ending behind what the story has begun."""
    story = item["prompt"]["text"]
    closed, begun = (story, "") if story.endswith(".") else (story[: story.rindex(".") + 1], story.rpartition(". ")[2])
    yield from split_into_sentences(closed)
    for choice in item["choices"]:
        yield f"{begun} {choice['text']}".strip()


class Written(NamedTuple):
    """The files of a world."""

    path: pathlib.Path
    facts: list[dict[str, Any]]
    speech: list[dict[str, Any]]
    text: list[dict[str, Any]]
    tasks: dict[str, list[dict[str, Any]]]


def read(path: pathlib.Path) -> Written:
    """All files of a directory."""
    tasks = {kind: lines(path / "tasks" / f"{kind}.jsonl") for kind in KINDS}
    return Written(path, *(lines(path / f"{name}.jsonl") for name in ("facts", "speech", "text")), tasks)
