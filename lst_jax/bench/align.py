"""`lst bench align`: how many words aligners place, how near to where they are, and how fast.

A synthesiser speaks texts and knows when it says each word: these times are the truth. Beside the aligners that are asked
for stands CTC with made-up emissions. They say each character in one frame in the middle of its share of the word, so
what that row shows is the search and the frames alone: no model can be nearer.
"""

import collections
import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import soxr
import tqdm

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data import line_files
from lst_jax.data.alignment import Placed
from lst_jax.prepare import audio as audio_lib
from lst_jax.prepare.aligners.protocol import Aligner, BatchAligner, RetryingAligner
from lst_jax.prepare.synthesis.protocol import Synthesiser
from lst_jax.report import results_file

PACKAGES = ("pocketsphinx", "espeakng-loader", "jax", "numpy")
TEXTS = "corpora/asterisk/manifest.jsonl"
VOICES = ("en-us", "en-us+f3", "en-gb")
BATCH = 16  # recordings that a model sees together
NEAR_SEC = (0.02, 0.05, 0.1)  # boundaries are counted within these
IDEAL = "CTC, made-up emissions"
CTC_RATE, CTC_SHIFT_SEC = 50.0, 0.0025  # frames of wav2vec2: 20 ms, each around the middle of its 25 ms
SURE = 0.9  # probability of what the made-up emissions say


@dataclasses.dataclass(frozen=True)
class Spoken:
    """A recording at 16 kHz with its words, and the truth: (start_sec, end_sec) of each."""

    name: str
    audio: np.ndarray
    words: list[str]
    gold: list[tuple[float, float]]


def speak(
    texts: str, synthesiser: Synthesiser, voices: Sequence[str], items: int, noise_db: float | None
) -> list[Spoken]:
    """The first `items` texts of a manifest, spoken by the voices in turns, with white noise so far below the speech.

    Raises: DataError where there are no texts, or a voice is unknown.
    """
    for voice in voices:
        synthesiser.check_voice(voice)
    spoken = []
    for number, words in enumerate(_texts(texts)):
        if len(spoken) == items:
            break
        try:
            speech = synthesiser.speak(" ".join(words), voices[number % len(voices)])
        except RejectedItem:
            continue
        audio = soxr.resample(speech.samples, speech.rate, audio_lib.RATE).astype(np.float32)
        if noise_db is not None:
            power = float(np.sqrt(np.mean(np.square(audio)))) * 10 ** (-noise_db / 20)
            audio = audio + np.random.default_rng(number).normal(0, power, len(audio)).astype(np.float32)
        spoken.append(Spoken(f"u{number}", audio, words, list(speech.words)))
    if len(spoken) < 2:
        raise DataError(f"--texts {texts}: has {len(spoken)} texts that can be spoken; give two at least")
    return spoken


def measure(spoken: Sequence[Spoken], aligners: Sequence[Aligner], progress: bool = False) -> dict[str, Any]:
    """The numbers of each aligner, and of CTC with made-up emissions."""
    every: list[Aligner] = [*aligners, IdealCtc(spoken)]
    return {
        "recordings": len(spoken),
        "seconds": sum(len(one.audio) for one in spoken) / audio_lib.RATE,
        "words": sum(len(one.words) for one in spoken),
        "aligners": {aligner.name: _measure(spoken, aligner, progress) for aligner in every},
    }


