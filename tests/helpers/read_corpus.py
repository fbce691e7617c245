"""Reading a corpus as the command does: files, parts and items, the reader and its parts through pickle."""

import pathlib
import pickle

import lst_jax.prepare.corpora.layouts  # noqa: F401 - it registers them
from lst_jax.prepare.corpora.protocol import BadItem, Item, Reader
from lst_jax.prepare.corpora.registry import Settings, layout_called


def parts_of(reader: Reader, place, part_items: int = 2):
    """All parts of a place."""
    return [part for number, file in enumerate(reader.files(place)) for part in reader.parts(file, number, part_items)]


def read(name: str, place, part_items: int = 2, lines: bool = False, **settings) -> list[Item | BadItem]:
    """The items of a place. Each part is read as by another process; parts are small, so that there are several.

    Parts of exactly so many items give the same items. Where a part is so many `lines`, the first may be a header.
    """
    items, _ = _read(name, place, part_items, Settings(**settings))
    again, counts = _read(name, place, part_items, Settings(**settings, exact=True))
    assert again == items and (lines or {count for of_file in counts for count in of_file[:-1]} <= {part_items})
    assert all(item.place or isinstance(item, BadItem) for item in items)
    return items


def _read(name: str, place, part_items: int, settings: Settings) -> tuple[list[Item | BadItem], list[list[int]]]:
    """The items, and how many each part of each file gives."""
    reader = layout_called(name, "speech").open(settings)
    assert isinstance(reader, Reader) and reader.name == name
    items, names, counts = [], [], []
    for number, file in enumerate(reader.files(place)):
        counts.append([])
        for part in reader.parts(file, number, part_items):
            other, copy = pickle.loads(pickle.dumps((reader, part)))
            found = list(other.read(copy))
            items += found
            names.append(part.name)
            counts[-1].append(len(found))
    assert names == sorted(set(names))
    return items, counts


def write(path: pathlib.Path, content: str | bytes) -> pathlib.Path:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
