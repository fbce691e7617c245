"""Readers of public benchmarks' own files (docs/formats_external.md, "Tasks"). Nothing is downloaded."""

import csv
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.importers import base
from lst_jax.data.tasks import items as ours
from lst_jax.data.tasks.items import Item, Part, Task

# Occurrences of a word in LibriSpeech below which a band ends, and its name. The challenge's program cuts alike.
BANDS = ((1, "oov"), (5, "1-5"), (20, "6-20"), (100, "21-100"), (float("inf"), ">100"))


def read_task(name: str, path: str | os.PathLike) -> Task:
    """Reads a task. A file in our own format is read as such; otherwise `name` must be one of `READERS`.

    Example: read_task("storycloze", "cloze_test_val.csv"), read_task("hellaswag", "hellaswag_val.jsonl"),
        read_task("hellaswag", "spoken/hellaswag/task.jsonl"), read_task("mine", "mine.jsonl")
    Raises: DataError naming file, line and fix.
    """
    path = pathlib.Path(path)
    if name in READERS and not _is_ours(path):
        return READERS[name](path)
    if path.suffix == ".csv":
        raise DataError(
            f"{path}: {name} is no benchmark whose files are known ({', '.join(READERS)}); give one of "
            "these names, or JSON lines"
        )
    return ours.read(path)


def _is_ours(path: pathlib.Path) -> bool:
    if path.suffix == ".csv":
        return False
    _, line = next(base.text_lines(path), ("", "{}"))
    try:
        return "choices" in base.json_object(line)
    except RejectedItem:
        return False


def hellaswag(path: str | os.PathLike) -> Task:
    """Reads `hellaswag_val.jsonl`: {ind, ctx, endings, label, …}. A label that is "" or missing is not known.

    The prompt is `ctx` without the activity's label. Marks such as [header] are removed from it and from the endings.
    """
    found = []
    for place, line in base.text_lines(path):
        try:
            fields = base.json_object(line)
            endings = base.field(fields, "endings", list)
            label = fields["label"] if "label" in fields else None
            number = base.field(fields, "ind", (int, str)) if "ind" in fields else place.rpartition(" ")[2]
            found.append(
                Item(
                    str(number),
                    Part(_plain(base.field(fields, "ctx", str))),
                    tuple(Part(_plain(one)) for one in endings),
                    _label(label, place),
                )
            )
        except RejectedItem as error:
            raise DataError(f"{place}: {error}") from error
    ours.check(found, path)
    return Task(tuple(found), "ctx without the activity's label, [marks] taken out")


def storycloze(path: str | os.PathLike) -> Task:
    """Reads StoryCloze, and TopicStoryCloze in the same columns. The prompt is the four sentences.

    Columns: InputStoryid, InputSentence1-4, RandomFifthSentenceQuiz1-2, and AnswerRightEnding, which is 1 or 2, or
    missing or empty where it is not known.
    """
    sentences = [f"InputSentence{i}" for i in range(1, 5)]
    endings = ["RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2"]
    found = []
    for place, row in _rows(path, ["InputStoryid", *sentences, *endings]):
        right = row["AnswerRightEnding"] if "AnswerRightEnding" in row else None
        label = _label(right, place)
        found.append(
            Item(
                row["InputStoryid"],
                Part(" ".join(row[name].strip() for name in sentences)),
                tuple(Part(row[name].strip()) for name in endings),
                None if label is None else label - 1,
            )
        )
    ours.check(found, path)
    return Task(tuple(found), "four sentences")