class IdealCtc:
    """An `Aligner` by the CTC search over emissions that are made up from the truth.

    It knows recordings by their ids, and is asked for their own words alone: how it would take others is made up as well.
    """

    name = IDEAL

    def __init__(self, spoken: Sequence[Spoken]):
        """Keeps the truth."""
        letters = sorted({letter for one in spoken for word in one.words for letter in word})
        self._ids = {letter: number for number, letter in enumerate(letters, 2)}  # 0 is the blank, 1 parts words
        self._spoken = {one.name: one for one in spoken}
        self._frames = max(int(len(one.audio) / audio_lib.RATE * CTC_RATE) for one in spoken)
        self._letters = max(len(self._text(one.words)) for one in spoken)

    def align(self, item_id: str, audio: np.ndarray, words: Sequence[str]) -> list[Placed]:
        """See `Aligner.align`. Raises: RejectedItem where the text is too long."""
        from lst_jax.prepare.acoustic import ctc  # here alone: it imports JAX

        ids, frames = self._text(words), int(len(audio) / audio_lib.RATE * CTC_RATE)
        if ctc.needed_frames(ids) > frames:
            raise RejectedItem("too little audio", "the text needs more frames than there are")
        text_BN = np.zeros((1, self._letters), np.int32)
        text_BN[0, : len(ids)] = ids
        found = ctc.align(self._emissions(self._spoken[item_id]), np.array([frames]), text_BN, np.array([len(ids)]))
        spans = ctc.word_spans(np.asarray(found.start_BN)[0], np.asarray(found.end_BN)[0], ids, 1)
        return [
            (word, start / CTC_RATE + CTC_SHIFT_SEC, end / CTC_RATE + CTC_SHIFT_SEC)
            for word, (start, end) in zip(words, spans, strict=True)
        ]

    def guessed(self, words: Sequence[str]) -> list[str]:
        """None."""
        return []

    def _text(self, words: Sequence[str]) -> list[int]:
        return [number for word in words for number in (1, *(self._ids[letter] for letter in word))][1:]

    def _emissions(self, one: Spoken) -> np.ndarray:
        """Log-probabilities float32 [1, frames, characters]."""
        probability = np.full((self._frames, len(self._ids) + 2), (1 - SURE) / (len(self._ids) + 1), np.float32)
        said = np.zeros(self._frames, np.int64)
        at = -1
        for word, (start_sec, end_sec) in zip(one.words, one.gold, strict=True):
            for place, letter in enumerate(word):
                middle_sec = start_sec + (place + 0.5) / len(word) * (end_sec - start_sec)
                at = min(max(at + 1, int(middle_sec * CTC_RATE)), self._frames - 1)
                said[at] = self._ids[letter]
        probability[np.arange(self._frames), said] = SURE
        return np.log(probability)[None]


def _texts(path: str) -> Iterator[list[str]]:
    """The words of each text, letters and apostrophes in lower case, without what has neither."""
    for _, fields in line_files.json_lines(path):
        text = fields["text"] if isinstance(fields, dict) and isinstance(fields.get("text"), str) else ""
        words = ["".join(c for c in word.lower() if c.isalpha() or c == "'").strip("'") for word in text.split()]
        if len(words := [word for word in words if word]) > 1:
            yield words


def _measure(spoken: Sequence[Spoken], aligner: Aligner, progress: bool) -> dict[str, Any]:
    others = [one.words for one in [*spoken[1:], spoken[0]]]
    started = time.process_time()
    found = _align(spoken, [one.words for one in spoken], aligner, progress)
    seconds = time.process_time() - started
    again = sum(aligner.take_retried(one.name) for one in spoken) if isinstance(aligner, RetryingAligner) else 0
    wrong = [] if isinstance(aligner, IdealCtc) else _align(spoken, others, aligner, progress)
    errors = _errors(spoken, found)
    reasons = collections.Counter(one.reason for one in found if isinstance(one, RejectedItem))
    return {
        "accepted": sum(not isinstance(one, RejectedItem) for one in found) / len(found),
        "placed": len(errors) / sum(len(one.words) for one in spoken),
        "second_searches": again,
        "rejected": dict(reasons.most_common()),
        "wrong_refused": sum(isinstance(one, RejectedItem) for one in wrong) / len(wrong) if wrong else None,
        "near": {f"{near:g}": _share_within(errors, near) for near in NEAR_SEC},
        "start_ms": _in_ms(errors[:, 0]),
        "end_ms": _in_ms(errors[:, 1]),
        "speed": sum(len(one.audio) for one in spoken) / audio_lib.RATE / seconds,
    }


