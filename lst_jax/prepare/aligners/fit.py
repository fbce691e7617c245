"""Whether words fit their recording: is there speech outside them, and are they the transcript's?"""

import collections
import difflib
import unicodedata
from collections.abc import Sequence

import numpy as np

from lst_jax.data.alignment import Placed
from lst_jax.prepare import pronounce

# Mean log-probability of a text's characters under a CTC model that still counts as a match. Guessing among 32
# characters gives -3.5. A model that hears other words is surer of these than a guess, so the text's characters lie well
# below. NeMo's tool drops segments below -5 too (`tools/ctc_segmentation`, `cut_audio.py --threshold`).
CTC_LEAST_SCORE = -5.0
FRAMES_PER_SEC = 100  # of `audio.levels`
BELOW_SPEECH_DB = 10  # as loud as speech: at most so far below the median level inside the words,
ABOVE_NOISE_DB = 6  # and so far above the quietest tenth of the recording, which is its noise
LONGEST_COMPARED = 5000  # words of two texts whose order is compared: the time is quadratic


def outside_sec(level_db: np.ndarray, placed: Sequence[Placed]) -> float:
    """Seconds outside all words that are as loud as the speech inside them; 0 where there are no words.

    On the 248 prompts of corpora/asterisk the embedded aligner leaves 0.12 s at most. Where the last half of a
    transcript was taken away, 92% have more than 0.25 s.
    """
    inside = np.zeros(len(level_db), bool)
    for _, start_sec, end_sec in placed:
        inside[round(start_sec * FRAMES_PER_SEC) : round(end_sec * FRAMES_PER_SEC)] = True
    if not inside.any():
        return 0.0
    least_db = max(np.median(level_db[inside]) - BELOW_SPEECH_DB, np.percentile(level_db, 10) + ABOVE_NOISE_DB)
    return int(((level_db > least_db) & ~inside).sum()) / FRAMES_PER_SEC


def differing(said: Sequence[str], placed: Sequence[str]) -> tuple[int, int]:
    """How many words of two texts have no counterpart in the other, and how many there are in both.

    Case, accents and punctuation do not count, and numbers are compared as they are spoken. Texts without blanks
    between their words are compared by characters.
    Example: ["Press", "2"], ["press", "two", "now"] -> 1 of 5
    """
    ours, theirs = _spoken(said), _spoken(placed)
    if "".join(ours) == "".join(theirs):
        return 0, len(ours) + len(theirs)
    if len(said) == 1 or len(placed) == 1:
        ours, theirs = list("".join(ours)), list("".join(theirs))
    if max(len(ours), len(theirs)) > LONGEST_COMPARED:
        matched = (collections.Counter(ours) & collections.Counter(theirs)).total()
    else:
        blocks = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks()
        matched = sum(block.size for block in blocks)
    return len(ours) + len(theirs) - 2 * matched, len(ours) + len(theirs)


def _spoken(words: Sequence[str]) -> list[str]:
    found = []
    for word in words:
        if any(c.isdecimal() or c in pronounce.SYMBOLS for c in word):
            found += pronounce.spoken_words(word) or [word]
            continue
        plain = unicodedata.normalize("NFKD", word.casefold())
        letters = "".join(c for c in plain if c.isalnum())
        found += [letters] if letters else []
    return found
