"""sWUGGY and sBLIMP of ZeroSpeech 2021 as they lie on disk, and submissions to the challenge.

See docs/formats_external.md, "Tasks"; nothing is downloaded.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from lst_jax.core.errors import DataError
from lst_jax.data.tasks import items as ours
from lst_jax.data.tasks.columns import rows
from lst_jax.data.tasks.items import Item, Part, Task
from lst_jax.data.tasks.kind import FileTask
from lst_jax.storage.place import Place

# Occurrences of a word in LibriSpeech, and the names of the bands. The challenge's own program cuts [0, 1), [1, 5), …
BANDS = ((1, "oov"), (5, "1-5"), (20, "6-20"), (100, "21-100"), (math.inf, ">100"))
Bands = Callable[[Mapping[str, str], str], dict[str, str]]


def read_swuggy(path: Place) -> Task:
    """`lexical/*/gold.csv`: id, filename, voice, frequency, word, correct, …: a word and a non-word.

    Voices of an id are a group. Bands are the word's frequency, whether it is in the training vocabulary, and its
    `length` where there is such a column.
    """
    return _pairs(path, "word", ["id"], ["frequency"], _lexical_bands)


def read_sblimp(path: Place) -> Task:
    """`syntactic/*/gold.csv`: id, filename, voice, type, subtype, transcription, correct.

    An id counts within its type and subtype. Voices of an id are a group; bands are the phenomenon (`type`) and its
    `subtype`.
    """
    return _pairs(
        path,
        "transcription",
        ["type", "subtype", "id"],
        [],
        lambda row, place: {"phenomenon": row["type"], "subtype": row["subtype"]},
    )


SWUGGY = FileTask("swuggy", read_swuggy)
SBLIMP = FileTask("sblimp", read_sblimp)


def submission(items: Sequence[Item], scores: Sequence[Sequence[float]]) -> str:
    """A submission: a line `NAME SCORE` for each choice that has a name, the higher the likelier.

    Example: "aAAfmkmQpVz -31.25" is a line; the challenge wants the file as lexical/dev.txt or syntactic/dev.txt.
    """
    return "".join(
        f"{part.name} {score!r}\n"
        for item, own in zip(items, scores, strict=True)
        for part, score in zip(item.choices, own, strict=True)
        if part.name is not None
    )


def _lexical_bands(row: Mapping[str, str], place: str) -> dict[str, str]:
    """Bands of a word. One without a frequency is in no band of frequency, as in the challenge's program."""
    length = row["length"].strip() if "length" in row else ""
    return _frequency_bands(row["frequency"].strip(), place) | ({"length": length} if length else {})


def _frequency_bands(frequency: str, place: str) -> dict[str, str]:
    if not frequency:
        return {}
    try:
        count = float(frequency)
    except ValueError:
        count = math.nan
    if not 0 <= count < math.inf:
        raise DataError(f"{place}: frequency={frequency[:60]}: must be a number from 0 on; correct it")
    name = next(name for limit, name in BANDS if count < limit)
    return {"frequency": name, "vocabulary": "oov" if name == "oov" else "known"}


def _pairs(path: Place, text: str, identity: list[str], others: list[str], bands: Bands) -> Task:
    """Pairs of a right and a wrong line of one voice with the same `identity`; the right one is the first choice."""
    halves: dict[tuple[str, ...], dict[str, tuple[str, Mapping[str, str]]]] = {}
    for place, row in rows(path, ["id", "filename", "voice", text, "correct", *identity, *others]):
        correct = row["correct"].strip()
        pair = halves.setdefault((*(row[column] for column in identity), row["voice"]), {})
        if correct not in ("0", "1") or correct in pair:
            raise DataError(
                f"{place}: correct={correct}: each {', '.join(identity)} and voice must have one line with 1 and one "
                "with 0; correct it"
            )
        pair[correct] = place, row
    found = []
    for (*names, voice), pair in halves.items():
        if len(pair) < 2:
            ((place, _),) = pair.values()
            named = ", ".join(f"{column} {name}" for column, name in zip(identity, names, strict=True))
            raise DataError(
                f"{place}: {named}, voice {voice} has one line; each must have one with correct=1 and one with 0"
            )
        place, right = pair["1"]
        parts = tuple(_part(row, text) for _, row in (pair["1"], pair["0"]))
        group = "/".join(names)
        found.append(Item(f"{group}-{voice}", None, parts, 0, group, bands(right, place)))
    ours.check(found, path)
    return Task(tuple(found), "voices averaged per id")


def _part(row: Mapping[str, str], text: str) -> Part:
    """A line's recording. Some lists leave out the texts of non-words."""
    return Part(row[text].strip() or None, name=row["filename"].removesuffix(".wav"))
