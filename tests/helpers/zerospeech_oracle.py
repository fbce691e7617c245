"""The scores of ZeroSpeech 2021's lexical and syntactic parts, computed from a gold file and a submission alone.

Written from what the challenge's program does (github.com/zerospeech/zerospeech2021: lexical, syntactic, leaderboard;
github.com/zerospeech/benchmarks computes the same). Nothing of the package is used.

1. A pair is the right and the wrong recording of one voice. It scores 1 where the right one has the higher score, 0.5
   where both have the same, else 0.
2. The voices of an item are averaged. An item is an id of sWUGGY, and a type, subtype and id of sBLIMP.
3. `all` is the mean over the items, and so is the value of each band, over its items.
4. Bands of frequency are [0, 1), [1, 5), [5, 20), [20, 100) and from 100 on; a word without a frequency is in none.
5. `in_vocab` is the mean of the bands but the first, each weighted by its number of items.
"""

import collections
import csv
import pathlib
import statistics

Bands = dict[str, tuple[int, float]]  # items and mean score, by name


def lexical(gold: pathlib.Path, submission: str) -> dict:
    """`all`, `in_vocab`, `by_frequency` and `by_length` of sWUGGY."""
    items = _items(gold, submission, lambda row: row["id"])
    by_frequency = _bands([(_frequency(word["frequency"]), score) for word, score in items])
    known = {name: band for name, band in by_frequency.items() if name != "oov"}
    return {
        "all": statistics.fmean(score for _, score in items),
        "in_vocab": sum(n * mean for n, mean in known.values()) / sum(n for n, _ in known.values()),
        "by_frequency": by_frequency,
        "by_length": _bands([(word["length"], score) for word, score in items]),
    }


def syntactic(gold: pathlib.Path, submission: str) -> dict:
    """`all` and `by_type` of sBLIMP."""
    items = _items(gold, submission, lambda row: (row["type"], row["subtype"], row["id"]))
    return {
        "all": statistics.fmean(score for _, score in items),
        "by_type": _bands([(sentence["type"], score) for sentence, score in items]),
    }


def _items(gold, submission, item_of) -> list[tuple[dict, float]]:
    """The right line of each item, and its score."""
    scores = {name: float(score) for name, score in map(str.split, submission.splitlines())}
    with open(gold, newline="") as file:
        lines = list(csv.DictReader(file))
    assert scores.keys() == {line["filename"] for line in lines}
    wrong = {(item_of(line), line["voice"]): scores[line["filename"]] for line in lines if line["correct"] == "0"}
    found, words = collections.defaultdict(list), {}
    for line in lines:
        if line["correct"] == "1":
            ours, theirs = scores[line["filename"]], wrong[item_of(line), line["voice"]]
            found[item_of(line)].append(1.0 if ours > theirs else 0.5 if ours == theirs else 0.0)
            words[item_of(line)] = line
    return [(words[item], statistics.fmean(own)) for item, own in found.items()]


def _frequency(text: str) -> str | None:
    if text == "":
        return None
    edges = {"oov": (0, 1), "1-5": (1, 5), "6-20": (5, 20), "21-100": (20, 100), ">100": (100, float("inf"))}
    (name,) = [name for name, (low, high) in edges.items() if low <= int(text) < high]
    return name


def _bands(scored: list[tuple[str | None, float]]) -> Bands:
    found = collections.defaultdict(list)
    for name, score in scored:
        if name is not None:
            found[name].append(score)
    return {name: (len(own), statistics.fmean(own)) for name, own in found.items()}
