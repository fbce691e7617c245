"""What readers of layouts share: the files at a place, the items of lines, fields, and what becomes of a bad line."""

import csv
import dataclasses
import hashlib
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from lst_jax.core.errors import DataError, RejectedItem, first_line
from lst_jax.data import line_files
from lst_jax.data.importers.formats import Option
from lst_jax.prepare.corpora import fields as item_fields
from lst_jax.prepare.corpora import line_parts, listing
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place
from lst_jax.storage.walk import walk

Line = tuple[int, str, str | RejectedItem]  # number, place for messages, text
AUDIO_SUFFIXES = (".flac", ".wav", ".ogg", ".opus", ".mp3")  # where several files have one name, the first counts
HEADER_BYTES = 1 << 16
AUDIO_ROOT = Option(
    "audio_root", "the folder where relative paths of the corpus's audio begin", metavar="DIR", path=True
)


def files_at(place: Place, fits: Callable[[str], bool], layout: str, needs: str) -> list[InputFile]:
    """`listing.input_files`, of a layout that needs `needs`. Raises: DataError where there are none."""
    found = listing.input_files(place, fits)
    if not found:
        raise DataError(f"{place}: has nothing of the layout {layout}; give {needs}")
    return found


def tree_at(root: Place, layout: str, needs: str, fits: Callable[[str], bool]) -> list[InputFile]:
    """A tree of small files as one input. Its size is that of the files whose path `fits`, which are read as text.

    Its version is a digest of all that lies below it. Raises: DataError where it is no folder, or no path `fits`.
    """
    digest, size, some = hashlib.sha256(), 0, False
    for _, inside in walk(root) if objects.is_folder(root) else ():
        for one in inside:
            digest.update(f"{one.path}\0{one.size}\0{one.version}\n".encode(errors="surrogateescape"))
            if fits(one.path):
                size, some = size + one.size, True
    if not some:
        raise DataError(f"{root}: has nothing of the layout {layout}; give {needs}")
    return [InputFile(root, size, digest.hexdigest()[:16], str(root))]


def audio_root(settings: Settings, default: Place) -> Place:
    """Where relative paths begin: `--audio-root`, else `default`."""
    return to_place(settings.options["audio_root"]) if "audio_root" in settings.options else default


def check_options(settings: Settings, layout: str, **choices: tuple[str, ...]) -> None:
    """Raises: DataError where an option has a value that is none of its choices."""
    for name, allowed in choices.items():
        if name in settings.options and settings.options[name] not in allowed:
            option = f"--{name.replace('_', '-')}"
            raise DataError(f"{option} {settings.options[name]}: must be {', '.join(allowed)} for {layout}; correct it")


def refuse_filter(settings: Settings, layout: str) -> None:
    """Raises: DataError where fields are to select items of a layout that has none."""
    if settings.where:
        raise DataError(f"layout {layout}: has no fields to select by {dict(settings.where)}; leave the filter out")


def number_of_seconds(value: Any, name: str) -> float:
    """A number of seconds from 0, also written as a text. Example: "1.5" -> 1.5. Raises: RejectedItem."""
    try:
        found = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):  # an integer of hundreds of digits
        found = -1.0
    if not 0 <= found < 1e9:
        raise RejectedItem("wrong type", f"{name}={str(value)[:40]!r}: must be a number of seconds from 0; correct it")
    return found


def language(name: str) -> str:
    """The code of a language that is written out. Example: "English" -> "en", "fr" -> "fr" """
    return item_fields.language_code(name)


def lines_of_small_file(place: Place) -> Iterator[Line]:
    """The lines of a file that is read in one go. Raises: DataError where there is none."""
    try:
        content = objects.read_bytes(place)
    except OSError as error:
        raise DataError(f"{place}: cannot be read ({first_line(error)}); get the file again") from error
    yield from line_files.numbered(io.BytesIO(content), str(place), skip_bad=True)


def count_of_lines(place: Place) -> int:
    """How many items `items_of` gives for a small file, where each line is one. Raises: DataError."""
    return sum(isinstance(line, RejectedItem) or bool(line.strip()) for *_, line in lines_of_small_file(place))


def items_of(
    lines: Iterable[Line], settings: Settings, make: Callable[[str, str], Iterable[Item | BadItem]]
) -> Iterator[Item | BadItem]:
    """What `make(line, place)` gives for each line that is not blank; a RejectedItem that it raises is a bad line.

    Raises: DataError.
    """
    for _, where, line in lines:
        try:
            if isinstance(line, RejectedItem):
                raise line
            if line.strip():
                yield from make(line.rstrip("\r\n"), where)
        except RejectedItem as error:
            yield bad_line(where, error, settings)


