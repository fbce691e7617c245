"""The layouts that `--layout NAME` can name, and how a new one is added.

To add one, write a file with a reader (`protocol.Reader`) and LAYOUTS that describe it, and list them in `layouts`:

    LAYOUTS = (Layout("librispeech", "a tree of *.trans.txt files", "speech", LibriSpeech),)
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

from lst_jax.core.errors import DataError
from lst_jax.data.importers.formats import Option
from lst_jax.prepare.corpora.protocol import Reader
from lst_jax.storage.place import Place


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command line says to every reader. It pickles."""

    where: Mapping[str, str] = dataclasses.field(default_factory=dict)  # fields and the values that select
    skip_bad: bool = False  # a line that is no item becomes a BadItem
    text_field: str = "text"
    exact: bool = False  # parts must have `part_items` items, but for the last of a file
    sound: bool = True  # False: sound in a table or a tar may be left out, and items last as long as their fields say
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of the layout's `options`, those given


@dataclasses.dataclass(frozen=True)
class Layout:
    """A layout of files: `open` makes its reader. Without `--layout` it is chosen by `suffixes` or `is_at`.

    `suffixes` are of files, without that of a compression. `is_at` looks at a folder of this machine or of a bucket.
    """

    name: str
    what: str
    kind: Literal["speech", "text"]
    open: Callable[[Settings], Reader]
    options: tuple[Option, ...] = ()
    suffixes: tuple[str, ...] = ()
    is_at: Callable[[Place], bool] | None = None


LAYOUTS: dict[tuple[str, str], Layout] = {}


def register(layout: Layout) -> None:
    """Adds a layout. Raises: ValueError where it is not complete, or its name is taken, for speech or for text."""
    if not (layout.name and layout.what and callable(layout.open)):
        raise ValueError(f"layout {layout.name!r}: a name, what it is, and a function that makes its reader are needed")
    if (layout.kind, layout.name) in LAYOUTS:
        raise ValueError(f"layout {layout.name!r}: the name is registered already")
    LAYOUTS[layout.kind, layout.name] = layout


def layout_called(name: str, kind: str) -> Layout:
    """Raises: DataError where there is none of that name and kind."""
    if (kind, name) not in LAYOUTS:
        known = sorted(n for k, n in LAYOUTS if k == kind)
        raise DataError(f"--layout {name}: must be {', '.join(known)}; correct it, or leave it out")
    return LAYOUTS[kind, name]
