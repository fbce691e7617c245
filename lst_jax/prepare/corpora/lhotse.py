"""Lhotse's manifests: cuts, recordings with supervisions, and Shar, which keeps the sound of cuts in tars.

Source: https://lhotse.readthedocs.io/en/latest/corpus.html, cuts.html and shar.html. The package itself needs PyTorch to read
them, so the few fields that matter are read here.

    cuts.jsonl.gz                                {"id", "start", "duration", "channel", "recording", "supervisions", "type"}
    recordings.jsonl.gz, supervisions.jsonl.gz   also with a name before and behind: mls_supervisions_train.jsonl.gz
    cuts.000000.jsonl.gz, recording.000000.tar   ID.flac and ID.json of each cut, in the order of the cuts

Each supervision is an item. Relative paths of recordings start from the folder of the manifest, or from `--audio-root`.
"""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data import line_files
from lst_jax.data.alignment import Placed
from lst_jax.prepare.corpora import fields, line_parts, reading, tars
from lst_jax.prepare.corpora.audio_place import AudioPlace
from lst_jax.prepare.corpora.listing import input_files
from lst_jax.prepare.corpora.protocol import BadItem, InputFile, Item, Part
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.storage import objects
from lst_jax.storage.place import Place

SUFFIXES = (".jsonl", ".jsonl.gz")
CUTS, SUPERVISIONS, RECORDINGS = "cuts", "supervisions", "recordings"  # in the names of files
SHARD = re.compile(r"cuts\.(\d+)\.jsonl(\.gz)?")
CUT_KINDS = frozenset({"MonoCut", "MultiCut"})  # others mix recordings, or fill in silence
SLACK_SEC = 0.05  # by which times may lie outside what holds them, as they are rounded
NO_WORDS = frozenset({"", "<eps>", "sil", "sp", "<sil>"})
DAMAGED = "unreadable archive"  # reason


