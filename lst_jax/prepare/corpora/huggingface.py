"""Data sets of Parquet files, as the Hugging Face hub stores them: speech with its audio in a column, and texts.

Source: https://huggingface.co/docs/hub/datasets-audio and https://huggingface.co/docs/datasets/audio_dataset.

    data/train-00000-of-00012.parquet    speech: audio {bytes, path}, text, id, speaker_id (People's Speech: id, audio,
                                         duration_ms, text); texts: text, id (FineWeb: text, id, dump, url, …)

Where `bytes` is null, `path` is a file, from the folder of the table on. A column of bytes or of paths serves too.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.importers.formats import Option
from lst_jax.prepare.corpora import fields, parquet
from lst_jax.prepare.corpora.audio_place import AudioPlace, Content
from lst_jax.prepare.corpora.protocol import InputFile, Item, Part, TextItem
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place

AUDIO_COLUMNS = ("audio", "audio_filepath", "file_name", "path", "file")
Make = Callable[[Mapping[str, Any], int, str], Item | TextItem]  # of a row, its number and its place
PART_COLUMNS = ("offset", "duration", "channel")
ID_FIELD = Option(
    "id_field", "the column of ids (default: the first of id, segment_id, utterance_id, …)", metavar="NAME"
)
AUDIO_FIELD = Option("audio_field", "the column of the recordings (default: audio)", metavar="NAME")
SPEAKER_FIELD = Option(
    "speaker_field", "the column of speakers (default: speaker, speaker_id or client_id)", metavar="NAME"
)


@dataclasses.dataclass(frozen=True)
class _Reader(abc.ABC):
    """What the readers of speech and of texts share."""

    settings: Settings
    name = "huggingface"
    batch_rows = 1024

    @property
    def tables(self) -> parquet.Tables:
        """The files."""
        return parquet.Tables(self.settings.where, self.settings.exact, self.batch_rows)

    def files(self, place: Place) -> list[InputFile]:
        """See `Reader.files`."""
        return self.tables.files(place)

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `Reader.parts`."""
        return self.tables.parts(file, number, part_items)

    def read(self, part: Part) -> Iterator[Any]:
        """See `Reader.read`."""
        with parquet.table_at(part.place) as table:
            wanted, make = self._maker(part, {field.name: field.type for field in table.schema_arrow})
            for number, row in self.tables.rows(table, part, wanted):
                place = f"{part.place}: row {number}"
                made = functools.partial(self._made, make, row, number, place)
                item = fields.item_or_bad(place, self.settings.skip_bad, made)
                if item is not None:
                    yield item

    def _made(self, make: Make, row: dict[str, Any] | RejectedItem, number: int, place: str) -> Item | TextItem | None:
        """None where the row is not selected. Raises: RejectedItem."""
        if isinstance(row, RejectedItem):
            raise row
        return make(row, number, place) if fields.selected(row, self.settings.where) else None

    @abc.abstractmethod
    def _maker(self, part: Part, columns: Mapping[str, Any]) -> tuple[list[str], Make]:
        """The columns that are read, and what makes an item of a row, its number and its place. Raises: DataError."""

    def _column(self, part: Part, columns: Mapping[str, Any], option: str, names: tuple[str, ...]) -> str | None:
        """The first of `names` that is a column, or the one that the option names. Raises: DataError."""
        given = self.settings.options[option] if option in self.settings.options else None
        if given is not None and given not in columns:
            raise DataError(
                f"{part.place}: has no column {given!r}, but {', '.join(columns)}; correct --{option.replace('_', '-')}"
            )
        return given or next((name for name in names if name in columns), None)

    def _text_column(self, part: Part, columns: Mapping[str, Any], names: tuple[str, ...]) -> str:
        """The column of texts. Raises: DataError where there is none, or it holds no strings."""
        given = self.settings.text_field
        found = given if given in columns else next((n for n in names if given == "text" and n in columns), None)
        if found is None:
            raise DataError(
                f"{part.place}: has no column {given!r}, but {', '.join(columns)}; name the column of the texts with "
                "--text-field"
            )
        if not _holds(columns[found], "is_string", "is_large_string", "is_string_view", "is_null"):
            raise DataError(f"{part.place}: column {found!r} holds {columns[found]}, not text; correct --text-field")
        return found


