"""The fields of a line, or of a row of a table, as an item. A function here names what is wrong, and not where.

`offset` and `duration` in seconds choose a part of the recording, `channel` one of its channels. NeMo's names are read
too (`audio_filepath`).
"""

import math
import pathlib
import posixpath
from collections.abc import Mapping
from typing import Any

from lst_jax.core.errors import ConfigError, RejectedItem
from lst_jax.core.paths import is_address
from lst_jax.data import line_files
from lst_jax.prepare.corpora.protocol import Item
from lst_jax.storage.place import Place, in_bucket, to_place

AUDIO_FIELDS = ("audio", "audio_filepath")  # the second is NeMo's
KNOWN_FIELDS = frozenset({"id", *AUDIO_FIELDS, "text", "speaker", "offset", "duration", "channel"})
# Fields of other programs that say which part of a recording a line is of. What they say is not read here, so a line
# with one of them would get the sound of the whole file.
PART_FIELDS = frozenset(
    "start end begin stop start_time end_time start_sec end_sec start_ms end_ms onset offset_sec offset_ms duration_sec "
    "duration_ms segment segments timestamps supervisions channels channel_id channel_selector".split()
)


def item_of(fields: Mapping[str, Any], base: Place, place: str) -> Item:
    """The item of a line. `base` is the folder that its audio path is relative to.

    The id of a line without one is its audio path without suffix, and the offset where it is a part. Empty transcripts
    are kept here: they are counted as rejected when they are prepared.
    Example: {"audio": "a/u1.ogg", "text": "hello  world"} -> Item("a/u1", base / "a/u1.ogg", "hello world", None)
    Raises: RejectedItem.
    """
    odd = sorted(fields.keys() & PART_FIELDS)
    if odd:
        raise RejectedItem(
            "field not understood",
            f"has {', '.join(odd)}, which say what part of the recording it is of and are not read; give offset and "
            "duration in seconds, and channel",
        )
    key = next((name for name in AUDIO_FIELDS if name in fields), AUDIO_FIELDS[0])
    audio, text = text_of(fields, key), text_of(fields, "text")
    offset_sec = _seconds(fields, "offset") or 0.0
    duration_sec = _seconds(fields, "duration")
    if duration_sec == 0:
        raise RejectedItem("wrong type", "duration=0: must be more than 0 seconds; correct it")
    if "id" in fields:
        name = id_of(fields)
    elif not pathlib.PurePath(audio).name:
        raise RejectedItem("wrong type", f"{key}={audio[:60]!r}: is no path of a file; correct it")
    else:
        name = str(pathlib.PurePath(audio).with_suffix("")) + (f"-{offset_sec:.3f}" if offset_sec else "")
    return Item(
        name,
        audio_at(base, audio),
        " ".join(text.split()),
        _speaker(fields),
        offset_sec,
        duration_sec,
        _channel(fields),
        place=place,
    )


def audio_at(base: Place, audio: str) -> Place:
    """Where an audio path lies: an address or a path with / at its start stands alone, others are below `base`.

    Example: gs://b/corpus and "../wav/a.wav" -> gs://b/wav/a.wav
    Raises: RejectedItem where an address names nothing.
    """
    try:
        if is_address(audio):
            return to_place(audio)
        if not in_bucket(base) or audio.startswith("/"):
            return base / audio if isinstance(base, pathlib.Path) else pathlib.Path(audio)
        return to_place(f"{base.scheme}://{posixpath.normpath(f'{base.key}/{audio}')}")
    except ConfigError as error:
        raise RejectedItem("wrong type", f"audio={audio[:60]!r}: names nothing in a bucket; correct it") from error


def selected(fields: Mapping[str, Any], where: Mapping[str, str]) -> bool:
    """Whether each field of `where` has its value. Raises: RejectedItem where there is no such field."""
    for key, value in where.items():
        if key not in fields:
            raise RejectedItem("missing field", f"has no field {key!r} to select by; add it or leave the filter out")
        if str(fields[key]) != value:
            return False
    return True


def text_of(fields: Mapping[str, Any], key: str) -> str:
    """A field that must be a text. Raises: RejectedItem."""
    if key not in fields:
        raise RejectedItem("missing field", f"has no {key!r}; it needs audio and text for speech, text for text")
    value = fields[key]
    if not isinstance(value, str):
        raise RejectedItem("wrong type", f"{key} must be a string, not {type(value).__name__}; correct it")
    line_files.check_text(value, key)
    return value


def id_of(fields: Mapping[str, Any]) -> str:
    """The field `id`; many corpora count their items, so an integer is an id as well. Raises: RejectedItem."""
    value = fields["id"]
    return str(value) if type(value) is int else text_of(fields, "id")


def _speaker(fields: Mapping[str, Any]) -> str | None:
    value = fields["speaker"] if "speaker" in fields else None
    if not isinstance(value, str | None):
        raise RejectedItem("wrong type", "speaker must be a string or null; correct it")
    if value is not None:
        line_files.check_text(value, "speaker")
    return value


def _channel(fields: Mapping[str, Any]) -> str | None:
    value = fields["channel"] if "channel" in fields else None
    if type(value) is not int and not isinstance(value, str | None):
        raise RejectedItem("wrong type", "channel must be a number from 1, or left or right; correct it")
    return None if value is None else str(value)


def _seconds(fields: Mapping[str, Any], key: str) -> float | None:
    value = fields[key] if key in fields else None
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value < 1e9
        or not math.isfinite(value)
    ):
        raise RejectedItem("wrong type", f"{key} must be a number of seconds from 0; correct it")
    return float(value)
