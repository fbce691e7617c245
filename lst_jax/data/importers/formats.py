"""What an import format is: a reader of other programs' files, and where there is one, a writer.

A format of units (`UnitFormat`) gives whole utterances. A format of alignments (`AlignmentFormat`) gives words in
seconds for units from elsewhere; `lst prepare speech --aligner NAME:PATH` takes it as well. `registry` knows them all.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lst_jax.data.importers.alignments import AlignmentFile
from lst_jax.data.importers.base import OnBad
from lst_jax.data.records import Utterance
from lst_jax.storage.place import Place

Path = str | os.PathLike | Place


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of one format on the command line, `--NAME`. A `flag` takes no value, a `path` may be an address."""

    name: str  # with underscores, as the reader's keyword
    help: str
    flag: bool = False
    metavar: str | None = None
    path: bool = False


SPEAKER = Option("speaker", "whose words, where a file has several speakers (of a moshi file: SPEAKER_MAIN)")


@dataclasses.dataclass(frozen=True)
class Units:
    """What the command line says of a file of units, for its reader."""

    unit_rate: float  # units per second
    codebook_size: int
    source: str | None  # name of the corpus, for utterances that name none
    options: Mapping[str, Any]  # of the format's `options`, those that were given
    note: Callable[[str], None] = lambda what: None  # counts what a reader had to change, for the report


@dataclasses.dataclass(frozen=True)
class Export:
    """A writer: the text of one utterance. With `suffix`, each utterance is a file ID + suffix of a folder."""

    what: str
    format: Callable[[Utterance, float], str]  # of an utterance and its units per second; raises RejectedItem
    suffix: str | None = None


@dataclasses.dataclass(frozen=True)
class UnitFormat:
    """Files with units, and perhaps with words.

    `read(path, units, on_bad)` gives the utterances; a bad item goes to `on_bad` as a RejectedItem. The path may be a
    place of a bucket, which `base.items_of_lines` and `storage.objects` read as well.
    `unit_rate` and `codebook_size` are the format's own values, where it has them; without, the user is asked.
    `stated_rate` reads the rate from the file, where the file can say it. `patterns` are the names that such files have
    in a folder.
    """

    name: str
    what: str
    read: Callable[[Path, Units, OnBad], Iterator[Utterance]]
    unit_rate: float | None = None
    codebook_size: int | None = None
    stated_rate: Callable[[Path], float | None] | None = None
    options: tuple[Option, ...] = ()
    export: Export | None = None
    patterns: tuple[str, ...] = ("*.jsonl", "*.json", "*.txt")


@dataclasses.dataclass(frozen=True)
class AlignmentFormat:
    """Files with words in seconds. `open(path, **options)` gives their lookup by item id; the path as of `UnitFormat`.

    `open` must be a function of a module, so that a process of its own can be told of it.
    """

    name: str
    what: str
    open: Callable[..., AlignmentFile]
    options: tuple[Option, ...] = ()
    export: Export | None = None