class SpeechReader(_Reader):
    """Rows → items; their audio is in the row, or in a file that it names."""

    batch_rows = 64  # recordings, which are large

    def _maker(self, part: Part, columns: Mapping[str, Any]) -> tuple[list[str], Make]:
        """See `_Reader._maker`."""
        text = self._text_column(part, columns, fields.USUAL_TEXT)
        audio = self._audio_column(part, columns)
        renamed = {  # column by field
            "id": self._column(part, columns, "id_field", fields.USUAL_ID),
            "speaker": self._column(part, columns, "speaker_field", fields.USUAL_SPEAKER),
            "language": next((name for name in fields.USUAL_LANGUAGE if name in columns), None),
            **{name: name if name in columns else None for name in PART_COLUMNS},
        }
        wanted = [text, *(name for name in renamed.values() if name is not None)]
        wanted += [audio] if self.settings.sound else [name for name in fields.STATED_LENGTHS if name in columns]
        wanted += sorted(columns.keys() & fields.PART_FIELDS)  # refused where the audio is a file
        read = audio if self.settings.sound else None
        return wanted, lambda row, number, place: _item(row, text, read, renamed, part, number, place)

    def _audio_column(self, part: Part, columns: Mapping[str, Any]) -> str:
        """Raises: DataError where no column, or one of another type, holds audio."""
        found = self._column(part, columns, "audio_field", AUDIO_COLUMNS)
        if found is None:
            raise DataError(
                f"{part.place}: has no column of recordings, but {', '.join(columns)}; name it with --audio-field"
            )
        kind = columns[found]
        names = {kind.field(n).name for n in range(kind.num_fields)} if _holds(kind, "is_struct") else set()
        is_file = _holds(kind, "is_binary", "is_large_binary", "is_binary_view", "is_string", "is_large_string")
        if not is_file and not names & {"bytes", "path"}:
            raise DataError(
                f"{part.place}: column {found!r} holds {kind}, not bytes, paths or {{bytes, path}}; correct --audio-field"
            )
        return found


class TextReader(_Reader):
    """Rows → documents."""

    def _maker(self, part: Part, columns: Mapping[str, Any]) -> tuple[list[str], Make]:
        """See `_Reader._maker`."""
        text = self._text_column(part, columns, ("text",))
        name = self._column(part, columns, "id_field", ("id",))

        def make(row: Mapping[str, Any], number: int, place: str) -> TextItem:
            item_id = f"{part.input_name}:{number}" if not name or row[name] is None else _named(row[name])
            return TextItem(item_id, fields.text_of(row, text), place)

        return [text, *([name] if name else [])], make


def _item(
    row: Mapping[str, Any],
    text: str,
    audio: str | None,
    renamed: Mapping[str, str | None],
    part: Part,
    number: int,
    place: str,
) -> Item:
    """The item of a row; without the column `audio`, of as much sound as the row says. Raises: RejectedItem."""
    said = {field: row[name] for field, name in renamed.items() if name is not None and row[name] is not None}
    said = fields.with_usual_types(said)
    said[text] = row[text]
    name = f"{part.input_name}:{number}"
    if audio is None:
        item = fields.sounding_item(said, Content(b"", "sound"), name, place, text)
        return dataclasses.replace(item, duration_sec=item.duration_sec or fields.stated_sec(row))
    sound = _sound(row[audio], audio, part)
    if isinstance(sound, Content):
        return fields.sounding_item(said, sound, name, place, text)
    fields.check_part_fields({key: value for key, value in row.items() if value is not None and key not in said})
    return fields.filed_item(said, sound, name, place, text)


def _sound(value: Any, column: str, part: Part) -> AudioPlace:
    """Raises: RejectedItem where a row has no audio."""
    content, path = (value, None) if isinstance(value, bytes) else (None, value)
    if isinstance(value, dict):
        content, path = (value[key] if key in value else None for key in ("bytes", "path"))
    if content:
        return Content(content, path if isinstance(path, str) else column)
    if not path or not isinstance(path, str):
        raise RejectedItem("missing audio", f"has no {column}; leave the row out")
    return fields.audio_at(part.place.parent, path, column)


def _named(value: Any) -> str:
    return fields.id_of({"id": value})


def _holds(kind: Any, *tests: str) -> bool:
    """Whether a type of Arrow passes one of the tests of `pyarrow.types`."""
    import pyarrow.types  # here alone: few commands need it

    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    return any(getattr(pyarrow.types, test)(kind) for test in tests)


def _is_at(place: Place) -> bool:
    """Whether a folder, or its folder `data`, has Parquet files."""
    return any(
        name.lower().endswith(parquet.SUFFIXES) for where in (place, place / "data") for name in objects.names(where)
    )


LAYOUTS = (
    Layout(
        "huggingface",
        "Parquet files with the audio in a column, as the Hugging Face hub stores data sets",
        "speech",
        SpeechReader,
        (ID_FIELD, AUDIO_FIELD, SPEAKER_FIELD),
        parquet.SUFFIXES,
        _is_at,
    ),
    Layout(
        "huggingface",
        "Parquet files with texts in a column, as FineWeb and other sets of the Hugging Face hub",
        "text",
        TextReader,
        (ID_FIELD,),
        parquet.SUFFIXES,
        _is_at,
    ),
)
