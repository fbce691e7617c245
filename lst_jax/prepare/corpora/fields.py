"""The fields of one item, as lines of manifests and rows of tables have them, and what they say.

    {"id": "u1", "audio": "audio/u1.ogg", "text": "hello world", "speaker": "s1", "language": "en", "split": "train"}

`offset` and `duration` in seconds choose a part of the recording, `channel` one of its channels. NeMo's names
(`audio_filepath`, `lang`) are read too.
"""

import math
import os
import pathlib
import posixpath
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from lst_jax.core.errors import ConfigError, DataError, RejectedItem
from lst_jax.core.paths import is_address
from lst_jax.data import line_files
from lst_jax.prepare.corpora.audio_place import AudioPlace
from lst_jax.prepare.corpora.protocol import BadItem, Item
from lst_jax.storage.place import BucketPath, Place, to_place

T = TypeVar("T")
AUDIO_FIELDS = ("audio", "audio_filepath")  # the second is NeMo's
LANGUAGE_FIELDS = ("language", "lang")  # the second is NeMo's
# Names of columns and of JSON keys in the sets of the Hugging Face hub, the most usual first.
USUAL_TEXT = ("text", "sentence", "transcription", "transcript", "normalized_text", "raw_text")
USUAL_ID = ("id", "segment_id", "utterance_id", "audio_id", "key")
USUAL_SPEAKER = ("speaker", "speaker_id", "client_id")
USUAL_LANGUAGE = (*LANGUAGE_FIELDS, "locale")
STATED_LENGTHS = {"duration": 1.0, "duration_ms": 0.001, "audio_duration": 1.0, "duration_sec": 1.0}  # in seconds
KNOWN_FIELDS = frozenset({"id", *AUDIO_FIELDS, *LANGUAGE_FIELDS, "text", "speaker", "offset", "duration", "channel"})
# Fields of other programs that say which part of a recording a line is of. What they say is not read here, so a line
# with one of them would get the sound of the whole file.
PART_FIELDS = frozenset(
    "start end begin stop start_time end_time start_sec end_sec start_ms end_ms onset offset_sec offset_ms duration_sec "
    "duration_ms segment segments timestamps supervisions channels channel_id channel_selector".split()
)
OTHER_LANGUAGE = "language not the aligner's"  # reason
# Names of one language: ISO 639-1, its two codes of ISO 639-2, and English words, as corpora have them.
LANGUAGE_NAMES = {"eng": "en", "english": "en", "deu": "de", "ger": "de", "german": "de", "fra": "fr", "fre": "fr"}
LANGUAGE_NAMES |= {"french": "fr", "spa": "es", "spanish": "es", "ita": "it", "italian": "it", "por": "pt"}
LANGUAGE_NAMES |= {"portuguese": "pt", "nld": "nl", "dut": "nl", "dutch": "nl", "pol": "pl", "polish": "pl"}
LANGUAGE_NAMES |= {"zho": "zh", "chi": "zh", "chinese": "zh", "jpn": "ja", "japanese": "ja", "rus": "ru"}
LANGUAGE_NAMES |= {"russian": "ru", "kor": "ko", "korean": "ko"}


def item_of(fields: Mapping[str, Any], base: Place, place: str, text_field: str = "text") -> Item:
    """The item of a manifest's line. `base` is the folder that relative paths of recordings start from.

    The id of a line without one is its audio path without suffix, and the offset where it is a part. The text is the
    field `text_field`. An empty transcript is kept: it is counted as rejected when it is prepared.
    Example: {"audio": "a/u1.ogg", "text": "hi"} in Path("data") -> Item("a/u1", Path("data/a/u1.ogg"), "hi", None)
    Args: `place` says where the line is, as "m.jsonl: line 3".
    Raises: RejectedItem, whose message does not name the place.
    """
    check_part_fields(fields)
    key = next((name for name in AUDIO_FIELDS if name in fields), AUDIO_FIELDS[0])
    address = text_of(fields, key)
    offset_sec = seconds_of(fields, "offset") or 0.0
    return _item(fields, audio_at(base, address, key), _name_of(address, key, offset_sec), place, text_field)


def sounding_item(
    fields: Mapping[str, Any], audio: AudioPlace, name: str, place: str, text_field: str = "text"
) -> Item:
    """The item whose sound lies beside its fields, in a column of a table or as a member of a tar.

    Such sound is of this item alone. So its `duration`, and other programs' times in a longer recording, cut nothing;
    `offset` does, and then `duration` too. Args: `name` is the id where the fields have none.
    Raises: as `item_of`.
    """
    if not seconds_of(fields, "offset"):
        fields = {key: value for key, value in fields.items() if key not in ("offset", "duration")}
    return _item(fields, audio, name, place, text_field)


def stated_sec(fields: Mapping[str, Any]) -> float | None:
    """How long a recording is, as fields beside its sound say; None where they do not. Raises: RejectedItem."""
    for name, in_sec in STATED_LENGTHS.items():
        found = seconds_of(fields, name)
        if found is not None:
            return found * in_sec
    return None


