"""`lst prepare spoken-task`: a benchmark's texts as speech, and the speech as units: JSON lines for `lst evaluate`.

    DIR/spoken-task.json     what it is made from; another input is refused
    DIR/spoken/VOICE/        what `lst prepare synthesise` makes; not there where someone else's audio is taken
    DIR/units/00003.json     the lines of SHARD items and what was left out; there whole or not at all
    DIR/report.json          counts, and what was left out and why
    DIR/task.jsonl           the items with their units and words; the last to be written

Prompts and choices are spoken apart, as the paper's are; all of an item have one voice, drawn by its id. A run that was
killed is continued by the same command and ends with the same bytes. An item of which any part cannot be spoken or read
is left out whole.
"""

import dataclasses
import functools
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import tqdm

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data import records, rng
from lst_jax.data.tasks import items as task_items
from lst_jax.data.tasks.items import Item, Part, Task
from lst_jax.prepare import digests, manifest, recordings, utterances
from lst_jax.prepare.aligners.protocol import Aligner, BatchAligner
from lst_jax.prepare.aligners.registry import load_aligner
from lst_jax.prepare.digests import digest
from lst_jax.prepare.engines import processes
from lst_jax.prepare.makers import SpeechMaker
from lst_jax.prepare.speech_tokenizers.protocol import BatchUnitTokenizer, UnitTokenizer
from lst_jax.prepare.speech_tokenizers.registry import loader
from lst_jax.prepare.synthesis import synthesise
from lst_jax.prepare.synthesis.protocol import Synthesiser
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

VERSION = 1  # of what is written here; raise it when any byte changes
SHARD = 32  # items
IDENTITY_NAME, REPORT_NAME, TASK_NAME = "spoken-task.json", "report.json", "task.jsonl"
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")


class Report(NamedTuple):
    """The outcome; `rejected` is {item id: [reason, message]}."""

    directory: Place
    items: int
    parts: int
    frames: int
    unit_rate: float
    rejected: dict[str, list[str]]

    def line(self) -> str:
        """One line for the log."""
        return (
            f"{self.directory / TASK_NAME}: {self.items} items, {self.parts} prompts and choices, "
            f"{self.frames / self.unit_rate / 60:.1f} min of speech"
            f"{synthesise.left_out(self.rejected, self.directory / REPORT_NAME)}"
        )


class NoAligner:
    """An `align.Aligner` that knows no words: for audio that nobody aligned."""

    name = "none"

    def align(self, item_id: str, audio, words: Sequence[str]) -> list:
        """No words."""
        return []

    def guessed(self, words: Sequence[str]) -> list[str]:
        """None."""
        return []


