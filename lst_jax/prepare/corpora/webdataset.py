"""WebDataset: tars in which the files of one sample have one name but for the suffix, and lie side by side.

Source: https://github.com/webdataset/webdataset (README, "The WebDataset Format") and
https://huggingface.co/docs/hub/datasets-webdataset.

    shard-000000.tar:  a/u1.flac  a/u1.txt  a/u2.flac  a/u2.json    u2.json: {"text": …, "speaker": …, "language": …}

A name ends at the first dot of its last part: u1.seg0.flac and u1.seg0.txt belong to u1, and are its item u1.seg0.
"""

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

from lst_jax.core.errors import DataError, RejectedItem, first_line
from lst_jax.prepare.corpora import fields, tars
from lst_jax.prepare.corpora.audio_place import AudioPlace
from lst_jax.prepare.corpora.listing import input_files
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place

AUDIO = ("flac", "wav", "ogg", "opus", "mp3")  # where several files have one name, the first counts
TEXT = ("txt", "text")
NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)  # what is hidden, as ._u1.flac of macOS, has no key
DAMAGED = "unreadable archive"  # reason
TOGETHER = "or sort the tar by name, as the files of a sample must lie side by side"


@dataclasses.dataclass
class _Sample:
    """The files of a group by the part of their suffix before the last dot, "" for most."""

    key: str
    audio: dict[str, AudioPlace]
    texts: dict[str, bytes]
    jsons: dict[str, bytes]


@dataclasses.dataclass(frozen=True)
class WebDatasetReader:
    """Groups of members → items."""

    settings: Settings
    name = "webdataset"

    def files(self, place: Place) -> list[InputFile]:
        """See `Reader.files`."""
        found = input_files(place, lambda name: name.lower().endswith(tars.SUFFIXES))
        if not found:
            raise DataError(f"{place}: has no *.tar, plain or compressed; give a folder of WebDataset shards")
        return found

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `Reader.parts`. Raises: DataError, also where exact numbers are asked for."""
        if self.settings.exact:
            raise DataError(
                f"{file.place}: --shard-records is not for WebDataset, whose parts end where samples do; give --shard-mb"
            )
        return tars.parts(file, number, part_items, key_of)

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `Reader.read`. With `skip_bad`, a tar that is cut is one BadItem behind the items before the cut."""
        try:
            with tars.tar_at(part.place) as tar:
                for key, members in tars.groups(tar, part, key_of):
                    if key:
                        yield from self._items(_sample(tar, key, members, self.settings.sound), f"{part.place}: {key}")
        except DataError as error:
            if not self.settings.skip_bad or isinstance(error, RejectedItem):
                raise
            yield BadItem(f"{part.place}: {part.name}", DAMAGED, str(error), str(part.place), stops=True)

    def _items(self, sample: _Sample, place: str) -> Iterator[Item | BadItem]:
        def lonely() -> Item:
            raise RejectedItem(
                "missing audio", f"has no {', '.join(sorted(AUDIO))} beside its text; leave it out, {TOGETHER}"
            )

        if not sample.audio:
            if sample.texts or sample.jsons:  # its id is not that of a recording of this name elsewhere in the tar
                yield fields.item_or_bad(f"{place} (text)", self.settings.skip_bad, lonely)
            return
        for stem in sample.audio:
            where = f"{place}.{stem}" if stem else place
            item = fields.item_or_bad(
                where, self.settings.skip_bad, lambda stem=stem, w=where: self._item(sample, stem, w)
            )
            if item is not None:
                yield item

    def _item(self, sample: _Sample, stem: str, place: str) -> Item | None:
        """The item of an audio file; a text without a stem is of the only one. Raises: RejectedItem."""
        stems = (stem, "") if len(sample.audio) == 1 else (stem,)
        said = next((_object(sample.jsons[name]) for name in stems if name in sample.jsons), {})
        text = next((sample.texts[name] for name in stems if name in sample.texts), None)
        if not fields.selected(said, self.settings.where):
            return None
        field = self.settings.text_field
        if text is not None and field == "text":
            said["text"] = _decoded(text)
        elif field == "text":
            field = next((name for name in fields.USUAL_TEXT if name in said), field)
        if field not in said:
            raise RejectedItem(
                "missing text",
                f"has no .txt, and no .json with {field!r}; add the words or leave it out, {TOGETHER}",
            )
        for name, usual in (
            ("id", fields.USUAL_ID),
            ("speaker", fields.USUAL_SPEAKER),
            ("language", fields.USUAL_LANGUAGE),
        ):
            found = next((said[key] for key in usual if key in said and said[key] is not None), None)
            said.pop(name, None)
            if found is not None:
                said[name] = found
        name = f"{sample.key}.{stem}" if stem else sample.key
        if stem:
            said.pop("id", None)  # of the sample, not of its part
        item = fields.sounding_item(fields.with_usual_types(said), sample.audio[stem], name, place, field)
        if self.settings.sound:
            return item
        return dataclasses.replace(item, duration_sec=item.duration_sec or fields.stated_sec(said))


def key_of(name: str) -> str:
    """What the names of a sample's files have in common; "" for a name that belongs to none.

    Example: "a/u1.seg0.flac" -> "a/u1"
    """
    found = NAME.fullmatch(name.removeprefix("./"))
    return found[1] if found else ""


def _sample(tar: tars.Tar, key: str, members: Iterator[tars.Member], with_sound: bool) -> _Sample:
    sample = _Sample(key, {}, {}, {})
    suffixes: dict[str, str] = {}  # of the audio, by stem
    for member in members:
        stem, _, suffix = NAME.fullmatch(member.name.removeprefix("./"))[2].rpartition(".")
        last = suffix.lower()
        if last in AUDIO:
            if stem not in suffixes or AUDIO.index(last) <= AUDIO.index(suffixes[stem]):
                sample.audio[stem], suffixes[stem] = tar.sound(member, with_sound), last
        elif last in TEXT:
            sample.texts[stem] = tar.content(member)
        elif last == "json":
            sample.jsons[stem] = tar.content(member)
    return sample


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RejectedItem("not UTF-8", f"its text is not UTF-8 ({error.reason}); convert it") from error


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(_decoded(content))
    except (ValueError, RecursionError) as error:
        raise RejectedItem("not JSON", f"its .json is not JSON ({first_line(error)}); correct it") from error
    if not isinstance(found, dict):
        raise RejectedItem("not JSON", f"its .json must be an object, not {type(found).__name__}; correct it")
    return found


def _is_at(place: Place) -> bool:
    """Whether a folder has tars."""
    return any(name.lower().endswith(tars.SUFFIXES) for name in objects.names(place))


LAYOUTS = (
    Layout(
        "webdataset",
        "tars of NAME.flac beside NAME.txt or NAME.json (WebDataset)",
        "speech",
        WebDatasetReader,
        suffixes=(".tar", ".tgz"),
        is_at=_is_at,
    ),
)
