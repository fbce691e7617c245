"""Documents cut into utterances to speak: words that can be spoken and aligned, cut where sentences or phrases end."""

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from lst_jax.core.errors import DataError
from lst_jax.prepare import manifest, pronounce
from lst_jax.prepare.corpora.corpus import Corpus

WORDS_MIN, WORDS_MAX = 8, 25
SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*$")
PHRASE_END = re.compile(r"[,;:–—]+[\"'”’)\]]*$")
ABBREVIATIONS = frozenset("mr. mrs. ms. dr. prof. st. vs. etc. e.g. i.e. cf. no. fig. sec. inc. ltd. jr. sr.".split())


class Utterance(NamedTuple):
    """What is spoken in one go: words joined by single blanks, and what else the line of its document said."""

    id: str
    text: str
    fields: dict[str, Any]


def spoken_text(text: str) -> str:
    """The words of a text as a transcript has them: written as they are, one blank between, NFC.

    Control characters go, and words without a letter, a digit or a symbol that has a name (`pronounce.SYMBOLS`): no
    sound could be theirs.
    Example: 'Fly -- by "42" & \\t co.' -> 'Fly by "42" & co.'
    """
    plain = "".join(
        " " if c.isspace() else c
        for c in unicodedata.normalize("NFC", text)
        if c.isspace() or unicodedata.category(c)[0] != "C"
    )
    return " ".join(word for word in plain.split() if any(c.isalnum() or c in pronounce.SYMBOLS for c in word))


def cut(words: Sequence[str], words_min: int = WORDS_MIN, words_max: int = WORDS_MAX) -> list[list[str]]:
    """Runs of at most `words_max` words, and no fewer than `words_min` unless the whole has fewer.

    While more than `words_max` words are left, a run ends at the last sentence end that leaves at least `words_min`
    words on both sides, else at the last such phrase end (comma, colon, dash), else the rest is shared out evenly.
    Example, 2 to 4: "so be it. let us go, then now" -> "so be it.", "let us go,", "then now"
    Raises: DataError where some lengths could not be made of such runs.
    """
    if not 1 <= words_min <= (words_max + 1) // 2:
        raise DataError(
            f"--words-min {words_min}: must be at least 1 and, so that any document can be cut, at most "
            f"{(words_max + 1) // 2} with --words-max {words_max}; change one of them"
        )
    runs, first = [], 0
    while (left := len(words) - first) > words_max:
        sizes = range(min(words_max, left - words_min), words_min - 1, -1)
        even = math.ceil(left / math.ceil(left / words_max))
        size = next(
            (size for ends in (_ends_sentence, _ends_phrase) for size in sizes if ends(words[first + size - 1])), even
        )
        runs.append(list(words[first : first + size]))
        first += size
    return [*runs, list(words[first:])]


def of_corpus(corpus: Corpus, words_min: int, words_max: int) -> tuple[list[Utterance], list[manifest.BadItem]]:
    """The utterances of all documents, and the lines that are no documents.

    Raises: DataError where there are no documents, or an id is there twice.
    """
    spoken, bad = [], []
    for item, fields in manifest.iter_text_fields(corpus):
        if isinstance(item, manifest.BadItem):
            bad.append(item)
        else:
            spoken += of_document(item, fields, words_min, words_max)
    if not spoken:
        raise corpus.empty()
    return manifest.unique(spoken, corpus.where), bad


def of_document(item: manifest.TextItem, fields: dict[str, Any], words_min: int, words_max: int) -> list[Utterance]:
    """The utterances of a document; one alone has the document's id, several are numbered.

    Example: a document "d" of 30 words -> "d-000" and "d-001", of 15 words each, with the same other `fields`
    Raises: DataError where the id cannot stand in a CTM file.
    """
    if item.id.split() != [item.id] or item.id.startswith(";;"):
        raise DataError(
            f"{item.id!r}: the id is empty, has blanks or begins with ';;', which a CTM file cannot hold; change it"
        )
    runs = cut(spoken_text(item.text).split(), words_min, words_max)
    others = {k: v for k, v in fields.items() if k not in ("id", "audio", "text", "speaker")}
    return [
        Utterance(item.id if len(runs) == 1 else f"{item.id}-{number:03d}", " ".join(run), others)
        for number, run in enumerate(runs)
    ]


def _ends_sentence(word: str) -> bool:
    initial = re.fullmatch(r"\W*\w\.", word)  # "J." of "J. Smith"
    return bool(SENTENCE_END.search(word)) and not initial and word.lower() not in ABBREVIATIONS


def _ends_phrase(word: str) -> bool:
    return bool(PHRASE_END.search(word))