def speak(
    task: Task,
    out_dir: str | os.PathLike | Place,
    units_path: str | os.PathLike,
    synthesiser: Synthesiser,
    voices: Sequence[str],
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> Report:
    """Speaks a task's texts and makes units of them (see the module); words come with the synthesiser's times.

    Raises: DataError where the directory holds something else, a part has no text, or nothing could be used.
    """
    for voice in voices:
        synthesiser.check_voice(voice)
    out, load_units = to_place(out_dir), loader(units_path)
    tokenizer = load_units()
    for item in task.items:
        for name, part in task_items.parts(item):
            if part.text is None:
                raise DataError(f"item {item.id}: {name} has no text to speak; add it, or give its audio with --audio")
    _begin(out, task, tokenizer, {"synthesiser": synthesiser.name, "voices": list(voices)}, overwrite)
    by_voice: dict[str, list[utterances.Utterance]] = {}
    sources: list[dict[str, _Source]] = []
    for number, item in enumerate(task.items):
        voice = voices[int(rng.generator("voice", item.id).integers(len(voices)))]
        folder, own = out / "spoken" / re.sub(r"[^A-Za-z0-9+_-]", "_", voice), {}
        for name, part in task_items.parts(item):
            spoken = utterances.Utterance(f"{number:06d}-{name}", utterances.spoken_text(part.text or ""), {})
            by_voice.setdefault(voice, []).append(spoken)
            own[name] = _Source(spoken.id, folder, None, spoken.text)
        sources.append(own)
    for voice, some in by_voice.items():
        synthesise.synthesise(
            some,
            out / "spoken" / re.sub(r"[^A-Za-z0-9+_-]", "_", voice),
            synthesiser,
            [voice],
            workers,
            progress=progress,
        )
    return _make_units(task, out, tokenizer, ItemMaker(load_units, None), sources, workers, progress)


def listen(
    task: Task,
    out_dir: str | os.PathLike | Place,
    units_path: str | os.PathLike,
    audio_dir: str | os.PathLike | Place,
    aligner: Aligner | None = None,
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> Report:
    """Makes units of audio that someone else made: `AUDIO/NAME.wav` (or .flac, .ogg, .opus, .mp3) of each part.

    NAME is the part's `name` (the `filename` of ZeroSpeech's lists, FOLDER/FILE of a benchmark with folders), else
    ITEM-prompt, ITEM-choice0, ITEM-choice1, …
    Raises: DataError as `speak`, and where a file is not there.
    """
    out, folder, load_units = to_place(out_dir), to_place(audio_dir), loader(units_path)
    tokenizer = load_units()
    if not objects.is_folder(folder):
        raise DataError(f"{folder}: no such folder; give the one that has the audio")
    named = [
        {name: (part, part.name or f"{item.id}-{name}") for name, part in task_items.parts(item)} for item in task.items
    ]
    there = {name: size for name, size in objects.sizes(folder).items() if name.lower().endswith(SUFFIXES)}
    sources: list[dict[str, _Source]] = []
    heard: set[str] = set()
    for number, (item, parts) in enumerate(zip(task.items, named, strict=True)):
        own = {}
        for name, (part, stem) in parts.items():
            found = [stem + suffix for suffix in SUFFIXES if stem + suffix in there]
            if not found:
                raise DataError(
                    f"{folder}: item {item.id}: {name}: no {stem}.wav (or {', '.join(SUFFIXES[1:])}); add "
                    "it, or name the file in the item"
                )
            own[name] = _Source(f"{number:06d}-{name}", None, folder / found[0], part.text or stem)
            heard.add(found[0])
        sources.append(own)
    _begin(
        out,
        task,
        tokenizer,
        {
            "audio": digest(f"{name} {there[name]}" for name in sorted(heard)),
            "aligner": aligner.name if aligner else None,
        },
        overwrite,
    )
    return _make_units(task, out, tokenizer, ItemMaker(load_units, aligner or NoAligner()), sources, workers, progress)


class _Source(NamedTuple):
    """Where the sound of a part is: in a folder of synthesised speech, under its id, or at a path."""

    id: str
    folder: Place | None
    path: Place | None
    text: str


class ItemMaker:
    """Items and their sounds → lines and rejections of a shard's file; gives their numbers. Pickles as its settings."""

    def __init__(self, load_units: Callable[[], UnitTokenizer], aligner: Aligner | None):
        """`aligner` None: the words of synthesised speech."""
        self.load_units, self.aligner = load_units, aligner

    def __call__(self, shard: tuple[Place, Sequence[tuple[Item, dict[str, _Source]]]]) -> int:
        """See the class."""
        path, questions = shard
        wanted = [one for _, own in questions for one in own.values()]
        made = {}
        for folder in dict.fromkeys(one.folder for one in wanted):
            made |= self._made(folder, [one for one in wanted if one.folder == folder])
        lines, rejected, parts, frames = [], {}, 0, 0
        for item, own in questions:
            found = {name: made[one.id] for name, one in own.items()}
            wrong = next((one for one in found.values() if isinstance(one, RejectedItem)), None)
            if wrong is not None:
                rejected[item.id] = [wrong.reason, str(wrong)]
                continue
            lines.append(
                task_items.line(self._with_units(item, found), self._tokenizer.unit_rate, self._tokenizer.fingerprint)
            )
            parts, frames = parts + len(found), frames + sum(len(u.units) for u in found.values())
        objects.write_json(path, {"lines": lines, "rejected": rejected, "parts": parts, "frames": frames})
        return len(questions)

    def _with_units(self, item: Item, found: dict[str, records.Utterance]) -> Item:
        def part(name: str, one: Part) -> Part:
            words = None if isinstance(self.aligner, NoAligner) else found[name].words
            return dataclasses.replace(one, units=found[name].units, words=words)

        return dataclasses.replace(
            item,
            prompt=None if item.prompt is None else part("prompt", item.prompt),
            choices=tuple(part(f"choice{i}", one) for i, one in enumerate(item.choices)),
        )

    def _made(self, folder: Place | None, wanted: Sequence[_Source]) -> dict[str, records.Utterance | RejectedItem]:
        """Units and words of the wanted parts, by their ids."""
        if folder is None:
            recordings = {one.id: manifest.Item(one.id, one.path, one.text, None) for one in wanted}
            maker, refused = self._maker(None), {}
        else:
            maker, spoken, refused = self._maker(folder), self._spoken(folder), self._refused(folder)
            recordings = {one.id: spoken[one.id] for one in wanted if one.id in spoken}
        found: dict[str, records.Utterance | RejectedItem] = {
            one.id: RejectedItem(*refused[one.id]) for one in wanted if one.id in refused
        }
        for name, made in zip(recordings, maker.make(list(recordings.values())), strict=True):
            found[name] = (
                records.decode("utterance", made.payload)
                if made.rejection is None
                else RejectedItem(made.rejection.reason, made.rejection.message)
            )
        return found

    @functools.cached_property
    def _tokenizer(self) -> UnitTokenizer:
        return self.load_units()

    @functools.cache  # noqa: B019 -- a maker lives as long as its process's work
    def _maker(self, folder: Place | None) -> SpeechMaker:
        aligner = self.aligner or load_aligner(f"ctm:{folder / synthesise.WORDS_NAME}")
        return SpeechMaker(self.load_units, aligner, None, recordings.MEAN)

    @functools.cache  # noqa: B019
    def _spoken(self, folder: Place) -> dict[str, manifest.Item]:
        return {item.id: item for item in manifest.read_items(str(folder / synthesise.MANIFEST_NAME), {})}

    @functools.cache  # noqa: B019
    def _refused(self, folder: Place) -> dict[str, list[str]]:
        return json.loads(objects.read_text(folder / synthesise.REPORT_NAME))["rejected"]

    def __reduce__(self):
        """See the class."""
        return type(self), (self.load_units, self.aligner)


def _begin(out: Place, task: Task, tokenizer: UnitTokenizer, source: dict[str, Any], overwrite: bool) -> None:
    """Makes the directory, or goes on with one of the same input. Raises: DataError, StorageError."""
    items = digest(json.dumps(task_items.line(item, None, None), sort_keys=True) for item in task.items)
    digests.begin(
        out,
        IDENTITY_NAME,
        {"version": VERSION, "items": items, "units": tokenizer.fingerprint, **source},
        (TASK_NAME, REPORT_NAME, "units", "spoken"),
        overwrite,
    )


def _make_units(
    task: Task,
    out: Place,
    tokenizer: UnitTokenizer,
    maker: ItemMaker,
    sources: Sequence[dict[str, _Source]],
    workers: int,
    progress: bool,
) -> Report:
    questions = list(zip(task.items, sources, strict=True))
    shards = [
        (out / "units" / f"{number:05d}.json", questions[start : start + SHARD])
        for number, start in enumerate(range(0, len(questions), SHARD))
    ]
    there = objects.sizes(out / "units")
    missing = [shard for shard in shards if shard[0].name not in there]
    if isinstance(tokenizer, BatchUnitTokenizer) or isinstance(maker.aligner, BatchAligner):
        workers = 1
    with tqdm.tqdm(
        total=len(questions),
        initial=len(questions) - sum(len(some) for _, some in missing),
        desc=f"units {out.name}",
        unit="item",
        disable=not progress,
    ) as bar:
        for count in processes.ordered_map(maker, missing, workers):
            bar.update(count)
    return _close(out, [path for path, _ in shards], tokenizer.unit_rate)


def _close(out: Place, places: Sequence[Place], unit_rate: float) -> Report:
    def shards() -> Iterator[dict[str, Any]]:
        for start in range(0, len(places), synthesise.READ_TOGETHER):
            yield from map(json.loads, objects.read_many(places[start : start + synthesise.READ_TOGETHER]))

    report = Report(out, 0, 0, 0, unit_rate, {})
    for one in shards():
        report = Report(
            out,
            report.items + len(one["lines"]),
            report.parts + one["parts"],
            report.frames + one["frames"],
            unit_rate,
            {**report.rejected, **one["rejected"]},
        )
    objects.write_json(out / REPORT_NAME, {k: v for k, v in report._asdict().items() if k != "directory"})
    if not report.items:
        name, (_, message) = next(iter(report.rejected.items()))
        raise DataError(
            f"{out}: none of {len(report.rejected)} items could be used ({name}: "
            f"{message.replace(';', ',')}); mend the texts or the audio"
        )
    objects.write_text(
        out / TASK_NAME,
        "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for one in shards() for line in one["lines"]),
    )
    return report