def columns(place: Place, delimiter: str) -> list[str]:
    """The names of the columns of a table, from its first line. Raises: DataError where there is none."""
    for *_, line in line_files.numbered(io.BytesIO(objects.read_range(place, 0, HEADER_BYTES)), str(place)):
        return [name.strip() for name in split_row(line, delimiter)]
    raise DataError(f"{place}: is empty; its first line must name its columns")


def rows_of(
    part: Part,
    settings: Settings,
    delimiter: str,
    needs: Collection[str],
    make: Callable[[dict[str, str], str], Iterable],
) -> Iterator[Item | BadItem]:
    """`items_of` of a table whose first line names its columns; `make(row, place)` gets the rows that are selected.

    Raises: DataError, also where the table lacks one of the columns that the layout `needs`.
    """
    names = columns(part.place, delimiter)
    missing = [name for name in needs if name not in names]
    if missing:
        raise DataError(f"{part.place}: line 1: has no column {', '.join(missing)}; is it of this layout?")

    def items(line: str, where: str) -> Iterable[Item | BadItem]:
        cells = split_row(line, delimiter)
        if len(cells) != len(names):
            raise RejectedItem("wrong columns", f"has {len(cells)} columns, the first line {len(names)}; correct it")
        row = dict(zip(names, cells, strict=True))
        line_files.check_text(line, "the line")
        return make(row, where) if item_fields.selected(row, settings.where) else ()

    lines = (found for found in line_parts.lines(part, skip_bad=True) if found[0] > 1)
    return items_of(lines, settings, items)


def split_row(line: str, delimiter: str) -> list[str]:
    """The cells of a line. Only those parted by commas may be quoted: other tables have quotes in their texts.

    Raises: RejectedItem.
    """
    line = line.rstrip("\r\n")
    if delimiter != ",":
        return line.split(delimiter)
    try:
        return next(csv.reader([line], skipinitialspace=True), [])
    except csv.Error as error:
        raise RejectedItem("wrong columns", f"is no line of a table ({first_line(error)}); correct it") from error


def plain(text: str) -> str:
    """A transcript as it is stored: one blank between words."""
    return " ".join(text.split())


def lower(text: str) -> str:
    """`plain`, in lower case: for corpora that write capitals alone."""
    return plain(text).lower()


def usual(text: str) -> str:
    """`plain`, in lower case where there are capitals alone."""
    return lower(text) if text.isupper() else plain(text)


def bad_line(where: str, error: RejectedItem, settings: Settings) -> BadItem:
    """The item in place of a line that is none. Raises: DataError unless `--skip-bad`, as a manifest does."""
    if not settings.skip_bad and error.reason != line_files.NOT_TEXT:
        raise DataError(f"{where}: {error}") from error
    return dataclasses.replace(
        bad_item(where, where, error.reason, str(error)), stops=error.reason != line_files.NOT_TEXT
    )


def bad_item(name: str, where: str, reason: str, message: str) -> BadItem:
    """An item that its corpus describes, and that cannot be used, whatever `--skip-bad` says."""
    return BadItem(name, reason, f"{where}: {message}")


def audio_names(names: Iterable[str]) -> dict[str, str]:
    """The audio file of each name without suffix, among the names in a folder. Example: "a.WAV" -> {"a": "a.WAV"}"""
    found: dict[str, str] = {}
    for suffix in reversed(AUDIO_SUFFIXES):
        found |= {name[: -len(suffix)]: name for name in names if name.lower().endswith(suffix)}
    return found


def within(value: Any, *path: str | int) -> Any:
    """What lies at `path` in objects and lists. Example: {"a": [{"b": 5}]}, "a", 0, "b" -> 5

    Raises: RejectedItem where there is nothing.
    """
    for depth, key in enumerate(path, 1):
        inside = isinstance(value, Mapping if isinstance(key, str) else list)
        if not inside or (key not in value if isinstance(key, str) else len(value) <= key):
            name = ".".join(map(str, path[:depth]))
            raise RejectedItem("missing field", f"has no field {name}; is it of this layout?")
        value = value[key]
    return value


def text_within(value: Any, *path: str | int) -> str:
    """A text at `path`, see `within`. Raises: RejectedItem, also where it cannot be stored."""
    found, name = within(value, *path), ".".join(map(str, path))
    if not isinstance(found, str):
        raise RejectedItem("wrong type", f"{name} must be a string, not {type(found).__name__}; correct it")
    line_files.check_text(found, name)
    return found
