"""The embedded aligner: PocketSphinx with the US-English model that its wheel brings."""

import hashlib
import importlib.metadata
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pocketsphinx

from lst_jax.core.errors import RejectedItem
from lst_jax.data.alignment import Placed, regroup
from lst_jax.prepare import audio as audio_lib
from lst_jax.prepare import pronounce
from lst_jax.prepare.aligners import fit

SPHINX_RATE = 100  # frames per second of the decoder
# See PocketSphinxAligner.
LEAST_SCORE, LOST_BELOW, MOST_LOST, MOST_OUTSIDE_SEC = -3.5, -1.5, 120.0, 0.25
OUTSIDE_EACH_SEC = 30.0  # longer recordings may have MOST_OUTSIDE_SEC for each of these
FIT_VERSION = 3  # of what is accepted; enters the name
EMBEDDED = "pocketsphinx"
LANGUAGES = frozenset({"en"})
# The library's beams are 1e-48, 1e-48 and 7e-29. It also looks for the best path in a lattice of what it found, and the
# wider the beams are, the more often there is none. Of 24 prompts that espeak-ng speaks, a search over these is accepted
# for 16, and for none with another prompt's text. Without any beam these are 18, and 3 of 24.
WIDER = {"beam": 1e-80, "pbeam": 1e-80, "wbeam": 1e-56, "bestpath": False}