@dataclasses.dataclass(frozen=True)
class LhotseReader:
    """Supervisions → items."""

    settings: Settings
    name = "lhotse"

    def files(self, place: Place) -> list[InputFile]:
        """See `Reader.files`. Where a folder has cuts, its supervisions are in them. Raises: DataError."""
        found = input_files(place, lambda name: any(_is_called(name, kind) for kind in (CUTS, SUPERVISIONS)))
        cuts = [file for file in found if _is_called(file.place.name, CUTS)]
        if not found:
            raise DataError(
                f"{place}: has no *{CUTS}*.jsonl.gz and no *{SUPERVISIONS}*.jsonl.gz; give a folder of Lhotse manifests"
            )
        return cuts or found

    def parts(self, file: InputFile, number: int, part_items: int) -> Iterator[Part]:
        """See `Reader.parts`. A shard of Shar is one part. Raises: DataError, also where cuts are to give exact numbers."""
        beside = _beside(file.place)
        if self.settings.exact and (beside is None or tars.SUFFIXES[0] in beside.name):
            raise DataError(
                f"{file.place}: --shard-records is not for cuts, each of which may give several items; give --shard-mb"
            )
        if beside is None:
            yield from line_parts.parts(file, number, part_items)
            return
        version = f"{file.size} {file.version} {objects.look(beside)}"
        digest = hashlib.sha256(version.encode()).hexdigest()[:16]
        if tars.SUFFIXES[0] in beside.name:
            name = line_parts.part_name(number, 0)
            yield Part(name, file.place, digest, 0, 1, 0, (beside.name,), file.name, file.size)
            return
        for part in line_parts.parts(file, number, part_items):
            yield dataclasses.replace(part, digest=f"{part.digest}{digest}", entries=(beside.name,))

    def read(self, part: Part) -> Iterator[Item | BadItem]:
        """See `Reader.read`."""
        found = line_parts.lines(part, self.settings.skip_bad)
        lines = line_files.objects_of(found, self.settings.skip_bad)
        beside = part.place.parent / part.entries[0] if part.entries else None
        if beside is None:
            for place, cut in lines:
                yield from self._items(place, cut, part)
        elif tars.SUFFIXES[0] in beside.name:
            yield from self._of_shard(lines, beside, part)
        else:
            recordings = _recordings(beside, part.digest)
            for place, supervision in lines:
                make = functools.partial(self._of_recording, supervision, recordings, part, place)
                item = self._item_or_bad(place, make)
                if item is not None:
                    yield item

    def _item_or_bad(self, place: str, make: Any) -> Item | BadItem | None:
        return fields.item_or_bad(place, self.settings.skip_bad, make)

    def _of_shard(self, lines: Iterator[tuple[str, Any]], archive: Place, part: Part) -> Iterator[Item | BadItem]:
        """The cuts of a shard, each with the member of the tar that has its sound."""
        try:
            with tars.tar_at(archive) as tar:
                groups = tars.groups(tar, dataclasses.replace(part, place=archive, start=0, count=0), _without_suffix)
                for place, cut in lines:
                    key, members = next(groups, (None, iter(())))
                    sounds = [m for m in members if not m.name.endswith((".json", ".nodata", ".nometa"))]
                    named = cut["id"] if isinstance(cut, dict) and "id" in cut else key
                    if key is None or key != named:
                        raise DataError(
                            f"{archive}: has {key!r} where {place} has {str(named)[:60]!r}; a shard's cuts and recordings "
                            "must be of one order; write the shard again"
                        )
                    yield from self._items(
                        place, cut, part, tar.sound(sounds[0], self.settings.sound) if sounds else None
                    )
        except DataError as error:
            if not self.settings.skip_bad:
                raise
            yield BadItem(f"{archive}", DAMAGED, str(error), str(archive), stops=True)

    def _items(self, place: str, cut: Any, part: Part, sound: AudioPlace | None = None) -> Iterator[Item | BadItem]:
        """The items of a cut; `sound` is that of the cut alone, where the cut does not say where it lies."""

        def supervisions() -> list[Any]:
            if isinstance(cut, RejectedItem):
                raise cut
            if "type" in cut and str(cut["type"]) not in CUT_KINDS:
                raise RejectedItem(
                    "mixed cut", f"is a {str(cut['type'])[:40]}, not {' or '.join(sorted(CUT_KINDS))}; leave it out"
                )
            found = _list(cut, "supervisions")
            if not found:
                raise RejectedItem("missing text", "has no supervision; leave it out")
            return found

        found = self._item_or_bad(place, supervisions)
        for supervision in found if isinstance(found, list) else ():
            item = self._item_or_bad(place, lambda s=supervision: self._of_cut(s, cut, sound, part, place))
            if item is not None:
                yield item
        if isinstance(found, BadItem):
            yield found

    def _of_cut(
        self, supervision: Any, cut: Mapping[str, Any], sound: AudioPlace | None, part: Part, place: str
    ) -> Item | None:
        """The item of a supervision of a cut. Raises: RejectedItem."""
        recording, in_cut = _object(cut, "recording"), _seconds(supervision, "start")
        duration_sec, cut_sec, start_sec = (
            _seconds(supervision, "duration"),
            _seconds(cut, "duration"),
            _seconds(cut, "start"),
        )
        if in_cut < -SLACK_SEC or in_cut + duration_sec > cut_sec + SLACK_SEC:
            raise RejectedItem(
                "supervision outside the cut", "has a supervision that reaches beyond the cut; leave it out"
            )
        in_cut = max(0.0, in_cut)
        item = self._item(supervision, recording, sound, start_sec + in_cut, part, place)
        if item is None or sound is not None:  # in Shar, nothing says what words' times are counted from
            return item
        return dataclasses.replace(item, words=_words(supervision, {in_cut, start_sec + in_cut}, duration_sec))

    def _of_recording(self, supervision: Any, recordings: Mapping[str, str], part: Part, place: str) -> Item | None:
        """The item of a line of supervisions. Raises: RejectedItem."""
        if isinstance(supervision, RejectedItem):
            raise supervision
        name = fields.text_of(supervision, "recording_id")
        if name not in recordings:
            raise RejectedItem(
                "missing audio", f"is of recording {name[:60]!r}, which {part.entries[0]} does not have; add it"
            )
        start_sec = _seconds(supervision, "start")
        item = self._item(supervision, json.loads(recordings[name]), None, start_sec, part, place)
        if item is None:
            return None
        return dataclasses.replace(item, words=_words(supervision, {start_sec}, _seconds(supervision, "duration")))

    def _item(
        self,
        supervision: Any,
        recording: Mapping[str, Any],
        sound: AudioPlace | None,
        start_sec: float,
        part: Part,
        place: str,
    ) -> Item | None:
        """The item whose sound starts at `start_sec` of the recording, or of `sound`. Raises: RejectedItem."""
        custom = _object(supervision, "custom") if "custom" in supervision else {}
        if not fields.selected({**custom, **supervision}, self.settings.where):
            return None
        source, channel = _source(recording, supervision)
        if sound is None:
            if "type" not in source or source["type"] not in ("file", "url"):
                raise RejectedItem(
                    "missing audio", "has a recording that is no file and no URL; save its audio as a file"
                )
            root = reading.audio_root(self.settings, part.place.parent)
            sound = fields.audio_at(root, fields.text_of(source, "source"), "source")
        text = self.settings.text_field
        said = {"id": fields.text_of(supervision, "id"), text: _text(supervision, custom, text)}
        said |= {key: supervision[key] for key in ("speaker", "language") if key in supervision}
        said |= {"offset": start_sec, "duration": _seconds(supervision, "duration"), "channel": channel}
        return fields.filed_item(said, sound, "", place, text)


