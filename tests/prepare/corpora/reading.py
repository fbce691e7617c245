"""Reading a corpus as the command does: files, parts and items, the reader and its parts through pickle."""

import pathlib
import pickle

import lst_jax.prepare.corpora.layouts  # noqa: F401 - it registers them
from lst_jax.prepare.corpora.protocol import BadItem, Item, Reader
from lst_jax.prepare.corpora.registry import Settings, layout_called


def parts_of(reader: Reader, place, part_items: int = 2):
    """All parts of a place."""
    return [part for number, file in enumerate(reader.files(place)) for part in reader.parts(file, number, part_items)]


def read(name: str, place, part_items: int = 2, **settings) -> list[Item | BadItem]:
    """The items of a place. Each part is read as by another process; parts are small, so that there are several."""
    reader = layout_called(name, "speech").open(Settings(**settings))
    assert isinstance(reader, Reader) and reader.name == name
    parts = parts_of(reader, place, part_items)
    assert sorted(part.name for part in parts) == [part.name for part in parts] and len({p.name for p in parts}) == len(
        parts
    )
    items = []
    for part in parts:
        other, copy = pickle.loads(pickle.dumps((reader, part)))
        items += other.read(copy)
    assert all(item.place or isinstance(item, BadItem) for item in items)
    return items


def write(path: pathlib.Path, content: str | bytes) -> pathlib.Path:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
