"""The LibriSpeech alignments: `*.alignment.txt` files in a LibriSpeech tree, words and the ends of their intervals.

    84-121123-0000 ",GO,,DO,YOU,HEAR," "0.490,0.890,1.270,1.380,1.490,1.890,2.09"

Empty words are silences; each line starts and ends with one. Public facts: CorentinJ/librispeech-alignments, README.
The same archive's TextGrids are read by `textgrid`.
"""

import re

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.alignment import to_seconds
from lst_jax.data.importers import base
from lst_jax.data.importers.alignments import Alignment, AlignmentTable, tree_paths, words_of
from lst_jax.data.importers.formats import AlignmentFormat, Export, Option, Path
from lst_jax.data.records import Utterance
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

SUFFIX = ".alignment.txt"
_LINE = re.compile(r'(\S+)\s+"([^"]*)"\s+"([^"]*)"\s*')


def open_alignments(path: Path, keep_case: bool = False) -> AlignmentTable:
    """The items of a tree of `*.alignment.txt` files, or of one such file.

    Words become lower case, as transcripts do in `lst prepare`, unless `keep_case`.
    Raises: DataError where there are none, or a line has another form, or an id is there twice.
    """
    place = to_place(path)
    is_file = place.suffix == ".txt" and objects.look(place) is not None
    files = [place] if is_file else tree_paths(place, SUFFIX).values()
    items = {}
    for file in files:
        for place, line in base.text_lines(file):
            match = _LINE.fullmatch(line)
            if not match:
                raise DataError(f'{place}: must be `ID ",WORD,,WORD," "END,END,..."`; is it an {SUFFIX} file?')
            name, words, ends = match.groups()
            if name in items:
                raise DataError(f"{place}: {name} is there twice; leave one out")
            items[name] = place, (words if keep_case else words.lower(), ends)
    return AlignmentTable("librispeech-alignments", items, parse)


def parse(item: tuple[str, str]) -> Alignment:
    """The words of (words with commas, ends with commas). Raises: RejectedItem."""
    words, ends = (part.split(",") for part in item)
    if len(words) != len(ends):
        raise RejectedItem("bad words", f"has {len(words)} words and {len(ends)} times; is the line whole?")
    ends_sec = [base.parse_seconds(end) for end in ends]
    return Alignment(words_of(zip(words, [0.0, *ends_sec[:-1]], ends_sec, strict=True)), ends_sec[-1])


def format_line(utterance: Utterance, unit_rate: float) -> str:
    """The line of an utterance; units, speaker and source are lost.

    Raises: RejectedItem where the id or a word could not be read back: commas, quotes, blanks at the edges.
    """
    name = base.exportable_text(utterance.id, SUFFIX, ('"',))
    if len(name.split()) != 1:
        raise RejectedItem("cannot be written", f"id {name!r} has blanks, which {SUFFIX} cannot hold; change it")
    words, ends_sec, at = [], [], 0.0
    for text, start_sec, end_sec in to_seconds(utterance.words, unit_rate):
        if start_sec > at or not words:
            words.append("")
            ends_sec.append(start_sec)
        words.append(base.exportable_text(text, SUFFIX, (",", '"', "\n", "\r")))
        ends_sec.append(end_sec)
        at = end_sec
    return (
        f'{name} "{",".join([*words, ""])}" '
        f'"{",".join(f"{sec:.6f}" for sec in [*ends_sec, len(utterance.units) / unit_rate])}"'
    )


def _line(utterance: Utterance, unit_rate: float) -> str:
    return format_line(utterance, unit_rate) + "\n"


FORMAT = AlignmentFormat(
    "librispeech",
    "a tree of .alignment.txt files",
    open_alignments,
    options=(Option("keep_case", "words of .alignment.txt files stay in upper case", flag=True),),
    export=Export("one .alignment.txt", _line),
)