def _is_called(name: str, kind: str) -> bool:
    base = name.rpartition("/")[2]
    return kind in base and base.endswith(SUFFIXES)


def _beside(place: Place) -> Place | None:
    """The file that goes with a manifest: the recordings of supervisions, the tar of a shard. Raises: DataError."""
    if shard := SHARD.fullmatch(place.name):
        names = [f"recording.{shard[1]}{suffix}" for suffix in tars.SUFFIXES]
        there = [name for name in names if objects.look(place.parent / name) is not None]
        return place.parent / there[0] if there else None
    if SUPERVISIONS not in place.name or CUTS in place.name:
        return None
    beside = place.parent / place.name.replace(SUPERVISIONS, RECORDINGS)
    if objects.look(beside) is None:
        raise DataError(f"{place}: has no {beside.name} beside it; add the manifest of recordings, or give cuts")
    return beside


@functools.lru_cache(maxsize=1)
def _recordings(place: Place, digest: str) -> dict[str, str]:
    """The line of each recording by its id, some 300 bytes each in memory. Raises: DataError."""
    state = objects.look(place)
    if state is None:
        raise DataError(f"{place}: no such file; add the manifest of recordings")
    file = InputFile(place, *state, place.name)
    found: dict[str, str] = {}
    for part in line_parts.large_parts(file, 0):
        for where, recording in line_files.objects_of(line_parts.lines(part, False)):
            try:
                found[fields.text_of(recording, "id")] = json.dumps(recording)
            except RejectedItem as error:
                raise DataError(f"{where}: {error}") from error
    return found


def _source(recording: Mapping[str, Any], supervision: Mapping[str, Any]) -> tuple[Mapping[str, Any], int | None]:
    """The source of the supervision's channel, and the number of that channel in it. Raises: RejectedItem."""
    if "transforms" in recording and recording["transforms"]:
        raise RejectedItem(
            "recording transformed", "has a recording that Lhotse would change; save its audio as a file"
        )
    sources = _list(recording, "sources")
    channel = supervision["channel"] if "channel" in supervision else None
    wanted = channel[0] if isinstance(channel, list) and len(channel) == 1 else channel
    for source in sources:
        channels = _list(source, "channels")
        if len(sources) == 1 and (len(channels) == 1 or isinstance(wanted, list | None)):
            return source, None
        if wanted in channels:
            return source, channels.index(wanted) + 1 if len(channels) > 1 else None
    raise RejectedItem(
        "no such channel", f"is of channel {str(channel)[:20]}, which no source of its recording has; correct it"
    )


