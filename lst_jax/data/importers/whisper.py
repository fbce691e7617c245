"""Words with times of WhisperX, faster-whisper and Whisper: a `.json` for each recording.

    {"segments": [{"start": 0.1, "end": 0.9, "words": [{"word": " Hello,", "start": 0.1, "end": 0.4, "speaker": "SPEAKER_00"}]}]}

WhisperX gives no times to words that its aligner cannot spell, such as "2014". They share the time between the words
beside them evenly, if each gets at least `LEAST_SEC`. Public facts: m-bain/whisperX, README ("Limitations") and
`whisperx/types.py`; SYSTRAN/faster-whisper, `Word`; openai/whisper, `word_timestamps`.
"""

from collections.abc import Sequence
from typing import Any

from lst_jax.core.errors import RejectedItem
from lst_jax.data.alignment import Placed
from lst_jax.data.importers import base
from lst_jax.data.importers.alignments import Alignment, AlignmentTree, tree_paths, words_of
from lst_jax.data.importers.formats import SPEAKER, AlignmentFormat, Path
from lst_jax.storage import objects

SUFFIX = ".json"
LEAST_SEC = 0.04  # of a word without times: a frame of 25 per second
Word = dict[str, Any]


def open_alignments(path: Path, speaker: str | None = None) -> AlignmentTree:
    """The files under a folder; of `speaker`, if given. Raises: DataError where there are none."""
    return AlignmentTree(
        "whisper",
        tree_paths(path, SUFFIX),
        lambda file: parse(base.json_object(objects.read_text(file)), speaker),
    )


def parse(fields: dict[str, Any], speaker: str | None) -> Alignment:
    """The words of a file, of one speaker, by their start. Raises: RejectedItem."""
    placed: list[Placed] = []
    for number, segment in enumerate(base.field(fields, "segments", list)):
        if not isinstance(segment, dict):
            raise RejectedItem("wrong type", f"segments[{number}] is {base.short(segment)}, not an object; correct it")
        if "words" not in segment:
            raise RejectedItem(
                "no word times", f"segments[{number}] has no words with times; run the recogniser with word timestamps"
            )
        words = base.field(segment, "words", list)
        named = [word for word in words if isinstance(word, dict) and isinstance(word.get("word"), str)]
        if len(named) != len(words):
            raise RejectedItem(
                "bad words", f"segments[{number}] has a word that is no object of word, start, end; correct it"
            )
        timed = _timed(named, _seconds(segment, "start"), _seconds(segment, "end"))
        placed += [interval for word, interval in timed if speaker in (None, word.get("speaker"))]
    words = words_of(sorted(placed, key=lambda interval: interval[1]), base.SOUND_MARKS | {""}, base.UNKNOWN_MARKS)
    if not words and speaker is not None:
        raise RejectedItem("no spoken words", f"has no words of speaker {speaker!r}; name another with --speaker")
    return Alignment(words, None)


def _timed(words: Sequence[Word], start_sec: float | None, end_sec: float | None) -> list[tuple[Word, Placed]]:
    """Each word with its interval. A run of words without times shares what lies between its neighbours evenly.

    Args: `start_sec` and `end_sec` of the segment, the neighbours at its ends.
    """
    starts = [_seconds(word, "start") for word in words]
    ends = [_seconds(word, "end") for word in words]
    timed: list[tuple[Word, Placed]] = []
    at = 0
    while at < len(words):
        start, end = starts[at], ends[at]
        if start is not None and end is not None:
            timed.append((words[at], (words[at]["word"], start, end)))
            at += 1
            continue
        stop = next((i for i in range(at, len(words)) if starts[i] is not None and ends[i] is not None), len(words))
        first = timed[-1][1][2] if timed else start_sec
        last = starts[stop] if stop < len(words) else end_sec
        each = None if first is None or last is None else (last - first) / (stop - at)
        if each is None or each < LEAST_SEC:
            text = base.short(words[at]["word"].strip())
            raise RejectedItem(
                "word without times",
                f"word {text} has no times, and no room between its neighbours; leave the item out",
            )
        timed += [
            (words[at + i], (words[at + i]["word"], first + i * each, first + (i + 1) * each)) for i in range(stop - at)
        ]
        at = stop
    return timed


def _seconds(fields: Word, name: str) -> float | None:
    """The number of seconds, or None where there is none. Raises: RejectedItem where it is something else."""
    value = fields[name] if name in fields else None
    if value is None:
        return None
    if not base.number_pair([value, value]):
        raise RejectedItem("bad times", f"{name}={base.short(value)} is no number of seconds; correct it")
    return float(value)


FORMAT = AlignmentFormat(
    "whisper",
    "WhisperX, faster-whisper or Whisper .json files with word times",
    open_alignments,
    options=(SPEAKER,),
)