class PocketSphinxAligner:
    """The word pass of PocketSphinx's forced alignment.

    - The decoder carries its estimate of the cepstral mean from one utterance to the next, so results would depend on
      the order; `reinit_feat` before each utterance prevents it.
    - Beams are the library's, as wider ones place natural speech no better. A search that ends early is tried again over
      WIDER ones.
    - Silences shorter than what the silence model wants (some 0.2 s), also at the edges, are absorbed by words.
    - A word the dictionary lacks gets guessed phones (`pronounce.guess`).
    - `least_score` is the lowest mean log-likelihood per 10 ms frame, relative to the best state of each frame,
      that counts as a match. On the 248 prompts of corpora/asterisk it lies above -1.8 with their own text;
      with another prompt's text of the same length, 161 of 246 searches failed, 79 scored below -3.5 and 6 above.
      Single words come down to -3.3 with their own text.
    - A mean over all words hides one that was stretched over words that nobody wrote down. So each word may lose
      MOST_LOST at most against LOST_BELOW per frame, and outside the words there may be `most_outside_sec` of speech.
      Breaths and the edges of words add up, so a long recording may have as much for each OUTSIDE_EACH_SEC.
      All 248 prompts pass with their own text (110 and 0.12 s at most). With the middle third of the words taken from
      the transcript 97% of 173 are refused, with a half 100%, with one word 57%.
    """

    def __init__(
        self,
        least_score: float | None = None,
        pronunciations: Mapping[str, str] | None = None,
        most_outside_sec: float | None = None,
        any_language: bool = False,
    ):
        """Cheap: the decoder is made at the first use, and again in each process that gets a copy.

        `least_score` is LEAST_SCORE unless given, `most_outside_sec` MOST_OUTSIDE_SEC. `pronunciations` has phones of
        words; those are used that the dictionary lacks. With `any_language`, recordings that say that they are not English
        are aligned as if they were.
        """
        self.least_score = LEAST_SCORE if least_score is None else least_score
        self.most_outside_sec = MOST_OUTSIDE_SEC if most_outside_sec is None else most_outside_sec
        self.pronunciations = dict(pronunciations or {})
        self.languages = None if any_language else LANGUAGES
        version = importlib.metadata.version("pocketsphinx")
        self.name = f"pocketsphinx-{version}/en-us/pronounce-{pronounce.VERSION}/least-score{self.least_score:g}"
        self.name += f"/most-outside{self.most_outside_sec:g}/fit-{FIT_VERSION}"
        if self.pronunciations:
            self.name += f"/words-{hashlib.sha256(repr(sorted(self.pronunciations.items())).encode()).hexdigest()[:8]}"
        if any_language:
            self.name += "/any-language"
        self._made: pocketsphinx.Decoder | None = None
        self._made_wider: pocketsphinx.Decoder | None = None
        self._added: dict[str, bool] = {}  # words the dictionary was given here, and whether they were guessed
        self._phones: dict[str, str] = {}  # of these words
        self._retried: set[str] = set()  # ids

    def __reduce__(self):
        """Pickles as its settings: a decoder belongs to one process."""
        return type(self), (self.least_score, self.pronunciations, self.most_outside_sec, self.languages is None)

    def align(self, item_id: str, audio: np.ndarray, words: Sequence[str]) -> list[Placed]:
        """See `Aligner.align`; audio is float32 at 16 kHz.

        Raises: RejectedItem where nothing can be spoken, the search ends early, or the match is poor.
        """
        groups = [pronounce.spoken_words(word) for word in words]
        spoken = [word for group in groups for word in group]
        if not spoken:
            raise RejectedItem("no spoken words", f"text {' '.join(words)!r} has no word to speak; correct the text")
        self._learn(spoken)
        found = _search(self._decoder, audio, spoken)
        retries = _words(found) != spoken
        if retries:
            found = _search(self._wider_decoder(spoken), audio, spoken)
        if _words(found) != spoken:
            raise RejectedItem(
                "alignment failed",
                f"the search placed {len(found)} of {len(spoken)} words; does the text match the audio?",
            )
        score = sum(s for *_, s in found) / sum(end - start for _, start, end, _ in found)
        if score < self.least_score:
            raise RejectedItem(
                "poor match", f"score {score:.2f} a frame is below {self.least_score:g}; does the text match the audio?"
            )
        times = [(start / SPHINX_RATE, end / SPHINX_RATE) for _, start, end, _ in found]
        self._check_fit(audio, found, times)
        if retries:
            self._retried.add(item_id)
        return regroup(words, [len(group) for group in groups], times)

    def _check_fit(
        self, audio: np.ndarray, found: Sequence[tuple[str, int, int, float]], times: Sequence[tuple[float, float]]
    ) -> None:
        """Raises: RejectedItem where a word lies over sound that is not its own, or speech lies outside all words."""
        below = LOST_BELOW + min(0.0, self.least_score - LEAST_SCORE)  # who takes worse matches takes worse words
        for (word, start, end, score), (start_sec, end_sec) in zip(found, times, strict=True):
            if below * (end - start) - score > MOST_LOST:
                raise RejectedItem(
                    "word over other sound",
                    f"{word!r} at {start_sec:g}..{end_sec:g} s does not sound like it; does the text leave out what is "
                    "said there? correct it, or lower --least-score",
                )
        outside_sec = fit.outside_sec(audio_lib.levels([audio]), [("", *interval) for interval in times])
        most_sec = self.most_outside_sec * max(1.0, len(audio) / audio_lib.RATE / OUTSIDE_EACH_SEC)
        if outside_sec > most_sec:
            raise RejectedItem(
                "speech outside words",
                f"{outside_sec:g} s as loud as speech lie outside all words, more than {most_sec:g} s; "
                "does the text leave out what is said? correct it, or raise --most-outside",
            )

    def take_retried(self, item_id: str) -> bool:
        """See `RetryingAligner.take_retried`."""
        retried = item_id in self._retried
        self._retried.discard(item_id)
        return retried

    def guessed(self, words: Sequence[str]) -> list[str]:
        """Spoken words of `words` that the dictionary lacks, in order, each once."""
        spoken = [word for written in words for word in pronounce.spoken_words(written)]
        self._learn(spoken)
        return [word for word in dict.fromkeys(spoken) if word in self._added and self._added[word]]

    @property
    def _decoder(self) -> pocketsphinx.Decoder:
        if self._made is None:
            self._made = pocketsphinx.Decoder(lm=None, loglevel="FATAL")
        return self._made

    def _wider_decoder(self, spoken: Sequence[str]) -> pocketsphinx.Decoder:
        """A decoder of wider beams that knows these words, each of which `_learn` has met."""
        if self._made_wider is None:
            self._made_wider = pocketsphinx.Decoder(lm=None, loglevel="FATAL", **WIDER)
        for word in spoken:
            if word in self._phones and self._made_wider.lookup_word(word) is None:
                self._made_wider.add_word(word, self._phones[word], False)
        return self._made_wider

    def _learn(self, spoken: Sequence[str]) -> None:
        """Adds unknown words to the dictionary; guesses rest on what was known at the start, not on earlier guesses."""
        for word in spoken:
            if word not in self._added and self._decoder.lookup_word(word) is None:
                phones = self._known(word)
                self._phones[word] = phones or pronounce.guess(word, self._known)
                self._decoder.add_word(word, self._phones[word], False)
                self._added[word] = phones is None

    def _known(self, word: str) -> str | None:
        if word in self.pronunciations and (word in self._added or self._decoder.lookup_word(word) is None):
            return self.pronunciations[word]
        return None if word in self._added else self._decoder.lookup_word(word)


def _search(
    decoder: pocketsphinx.Decoder, audio: np.ndarray, spoken: Sequence[str]
) -> list[tuple[str, int, int, float]]:
    """(word, start, end, log-likelihood) of the words found; start and end in frames of 10 ms, end exclusive."""
    decoder.reinit_feat()
    decoder.set_align_text(" ".join(spoken))
    decoder.start_utt()
    samples = np.clip(audio * 32768, -32768, 32767).astype("<i2")
    decoder.process_raw(samples.tobytes(), full_utt=True)
    decoder.end_utt()
    found = []
    for segment in decoder.seg() or ():
        word = re.sub(r"\(\d+\)$", "", segment.word)
        if word[0] not in "<[+":  # <s>, <sil>, [NOISE], ++BREATH++
            score = math.log(max(segment.ascore, 1e-300))
            found.append((word, segment.start_frame, segment.end_frame + 1, score))
    return found


def _words(found: Sequence[tuple[str, int, int, float]]) -> list[str]:
    return [word for word, *_ in found]