def _text(supervision: Mapping[str, Any], custom: Mapping[str, Any], key: str) -> Any:
    """The transcript: of the supervision, of its custom fields, or the first of `texts`, as Libriheavy has them."""
    if key in supervision or key in custom:
        return supervision[key] if key in supervision else custom[key]
    if key == "text" and "texts" in custom and isinstance(custom["texts"], list) and custom["texts"]:
        return custom["texts"][0]
    raise RejectedItem("missing text", f"has a supervision without {key!r}; leave it out")


def _words(supervision: Mapping[str, Any], starts: set[float], duration_sec: float) -> tuple[Placed, ...] | None:
    """Words in seconds from the supervision's start.

    Their times are those of the recording, or of the cut where it was shortened since: `starts` has the supervision's
    start in both. None where there are none, or not exactly one of the two puts them within the supervision.
    """
    alignment = supervision["alignment"] if "alignment" in supervision else None
    if not isinstance(alignment, dict) or "word" not in alignment or not isinstance(alignment["word"], list):
        return None
    found = [_symbol(one) for one in alignment["word"]]
    fitting = []
    for start_sec in starts:
        words = tuple((word, begin - start_sec, begin - start_sec + length) for word, begin, length in found)
        if all(-SLACK_SEC <= begin and end <= duration_sec + SLACK_SEC for _, begin, end in words):
            fitting.append(
                tuple((w, max(0.0, a), min(duration_sec, b)) for w, a, b in words if w.lower() not in NO_WORDS)
            )
    return fitting[0] if len(fitting) == 1 and fitting[0] else None


def _symbol(value: Any) -> tuple[str, float, float]:
    """A word, its start and its length in seconds. Raises: RejectedItem."""
    if isinstance(value, dict):  # before Lhotse 1.8
        value = list(value.values())
    if not isinstance(value, list) or len(value) < 3 or not isinstance(value[0], str):
        raise RejectedItem("wrong type", "alignment must have [word, start, duration, score]; correct it")
    line_files.check_text(value[0], "alignment")
    times = {"start": value[1], "duration": value[2]}
    return value[0].strip(), _seconds(times, "start"), _seconds(times, "duration")


def _seconds(value: Any, key: str) -> float:
    """Raises: RejectedItem where it is no number."""
    found = value[key] if isinstance(value, dict) and key in value else None
    if type(found) not in (int, float) or not -1e9 < found < 1e9:
        raise RejectedItem("wrong type", f"{key} must be a number of seconds; correct it")
    return float(found)


def _object(value: Any, key: str) -> dict[str, Any]:
    found = value[key] if isinstance(value, dict) and key in value else None
    if not isinstance(found, dict):
        raise RejectedItem("missing field", f"must have an object {key!r}; is it of Lhotse?")
    return found


def _list(value: Any, key: str) -> list[Any]:
    found = value[key] if isinstance(value, dict) and key in value else None
    if not isinstance(found, list):
        raise RejectedItem("missing field", f"must have a list {key!r}; is it of Lhotse?")
    return found


def _without_suffix(name: str) -> str:
    return name.rpartition(".")[0]


def _is_at(place: Place) -> bool:
    """Whether a folder has cuts, or recordings and supervisions."""
    names = [name for name in objects.names(place) if name.endswith(SUFFIXES)]
    return any(_is_called(name, CUTS) for name in names) or all(
        any(_is_called(name, kind) for name in names) for kind in (SUPERVISIONS, RECORDINGS)
    )


LAYOUTS = (
    Layout(
        "lhotse",
        "Lhotse's cuts, recordings with supervisions, or Shar",
        "speech",
        LhotseReader,
        (reading.AUDIO_ROOT,),
        is_at=_is_at,
    ),
)
