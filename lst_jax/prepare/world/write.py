"""The directory that `lst prepare world` makes. The same settings give the same bytes, after any stop.

DIR/world.json          the settings; others are refused
DIR/facts.jsonl         every fact, the way in which it is told, and how often the documents for training tell it
DIR/speech.jsonl        documents for `lst prepare synthesise`, with the field split: train or valid
DIR/text.jsonl          documents for `lst prepare text`, likewise
DIR/tasks/KIND.jsonl    items for `lst prepare spoken-task` and `lst evaluate --tasks`
DIR/report.json         counts; the last to be written
"""

import collections
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import tqdm

from lst_jax.core.errors import DataError
from lst_jax.data.tasks import items as task_items
from lst_jax.prepare import digests
from lst_jax.prepare.world import facts, items
from lst_jax.prepare.world.facts import Fact, Modality, World
from lst_jax.prepare.world.sentences import Split
from lst_jax.prepare.world.stories import Story, stories
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

VERSION = 1  # of what is written here; raise it when any byte changes
IDENTITY_NAME, FACTS_NAME, REPORT_NAME, TASKS = "world.json", "facts.jsonl", "report.json", "tasks"
WORDS_PER_HOUR = 15_000  # as espeak-ng says these stories with the voices of the Makefile, pauses included
VALID_SHARE = 0.02  # of the words for training, in documents for validation beside them
LEAST_WORDS = 400  # of the documents of a split
STORIES_OF_A_TEXT = 3
LIST_SHARE = 0.25  # of the documents, unless another is asked for


class Settings(NamedTuple):
    """What a world is made from: `hours` of speech for training, `text_times` as many words in texts, and `items` of each
    kind for each of the four ways in which facts are told. `list_share` of the documents are plain lists of facts."""

    people: int
    hours: float
    text_times: float
    items: int
    seed: int
    relations: int = facts.RELATIONS[-1]
    list_share: float = LIST_SHARE

    def check(self) -> None:
        """Raises: DataError where a number is out of its range; `facts.make_world` looks at `people` and `relations`."""
        for option, value, least, most in (
            ("--hours", self.hours, 0.01, 1000.0),
            ("--text-times", self.text_times, 0.1, 100.0),
            ("--items", self.items, 1, 100_000),
            ("--seed", self.seed, 0, 2**32),
            ("--list-share", self.list_share, 0.0, 1.0),
        ):
            if not least <= value <= most:
                raise DataError(f"{option} {value:g}: must be from {least:g} to {most:g}; correct it")


class Report(NamedTuple):
    """The outcome: counts of people, of facts by way, of different words, and of documents and their words."""

    directory: Place
    people: int
    facts: dict[str, int]
    vocabulary: int
    documents: dict[str, int]  # by MODALITY/SPLIT
    words: dict[str, int]  # likewise
    items: dict[str, int]  # by kind

    def lines(self) -> list[str]:
        """Lines for the log."""
        told = ", ".join(f"{count} {way}" for way, count in self.facts.items())
        hours = self.words["speech/train"] / WORDS_PER_HOUR
        return [
            f"{self.directory}: {self.people} people, {sum(self.facts.values())} facts ({told}), {self.vocabulary} words",
            f"for training {self.documents['speech/train']} utterances (about {hours:.2f} h) and "
            f"{self.documents['text/train']} texts ({self.words['text/train']} words); items: "
            + ", ".join(f"{count} {kind}" for kind, count in self.items.items()),
        ]


def write_world(
    out_dir: str | os.PathLike | Place, settings: Settings, overwrite: bool = False, progress: bool = False
) -> Report:
    """Makes the directory (see the module), or finishes it, or leaves a finished one as it is.

    Raises: DataError where a setting is wrong, or the directory holds another world; StorageError.
    """
    settings.check()
    world, out = facts.make_world(settings.people, settings.seed, settings.relations), to_place(out_dir)
    made = (REPORT_NAME, FACTS_NAME, "speech.jsonl", "text.jsonl", TASKS)
    digests.begin(out, IDENTITY_NAME, {"version": VERSION, **settings._asdict()}, made, overwrite)
    if objects.exists(out / REPORT_NAME):
        return Report(out, **json.loads(objects.read_text(out / REPORT_NAME)))
    counts = _Counts()
    spoken = settings.hours * WORDS_PER_HOUR
    for modality, words in (("speech", spoken), ("text", spoken * settings.text_times)):
        documents = itertools.chain(
            _documents(world, modality, "train", words, settings.list_share, counts),
            _documents(world, modality, "valid", words * VALID_SHARE, settings.list_share, counts),
        )
        _write_lines(out / f"{modality}.jsonl", tqdm.tqdm(documents, f"world {modality}", disable=not progress))
    _write_lines(out / FACTS_NAME, (_fact_line(fact, counts.tellings) for fact in world.facts))
    for kind in items.KINDS:
        asked = items.make_items(world, kind, settings.items)
        lines = (task_items.line(one, None, None) for one in asked)
        _write_lines(out / TASKS / f"{kind}.jsonl", tqdm.tqdm(lines, f"world {kind}", disable=not progress))
    report = Report(
        out,
        len(world.people),
        facts.by_way(world.facts),
        len(counts.vocabulary),
        dict(counts.documents),
        dict(counts.words),
        {kind: settings.items * len(facts.TOLD) for kind in items.KINDS},
    )
    objects.write_json(out / REPORT_NAME, {k: v for k, v in report._asdict().items() if k != "directory"})
    return report


class _Counts:
    """What is counted while lines are written."""

    def __init__(self):
        self.documents: collections.Counter[str] = collections.Counter()
        self.words: collections.Counter[str] = collections.Counter()
        self.tellings: collections.Counter[tuple[str, Modality]] = collections.Counter()
        self.vocabulary: set[str] = set()

    def of_document(self, modality: Modality, split: str, told: list[Story]) -> None:
        """Counts a document."""
        self.documents[f"{modality}/{split}"] += 1
        for story in told:
            self.words[f"{modality}/{split}"] += story.words
            self.vocabulary.update(story.text.replace(".", "").split())
            if split == "train":
                self.tellings.update((fact.id, modality) for fact in story.facts)


def _documents(
    world: World, modality: Modality, split: Split, words: float, list_share: float, counts: _Counts
) -> Iterator[dict[str, Any]]:
    size = STORIES_OF_A_TEXT if modality == "text" else 1
    told = stories(world, modality, split, max(LEAST_WORDS, round(words)), list_share)
    for number in itertools.count():
        some = list(itertools.islice(told, size))
        if not some:
            return
        counts.of_document(modality, split, some)
        text = " ".join(story.text for story in some)
        yield {"id": f"{modality}-{split}-{number:06d}", "text": text, "split": split}


def _fact_line(fact: Fact, tellings: collections.Counter[tuple[str, Modality]]) -> dict[str, Any]:
    return {
        "id": fact.id,
        "subject": fact.subject.name,
        "relation": fact.relation,
        "thing": fact.thing,
        "to": None if fact.to is None else fact.to.name,
        "told": fact.told,
        "tellings": {modality: tellings[fact.id, modality] for modality in facts.MODALITIES},
    }


def _write_lines(place: Place, lines: Iterable[dict[str, Any]]) -> None:
    with objects.filling(place) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
