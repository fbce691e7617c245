import numpy as np
import pytest

from lst_jax.evals.error_rate import Counts, character_error_rate, english, word_error_rate


@pytest.mark.parametrize(
    "text, normal",
    [
        ("Don\u2019t \u2014 na\u00efve, twenty-one & 3%", "don't naive twenty one and 3"),
        ("  A\tB\nc ", "a b c"),
        ("'Tis the dogs' o'clock", "tis the dogs o'clock"),
        ("re_do/it", "re do it"),
        ("", ""),
        ("...", ""),
        ("\uff21\ufb01ne", "afine"),
        ("MR. QUILTER'S", "mr quilter's"),
    ],
)
def test_the_english_normaliser(text, normal):
    assert english(text) == normal
    assert english(normal) == normal


def test_errors_are_counted_over_all_utterances():
    found = word_error_rate(["Press one.", "please hold", "goodbye"], ["press one now", "peas", "Goodbye!"])
    assert found.counts == Counts(3, 3, 1, 1, 1)
    assert found.rate == pytest.approx(3 / 5)
    assert found.interval[0] <= found.rate <= found.interval[1]


def distance(a, b):
    """Levenshtein's, the slow way."""
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    table[:, 0], table[0] = np.arange(len(a) + 1), np.arange(len(b) + 1)
    for i in range(len(a)):
        for j in range(len(b)):
            table[i + 1, j + 1] = min(table[i, j] + (a[i] != b[j]), table[i, j + 1] + 1, table[i + 1, j] + 1)
    return table[-1, -1]


@pytest.mark.parametrize("rate, split", [(word_error_rate, str.split), (character_error_rate, list)])
def test_rates_are_levenshtein_distances_over_lengths(rate, split):
    rng = np.random.default_rng(0)
    sides = [[" ".join(rng.choice(["ab", "b", "abc", "d"], rng.integers(1, 9))) for _ in range(30)] for _ in range(2)]
    errors = sum(distance(split(a), split(b)) for a, b in zip(*sides, strict=True))
    found = rate(*sides)
    assert found.rate == pytest.approx(errors / sum(len(split(a)) for a in sides[0]))
    assert found.counts.hits + found.counts.substitutions + found.counts.deletions == sum(
        len(split(a)) for a in sides[0]
    )


def test_silence_is_all_deletions_and_words_for_silence_are_insertions():
    assert word_error_rate(["a b"], [""]).counts == Counts(1, 0, 0, 2, 0)
    assert word_error_rate(["a b", ""], ["a b", "c"]).counts == Counts(2, 2, 0, 0, 1)


def test_the_interval_holds_the_rate_of_a_known_source_about_as_often_as_it_says():
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(2, 12, 50)
        references = [" ".join(["a"] * n) for n in lengths]
        hypotheses = [" ".join(rng.choice(["a", "b"], n, p=[0.8, 0.2])) for n in lengths]
        low, high = word_error_rate(references, hypotheses).interval
        held += low <= 0.2 <= high
    assert 51 <= held <= 60


def test_what_cannot_be_a_rate_is_refused():
    with pytest.raises(ValueError, match="2 references and 1 hypotheses"):
        word_error_rate(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="hold no word"):
        word_error_rate(["..."], ["a"])