def swuggy(path: str | os.PathLike) -> Task:
    """Reads ZeroSpeech 2021 `lexical/*/gold.csv`: id, filename, voice, frequency, word, correct, …

    An item is a word and a non-word. The voices of an id form a group. Bands are the word's frequency, and whether it is
    in the training vocabulary.
    """

    def bands(row: Mapping[str, str], place: str) -> dict[str, str]:
        try:
            count = float(row["frequency"] or 0)
        except ValueError as error:
            raise DataError(f"{place}: frequency={row['frequency']}: must be a number; correct it") from error
        return {
            "frequency": next(name for limit, name in BANDS if count < limit),
            "vocabulary": "known" if count else "oov",
        }

    return _pairs(path, "word", ["frequency"], bands)


def sblimp(path: str | os.PathLike) -> Task:
    """Reads ZeroSpeech 2021 `syntactic/*/gold.csv`: id, filename, voice, type, subtype, transcription, correct.

    The voices of an id form a group. Bands are the phenomenon (`type`) and its `subtype`.
    """
    return _pairs(
        path,
        "transcription",
        ["type", "subtype"],
        lambda row, place: {"phenomenon": row["type"], "subtype": row["subtype"]},
    )


READERS: dict[str, Callable[[str | os.PathLike], Task]] = {
    "hellaswag": hellaswag,
    "storycloze": storycloze,
    "topicstorycloze": storycloze,
    "swuggy": swuggy,
    "sblimp": sblimp,
}


def submission(items: Sequence[Item], scores: Sequence[Sequence[float]]) -> str:
    """A ZeroSpeech submission: a line `NAME SCORE` for every choice that has a name. Likelier choices score higher.

    Example: the line "aAAfmkmQpVz -31.25". The challenge expects it in lexical/dev.txt or syntactic/dev.txt.
    """
    return "".join(
        f"{part.name} {score!r}\n"
        for item, own in zip(items, scores, strict=True)
        for part, score in zip(item.choices, own, strict=True)
        if part.name is not None
    )


def _pairs(path, text: str, others: list[str], bands) -> Task:
    """Pairs of the right and the wrong line of one id and voice. The right one is the first choice."""
    halves: dict[tuple[str, str], dict[str, tuple[str, Mapping[str, str]]]] = {}
    for place, row in _rows(path, ["id", "filename", "voice", text, "correct", *others]):
        correct = row["correct"].strip()
        pair = halves.setdefault((row["id"], row["voice"]), {})
        if correct not in ("0", "1") or correct in pair:
            raise DataError(
                f"{place}: correct={correct}: each id and voice must have one line with 1 and one with 0; correct it"
            )
        pair[correct] = place, row
    found = []
    for (name, voice), pair in halves.items():
        if len(pair) < 2:
            ((place, _),) = pair.values()
            raise DataError(
                f"{place}: id {name}, voice {voice} has one line; each must have one with correct=1 and one with 0"
            )
        place, right = pair["1"]
        parts = tuple(Part(row[text], name=row["filename"].removesuffix(".wav")) for _, row in (pair["1"], pair["0"]))
        found.append(Item(f"{name}-{voice}", None, parts, 0, name, bands(right, place)))
    ours.check(found, path)
    return Task(tuple(found), "voices averaged per id")


def _rows(path: str | os.PathLike, columns: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    path = pathlib.Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; correct the path")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path}: has no column {missing[0]!r}; is it the benchmark's file?")
            for row in reader:
                place = f"{path}: line {reader.line_num}"
                if None in row or None in row.values():
                    raise DataError(
                        f"{place}: does not have the {len(reader.fieldnames or ())} columns of the first line; correct it"
                    )
                yield place, row
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error.reason}); convert it") from error


def _label(value: object, place: str) -> int | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return int(str(value))
    except ValueError as error:
        raise DataError(f"{place}: label={value}: must be a whole number; correct it") from error


def _plain(text: str) -> str:
    """The text without HellaSwag's marks.

    Example: "How to jog [title] Warm up. [step] Walk." -> "How to jog. Warm up. Walk."
    """
    text = re.sub(r"[.]?\s*\[title\]\s*", ". ", text)
    return " ".join(re.sub(r"\[[^\]]*\]", " ", text).split())