def with_usual_types(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with speakers as strings where they were counted, and without a language that is a class's number."""
    found = {key: value for key, value in fields.items() if key != "language" or isinstance(value, str)}
    return found | {key: str(found[key]) for key in ("speaker",) if key in found and type(found[key]) is int}


def filed_item(fields: Mapping[str, Any], audio: AudioPlace, name: str, place: str, text_field: str = "text") -> Item:
    """The item whose recording is a file that was found already. Args, Raises: as `sounding_item`."""
    return _item(fields, audio, name, place, text_field)


def _item(fields: Mapping[str, Any], audio: AudioPlace, name: str, place: str, text_field: str) -> Item:
    text = text_of(fields, text_field)
    duration_sec = seconds_of(fields, "duration")
    if duration_sec == 0:
        raise RejectedItem("wrong type", "duration=0: must be more than 0 seconds; correct it")
    return Item(
        id_of(fields) if "id" in fields else name,
        audio,
        " ".join(text.split()),
        _speaker(fields),
        seconds_of(fields, "offset") or 0.0,
        duration_sec,
        _channel(fields),
        _language(fields),
        place=place,
    )


def item_or_bad(place: str, skip_bad: bool, make: Callable[[], T]) -> T | BadItem:
    """What `make` gives. Where it raises a RejectedItem, the BadItem of it, as a text that cannot be stored always is.

    Raises: DataError that names the place, where bad items are not to be skipped.
    """
    try:
        return make()
    except RejectedItem as error:
        if not skip_bad and error.reason != line_files.NOT_TEXT:
            raise DataError(f"{place}: {error}") from error
        return BadItem(place, error.reason, f"{place}: {error}", place, error.reason != line_files.NOT_TEXT)


def check_part_fields(fields: Mapping[str, Any]) -> None:
    """Raises: RejectedItem where a field says in words of another program which part of its recording an item is."""
    odd = sorted(fields.keys() & PART_FIELDS)
    if odd:
        raise RejectedItem(
            "field not understood",
            f"has {', '.join(odd)}, which say what part of the recording it is of and are not read; give offset and "
            "duration in seconds, and channel",
        )


def audio_at(base: Place, address: str, key: str = "audio") -> Place:
    """Where a recording lies: an address, an absolute path of this machine, or a path from the folder `base`.

    Raises: RejectedItem for what names no file.
    """
    if is_address(address):
        try:
            return to_place(address)
        except ConfigError as error:
            raise RejectedItem(
                "wrong type", f"{key}={address[:60]!r}: names nothing in a bucket; correct it"
            ) from error
    if not pathlib.PurePath(address).name:
        raise RejectedItem("wrong type", f"{key}={address[:60]!r}: is no path of a file; correct it")
    if isinstance(base, pathlib.Path) or os.path.isabs(address):
        return base / address if isinstance(base, pathlib.Path) else pathlib.Path(address)
    below = posixpath.normpath(posixpath.join(base.key, address))  # a bucket has no folder called ".."
    if below.startswith("..") or below.partition("/")[0] != base.parts[0]:
        raise RejectedItem("wrong type", f"{key}={address[:60]!r}: leaves the bucket of the manifest; correct it")
    return BucketPath(f"{base.scheme}://{below}")


def selected(fields: Mapping[str, Any], where: Mapping[str, str]) -> bool:
    """Whether the fields have the values that were asked for. Raises: RejectedItem where one is missing."""
    for key, value in where.items():
        if key not in fields:
            raise RejectedItem("missing field", f"has no field {key!r} to select by; add it or leave the filter out")
        if str(fields[key]) != value:
            return False
    return True


def text_of(fields: Mapping[str, Any], key: str) -> str:
    """A string that can be stored. Raises: RejectedItem."""
    if key not in fields:
        raise RejectedItem("missing field", f"has no {key!r}; it needs audio and text for speech, text for text")
    value = fields[key]
    if not isinstance(value, str):
        raise RejectedItem("wrong type", f"{key} must be a string, not {type(value).__name__}; correct it")
    line_files.check_text(value, key)
    return value


def id_of(fields: Mapping[str, Any]) -> str:
    """The id; many corpora count their items, so an integer is an id as well. Raises: RejectedItem."""
    value = fields["id"]
    return str(value) if type(value) is int else text_of(fields, "id")


def seconds_of(fields: Mapping[str, Any], key: str) -> float | None:
    """A length of time; None where there is none. Raises: RejectedItem."""
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


def language_code(language: str) -> str:
    """The two letters of a language, where they are known. Example: "en-US", "eng" and "English" -> "en" """
    first = language.strip().lower().replace("_", "-").partition("-")[0]
    return LANGUAGE_NAMES[first] if first in LANGUAGE_NAMES else first


def check_language(item: Item, languages: Collection[str] | None) -> None:
    """Refuses an item in a language that its aligner was not made for. An item that names no language passes.

    Args: `languages` are the aligner's, as "en"; None where it takes any, or the user asks for any.
    Raises: RejectedItem.
    """
    if languages is None or item.language is None or language_code(item.language) in languages:
        return
    raise RejectedItem(
        OTHER_LANGUAGE,
        f"is in {item.language!r}, and the aligner knows {', '.join(sorted(languages))}; choose another aligner, or "
        "give --any-language",
    )


def _name_of(address: str, key: str, offset_sec: float) -> str:
    """The id of a line without one."""
    path = pathlib.PurePath(address.partition("://")[2] if is_address(address) else address)
    if not path.name:
        raise RejectedItem("wrong type", f"{key}={address[:60]!r}: is no path of a file; correct it")
    return str(path.with_suffix("")) + (f"-{offset_sec:.3f}" if offset_sec else "")


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


def _language(fields: Mapping[str, Any]) -> str | None:
    key = next((name for name in LANGUAGE_FIELDS if name in fields), LANGUAGE_FIELDS[0])
    return None if key not in fields or fields[key] is None else text_of(fields, key)
