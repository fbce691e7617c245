"""CTM, as of NIST, Kaldi and NeMo: `file channel start_sec duration_sec word [confidence [type speaker]]` a line.

    u1 1 0.08 0.32 hello 0.97
    u1 1 0.40 0.24 there NA lex NA

`;;` starts a comment. NeMo's forced aligner writes a file for each recording, all eight fields, and the folders `words`,
`tokens` and `segments` beside each other. Public facts: NeMo user guide, "NeMo Forced Aligner", output in CTM.
"""

from collections.abc import Iterator, Sequence

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.alignment import to_seconds
from lst_jax.data.importers import base
from lst_jax.data.importers.alignments import Alignment, AlignmentTable, words_of
from lst_jax.data.importers.formats import SPEAKER, AlignmentFormat, Export, Option, Path
from lst_jax.data.records import Utterance
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

CHANNEL = "1"  # what export writes
SPACE = "<space>"  # NeMo's blank within a word
NON_LEX = "non-lex"  # the type of a sound that is no word
WORDS_FOLDER = "words"


def open_alignments(path: Path, channel: str | None = None, speaker: str | None = None) -> AlignmentTable:
    """The items of a CTM file, or of the files under a folder; `channel` and `speaker` choose where there are several.

    Raises: DataError where a line has too few fields or nothing holds words.
    """
    items: dict[str, tuple[str, list[list[str]]]] = {}
    channels, speakers = set(), set()
    for place, parts in _lines(path):
        channels.add(parts[1])
        speakers.add(parts[7] if len(parts) == 8 else None)
        if channel not in (None, parts[1]) or speaker is not None and parts[7:] != [speaker]:
            continue
        kept = items.setdefault(parts[0], (place, []))[1]
        if parts[6:7] != [NON_LEX]:
            kept.append(parts[1:5])
    if channels and not items:
        option, value, known = (
            ("channel", channel, channels) if channel not in (None, *channels) else ("speaker", speaker, speakers)
        )
        raise DataError(
            f"{path}: has no words of {option} {value}; --{option} must be one of {', '.join(sorted(known - {None}))}"
        )
    if not items:
        raise DataError(f"{path}: has no words; give a CTM file")
    return AlignmentTable("ctm", items, parse)


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(place, fields) of all lines. Raises: DataError."""
    root = to_place(path)
    if objects.is_folder(root / WORDS_FOLDER):
        root = root / WORDS_FOLDER
    for file in base.source_files([str(root)], ["*.ctm"]):
        for place, line in base.text_lines(file):
            if line.lstrip().startswith(";;"):
                continue
            parts = line.split()
            if len(parts) not in (5, 6, 7, 8):
                raise DataError(
                    f"{place}: has {len(parts)} fields; a CTM line is `file channel start duration word "
                    "[confidence [type speaker]]`"
                )
            yield place, parts


def parse(lines: Sequence[Sequence[str]]) -> Alignment:
    """The words of an item, of its (channel, start, duration, word) lines, by their start. Raises: RejectedItem."""
    channels = sorted({channel for channel, *_ in lines})
    if len(channels) > 1:
        raise RejectedItem("several channels", f"has channels {', '.join(channels)}; choose one with --channel")
    intervals = []
    for _, start, duration, word in lines:
        start_sec, duration_sec = base.parse_seconds(start), base.parse_seconds(duration)
        intervals.append((word.replace(SPACE, " "), start_sec, start_sec + duration_sec))
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
    "a CTM file, or a folder of them",
    open_alignments,
    options=(Option("channel", "channel of a CTM file to read"), SPEAKER),
    export=Export("one CTM file", format_lines),
)
