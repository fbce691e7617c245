"""moshi-finetune's alignments: a `.json` beside each recording, words of the speakers in seconds.

    {"alignments": [["hello", [0.08, 0.4], "SPEAKER_MAIN"], ["yes", [1.2, 1.4], "SPEAKER_OTHER"]]}

Public facts: kyutai-labs/moshi-finetune, README ("Prepare dataset"), `finetune/data/interleaver.py`, `annotate.py`.
"""

import json
import pathlib
from typing import Any

from lst_jax.core.errors import RejectedItem
from lst_jax.data.alignment import to_seconds
from lst_jax.data.importers import base
from lst_jax.data.importers.alignments import Alignment, AlignmentTree, tree_paths, words_of
from lst_jax.data.importers.formats import SPEAKER, AlignmentFormat, Export, Path
from lst_jax.data.records import Utterance
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

MAIN_SPEAKER, MAIN_CHANNEL = "SPEAKER_MAIN", "left"


def open_alignments(path: Path, speaker: str = MAIN_SPEAKER) -> AlignmentTree:
    """The sidecars under a folder, or those of a dataset file of `{"path": "a.wav", "duration": 24.5}` lines.

    Only the words of `speaker` are taken. Raises: DataError where there are none.
    """
    dataset = to_place(path)
    if dataset.suffix == ".json" or objects.look(dataset) is None:
        return AlignmentTree(
            "moshi-finetune",
            tree_paths(dataset, ".json"),
            lambda file: parse(base.json_object(objects.read_text(file)), speaker, None),
        )
    durations, paths = {}, {}
    for place, line in base.text_lines(dataset):
        try:
            fields = base.json_object(line)
            name = pathlib.PurePath(base.item_id(fields, "path", (str,)))
            if not name.name:
                raise RejectedItem("wrong type", f"path={base.short(str(name))}: is no path of a file; correct it")
            name = name.with_suffix("")
            duration = base.field(fields, "duration", (int, float))
            if not 0 <= duration < base.LONGEST_SEC:
                raise RejectedItem("bad times", f"duration={base.short(duration)}: is no number of seconds; correct it")
            duration = float(duration)
        except RejectedItem as error:
            raise RejectedItem(error.reason, f"{place}: {error}") from error
        file = dataset.parent / f"{name}.json"
        paths[name.as_posix()], durations[file] = file, duration
    return AlignmentTree(
        "moshi-finetune",
        paths,
        lambda file: parse(base.json_object(objects.read_text(file)), speaker, durations[file]),
    )


def parse(fields: dict[str, Any], speaker: str, duration_sec: float | None) -> Alignment:
    """The words of `speaker`, by their start. Raises: RejectedItem."""
    intervals = []
    for number, entry in enumerate(base.field(fields, "alignments", list)):
        if not (
            isinstance(entry, list)
            and len(entry) == 3
            and isinstance(entry[0], str)
            and isinstance(entry[2], str)
            and base.number_pair(entry[1])
        ):
            raise RejectedItem(
                "bad words",
                f"alignments[{number}] is {base.short(entry)}, not [word, [start_sec, end_sec], speaker]; correct it",
            )
        if entry[2] == speaker:
            intervals.append((entry[0], float(entry[1][0]), float(entry[1][1])))
    channel = MAIN_CHANNEL if speaker == MAIN_SPEAKER else None
    words = words_of(sorted(intervals, key=lambda interval: interval[1]), base.SOUND_MARKS | {""}, base.UNKNOWN_MARKS)
    return Alignment(words, duration_sec, channel)


def format_file(utterance: Utterance, unit_rate: float) -> str:
    """The sidecar of an utterance; its units, speaker and source are lost.

    Raises: RejectedItem where a word could not be read back.
    """
    labels = base.SOUND_MARKS | base.UNKNOWN_MARKS
    words = [
        [base.exportable_word(text, "a moshi alignment", labels=labels), [start_sec, end_sec], MAIN_SPEAKER]
        for text, start_sec, end_sec in to_seconds(utterance.words, unit_rate)
    ]
    return json.dumps({"alignments": words}, ensure_ascii=False)


FORMAT = AlignmentFormat(
    "moshi",
    "moshi-finetune's .json files",
    open_alignments,
    options=(SPEAKER,),
    export=Export("a folder of ID.json", format_file, ".json"),
)
