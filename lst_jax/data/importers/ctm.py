"""CTM, as of NIST and Kaldi: `file channel start_sec duration_sec word [confidence]` a line, `;;` before comments.

u1 1 0.08 0.32 hello 0.97
"""

import os
from collections.abc import Sequence

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.alignment import to_seconds
from lst_jax.data.importers import base
from lst_jax.data.importers.alignments import Alignment, AlignmentTable, words_of
from lst_jax.data.importers.formats import AlignmentFormat, Export, Option
from lst_jax.data.records import Utterance

CHANNEL = "1"  # what export writes


def open_alignments(path: str | os.PathLike, channel: str | None = None) -> AlignmentTable:
    """The items of a CTM file; `channel` chooses one where a file has several.

    Raises: DataError where a line has too few fields or the file holds no words.
    """
    items: dict[str, tuple[str, list[list[str]]]] = {}
    channels = set()
    for place, line in base.text_lines(path):
        if line.lstrip().startswith(";;"):
            continue
        parts = line.split()
        if len(parts) not in (5, 6):
            raise DataError(
                f"{place}: has {len(parts)} fields; a CTM line is `file channel start duration word [confidence]`"
            )
        channels.add(parts[1])
        if channel is None or parts[1] == channel:
            items.setdefault(parts[0], (place, []))[1].append(parts[1:5])
    if channels and not items:
        raise DataError(
            f"{path}: has no words of channel {channel}; --channel must be one of {', '.join(sorted(channels))}"
        )
    if not items:
        raise DataError(f"{path}: has no words; give a CTM file")
    return AlignmentTable("ctm", items, parse)


def parse(lines: Sequence[Sequence[str]]) -> Alignment:
    """The words of an item, of its (channel, start, duration, word) lines, by their start. Raises: RejectedItem."""
    channels = sorted({channel for channel, *_ in lines})
    if len(channels) > 1:
        raise RejectedItem("several channels", f"has channels {', '.join(channels)}; choose one with --channel")
    intervals = []
    for _, start, duration, word in lines:
        start_sec, duration_sec = base.parse_seconds(start), base.parse_seconds(duration)
        intervals.append((word, start_sec, start_sec + duration_sec))
    words = words_of(sorted(intervals, key=lambda interval: interval[1]), base.SILENCES, base.UNKNOWN)
    return Alignment(words, None, channels[0] if channels else None)


def format_lines(utterance: Utterance, unit_rate: float) -> str:
    """The lines of an utterance; silence is not written, so one without words has none; units, speaker and source are
    lost. Raises: RejectedItem where the id or a word has blanks in it, or could not be read back.
    """
    name = _one(utterance.id)
    if name.startswith(";;"):
        raise RejectedItem("cannot be written", f"id {name!r} would be a comment; change it")
    return "".join(
        f"{name} {CHANNEL} {start_sec:.6f} {end_sec - start_sec:.6f} {_one(text)}\n"
        for text, start_sec, end_sec in to_seconds(utterance.words, unit_rate)
    )


def _one(text: str) -> str:
    if len(text.split()) != 1:
        raise RejectedItem(
            "cannot be written",
            f"text {text!r} is not one word, as a CTM field must be; change it, or export to another format",
        )
    return base.exportable_word(text, "CTM")


FORMAT = AlignmentFormat(
    "ctm",
    "a CTM file",
    open_alignments,
    options=(Option("channel", "channel of a CTM file to read"),),
    export=Export("one CTM file", format_lines),
)
