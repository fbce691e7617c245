"""Word and character error rates: errors of the best alignment over reference words, both sides normalised alike.

    word_error_rate(["Press one."], ["press one now"]) -> rate 0.5 (one insertion over two words)

Alignments are jiwer's. The normaliser `english-1` is ours and named beside every number: rates under another one are
not comparable.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jiwer
import numpy as np

NORMALISER = "english-1"
REPEATS = 1000  # of the bootstrap
LEVEL = 0.95


class Counts(NamedTuple):
    """Words (or characters) over all utterances; the reference has hits + substitutions + deletions."""

    utterances: int
    hits: int
    substitutions: int
    deletions: int
    insertions: int


class ErrorRate(NamedTuple):
    """`rate` may be above 1; `interval` is 95% of a bootstrap over utterances."""

    rate: float
    interval: tuple[float, float]
    counts: Counts


def english(text: str) -> str:
    """The normaliser `english-1`.

    NFKD without combining marks, lower case; "&" is "and"; apostrophes stay between letters or digits, whichever sign
    they are written with; all else that is no letter or digit parts words. Numbers stay as they are written.

    Example: "Don’t — naïve, twenty-one & 3%" -> "don't naive twenty one and 3"
    """
    text = unicodedata.normalize("NFKD", text.replace("\u2019", "'").replace("\u02bc", "'"))
    text = "".join(c for c in text if not unicodedata.combining(c)).lower().replace("&", " and ")
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", text))


def word_error_rate(
    references: Sequence[str], hypotheses: Sequence[str], normalise: Callable[[str], str] = english, seed: int = 0
) -> ErrorRate:
    """(Substitutions + deletions + insertions) over the references' words, of all utterances together.

    Args: one hypothesis a reference, in its order; an empty one is all deletions.
    Raises: ValueError where they are not as many, or the references hold no word.
    """
    return _rate(references, hypotheses, normalise, jiwer.process_words, seed)


def character_error_rate(
    references: Sequence[str], hypotheses: Sequence[str], normalise: Callable[[str], str] = english, seed: int = 0
) -> ErrorRate:
    """The same over characters, blanks between words among them."""
    return _rate(references, hypotheses, normalise, jiwer.process_characters, seed)


def _rate(references, hypotheses, normalise, process, seed) -> ErrorRate:
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references and {len(hypotheses)} hypotheses: must be as many")
    found = [
        process([normalise(reference)], [normalise(hypothesis)])
        for reference, hypothesis in zip(references, hypotheses, strict=True)
    ]
    counts_N4 = np.array([(o.hits, o.substitutions, o.deletions, o.insertions) for o in found]).reshape(-1, 4)
    errors_N, length_N = counts_N4[:, 1:].sum(1), counts_N4[:, :3].sum(1)
    if not length_N.sum():
        raise ValueError("references: hold no word to be right or wrong about")
    return ErrorRate(
        float(errors_N.sum() / length_N.sum()),
        _interval(errors_N, length_N, seed),
        Counts(len(found), *counts_N4.sum(0).tolist()),
    )


def _interval(errors_N: np.ndarray, length_N: np.ndarray, seed: int) -> tuple[float, float]:
    """Of the ratio of sums, utterances drawn anew with replacement; draws without any word are passed over."""
    n = len(errors_N)
    times_RN = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), REPEATS)
    length_R = times_RN @ length_N
    rate_R = (times_RN @ errors_N)[length_R > 0] / length_R[length_R > 0]
    low, high = np.quantile(rate_R, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
