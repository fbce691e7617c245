"""The layout of what `--manifest` names: the one of `--layout`, or the one that the place looks like.

A file is known by its suffix, a folder by what lies in it, a pattern by the first file that it matches.
"""

import os
from collections.abc import Sequence
from typing import Literal

from lst_jax.core.errors import DataError
from lst_jax.prepare.corpora import layouts as _registered  # noqa: F401
from lst_jax.prepare.corpora import listing, registry
from lst_jax.prepare.corpora.corpus import Corpus
from lst_jax.prepare.corpora.protocol import Reader
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

NO_SETTINGS = Settings()


def open_corpus(
    paths: Sequence[str | os.PathLike],
    kind: Literal["speech", "text"],
    settings: Settings = NO_SETTINGS,
    layout: str | None = None,
) -> Corpus:
    """The files at all `paths`, with the readers of their layouts; `layout` names one for all of them.

    Raises: DataError where a place is not there, holds nothing of its layout, or its layout is not known; StorageError.
    """
    readers: dict[tuple[str, str], Reader] = {}
    sources = []
    for place in map(to_place, paths):
        chosen = registry.layout_called(layout, kind) if layout else layout_of(place, kind)
        key = (chosen.kind, chosen.name)
        if key not in readers:
            readers[key] = chosen.open(settings)
        files = readers[key].files(place)
        if not files:
            raise DataError(f"{place}: has no {chosen.what}; correct the path, or name another --layout")
        sources.append((readers[key], files))
    return Corpus(kind, sources, ", ".join(map(str, paths)))


def open_any(paths: Sequence[str | os.PathLike], settings: Settings = NO_SETTINGS, layout: str | None = None) -> Corpus:
    """As `open_corpus`, of texts, or of speech where they look like a layout of speech alone."""
    kinds: tuple[Literal["text", "speech"], ...] = ("text", "speech")
    if layout is not None:
        kinds = tuple(kind for kind in kinds if (kind, layout) in registry.LAYOUTS)[:1] or ("text",)
    try:
        return open_corpus(paths, kinds[0], settings, layout)
    except DataError:
        if layout is not None or not all(objects.is_folder(to_place(path)) for path in paths):
            raise
        return open_corpus(paths, "speech", settings)


def layout_of(place: Place, kind: str) -> Layout:
    """The layout that a place looks like. Raises: DataError where it looks like none."""
    known = [layout for layout in registry.LAYOUTS.values() if layout.kind == kind]
    if listing.is_pattern(place):
        names = [str(path) for path in objects.matching(place)]
        if not names:
            raise DataError(f"{place}: no file matches the pattern; correct it")
    elif objects.is_folder(place):
        found = next((layout for layout in known if layout.is_at is not None and layout.is_at(place)), None)
        if found is not None:
            return found
        names = list(objects.listing(place))
    else:
        names = [place.name]
    suffixes = dict.fromkeys(map(listing.suffix, names))
    found = next((layout for suffix in suffixes for layout in known if suffix in layout.suffixes), None)
    if found is not None:
        return found
    if len(names) == 1 and not objects.is_folder(place):
        return registry.layout_called("jsonl", kind)  # whatever the file is called
    raise DataError(
        f"{place}: has no *.trans.txt, no transcripts.txt and no file of another known kind "
        f"({', '.join(sorted({s for layout in known for s in layout.suffixes}))}); name its --layout: "
        f"{', '.join(layout.name for layout in known)}"
    )
