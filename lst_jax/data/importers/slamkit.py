"""slamkit's `features.jsonl`: units without repetitions, their run lengths, and words in seconds.

    {"units": [5, 9], "duration": [2, 1], "file_name": "audio/u1.flac", "aligned_text": [["a", 0.08, 0.12]]}

is the utterance audio/u1 of units 5 5 9 with the word "a" at frame 2 of 25 a second. `aligned_text` may stand in the
line, or in the JSON file of the recording's name, `META/u1.json`, where slamkit's interleaving reads it. Public facts:
slp-rl/slamkit, `cli/extract_features.py`, `cli/prepare_tokens.py`, `slamkit/tokeniser/interleaving_tokeniser.py`.
"""

import itertools
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from lst_jax.core.errors import RejectedItem
from lst_jax.data.alignment import fit_frames, to_seconds
from lst_jax.data.importers import base
from lst_jax.data.importers.formats import Export, Option, Path, UnitFormat, Units
from lst_jax.data.records import Utterance, check_utterance
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

MOST_FRAMES = 10_000_000  # of one recording: days at any rate in use
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".sph")


def read(
    path: Path,
    unit_rate: float,
    codebook_size: int,
    source: str | None = None,
    meta: Path | None = None,
    on_bad: base.OnBad = base.stop,
) -> Iterator[Utterance]:
    """The utterances of a features file; `meta` is a folder of `NAME.json` with `aligned_text`.

    Lines without words stay without where there is no `meta`. Raises: RejectedItem naming file and line, by default.
    """

    def parse(item: tuple[str, str | RejectedItem]) -> tuple[str, Utterance]:
        place, line = item
        fields = base.json_object(line)
        if meta is not None and "aligned_text" not in fields:
            fields["aligned_text"] = _meta_words(to_place(meta), base.field(fields, "file_name", str))
        return place, parse_line(fields, unit_rate, codebook_size, source)

    return base.unique(base.converted(base.items_of_lines(path), parse, on_bad), on_bad)


def parse_line(fields: dict[str, Any], unit_rate: float, codebook_size: int, source: str | None) -> Utterance:
    """The utterance of one line. Raises: DataError."""
    name = base.item_id(fields, "file_name", (str,))
    runs = base.unit_array(base.field(fields, "units", list))
    durations = base.field(fields, "duration", list)
    if len(durations) != len(runs):
        raise RejectedItem("bad run lengths", f"{len(runs)} units have {len(durations)} durations; is the line whole?")
    odd = next((d for d in durations if type(d) is not int or d < 1), None)
    if odd is not None:
        raise RejectedItem("bad run lengths", f"duration has {odd!r}; run lengths are integers from 1")
    if sum(durations) > MOST_FRAMES:
        raise RejectedItem("bad run lengths", f"durations sum to more than {MOST_FRAMES} frames; are they frames?")
    units = np.repeat(runs, durations)
    placed = base.placed_words(fields["aligned_text"], "aligned_text") if "aligned_text" in fields else []
    suffix = next((s for s in AUDIO_SUFFIXES if name.lower().endswith(s)), "")
    words = fit_frames(placed, unit_rate, len(units))
    utterance = Utterance(name[: len(name) - len(suffix)], units, words, None, source)
    check_utterance(utterance, codebook_size)
    return utterance


def format_line(utterance: Utterance, unit_rate: float) -> str:
    """The line of an utterance, `aligned_text` in it; words after the first have the blank before them that slamkit's
    joining of words expects. Speaker and source are lost. Raises: RejectedItem where a word could not be read back.
    """
    runs = [(unit, len(list(run))) for unit, run in itertools.groupby(utterance.units.tolist())]
    words = [
        [" " * (number > 0) + base.exportable_text(text, "features.jsonl"), start_sec, end_sec]
        for number, (text, start_sec, end_sec) in enumerate(to_seconds(utterance.words, unit_rate))
    ]
    return json.dumps(
        {
            "units": [u for u, _ in runs],
            "duration": [n for _, n in runs],
            "file_name": f"{utterance.id}.wav",
            "aligned_text": words,
        },
        ensure_ascii=False,
    )


def _meta_words(folder: Place, file_name: str) -> Any:
    path = folder / f"{pathlib.PurePath(file_name).stem}.json"
    try:
        text = objects.read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise RejectedItem(
            "no alignment", f"{path} cannot be read ({type(error).__name__}); give the folder of the alignments"
        ) from error
    try:
        return base.field(base.json_object(text), "aligned_text", list)
    except RejectedItem as error:
        raise RejectedItem(error.reason, f"{path}: {error}") from error


def _read(path: Path, units: Units, on_bad: base.OnBad) -> Iterator[Utterance]:
    return read(path, units.unit_rate, units.codebook_size, units.source, on_bad=on_bad, **units.options)


def _line(utterance: Utterance, unit_rate: float) -> str:
    return format_line(utterance, unit_rate) + "\n"


FORMAT = UnitFormat(
    "slamkit",
    "slamkit's features.jsonl",
    _read,
    options=(Option("meta", "folder of NAME.json files with aligned_text", metavar="DIR", path=True),),
    export=Export("one features.jsonl", _line),
)