def _align(
    spoken: Sequence[Spoken], texts: Sequence[Sequence[str]], aligner: Aligner, progress: bool
) -> list[list[Placed] | RejectedItem]:
    step = BATCH if isinstance(aligner, BatchAligner) else 1
    results: list[list[Placed] | RejectedItem] = []
    for first in tqdm.trange(0, len(spoken), step, desc=aligner.name[:20], disable=not progress):
        some = spoken[first : first + step]
        if isinstance(aligner, BatchAligner):
            audio = [one.audio for one in some]
            results += aligner.align_batch([one.name for one in some], audio, texts[first : first + step])
            continue
        try:
            results.append(aligner.align(some[0].name, some[0].audio, texts[first]))
        except RejectedItem as error:
            results.append(error)
    return results


def _errors(spoken: Sequence[Spoken], found: Sequence[list[Placed] | RejectedItem]) -> np.ndarray:
    """Errors in seconds float64 [placed words, 2] of starts and of ends; words that were joined to others are left out."""
    errors = [
        (start_sec - gold[0], end_sec - gold[1])
        for one, placed in zip(spoken, found, strict=True)
        if not isinstance(placed, RejectedItem) and [word for word, *_ in placed] == one.words
        for (_, start_sec, end_sec), gold in zip(placed, one.gold, strict=True)
    ]
    return np.array(errors, np.float64).reshape(-1, 2)


def _share_within(errors: np.ndarray, near_sec: float) -> float | None:
    return float((np.abs(errors) <= near_sec).mean()) if len(errors) else None


def _in_ms(errors: np.ndarray) -> dict[str, float] | None:
    """Bias, and median and 95th percentile of the size, in milliseconds; None where there are no errors."""
    if not len(errors):
        return None
    sizes = np.abs(errors)
    found = {"bias": errors.mean(), "median": np.median(sizes), "p95": np.percentile(sizes, 95)}
    return {name: float(1000 * value) for name, value in found.items()}


def markdown(measured: dict[str, Any]) -> str:
    """The body of the section in docs/results.md."""
    note = (
        f"{measured['recordings']} synthesised recordings, {measured['seconds']:.0f} s, {measured['words']:,} words. "
        "Accepted is the share of recordings, and placed that of the words in them. Errors are those of these words' boundaries: "
        "median and 95th percentile of the size, and the mean with its sign. Refused is the share of recordings that are "
        "rejected when they are given the text of the next one. Speed is seconds of sound per second of CPU time."
    )
    header = [
        "",
        "accepted",
        "placed",
        "second search",
        "start, ms",
        "end, ms",
        *(f"≤ {1000 * near:.0f} ms" for near in NEAR_SEC),
    ]
    rows = [_row(name, of) for name, of in measured["aligners"].items()]
    reasons = [
        f"- {name}: {', '.join(f'{count} {reason}' for reason, count in of['rejected'].items())}."
        for name, of in measured["aligners"].items()
        if of["rejected"]
    ]
    parts = [note, results_file.table([*header, "wrong text refused", "speed"], rows)]
    return "\n\n".join([*parts, *(["Rejected with their own text:", "\n".join(reasons)] if reasons else [])])


def _row(name: str, of: dict[str, Any]) -> list[str]:
    def milliseconds(errors: dict[str, float] | None) -> str:
        return "-" if errors is None else f"{errors['median']:.0f}, {errors['p95']:.0f}, {errors['bias']:+.0f}"

    near = ["-" if share is None else f"{share:.1%}" for share in of["near"].values()]
    return [
        name,
        f"{of['accepted']:.1%}",
        f"{of['placed']:.1%}",
        str(of["second_searches"]),
        milliseconds(of["start_ms"]),
        milliseconds(of["end_ms"]),
        *near,
        "-" if of["wrong_refused"] is None else f"{of['wrong_refused']:.1%}",
        f"{of['speed']:.0f}",
    ]
