"""`lst prepare spoken-task`."""

import argparse
import os
import re
from collections.abc import Sequence

from lst_jax.cli.local_paths import output_or_address, path_or_address
from lst_jax.cli.prepare import arguments
from lst_jax.core.errors import DataError
from lst_jax.data.tasks import registry as tasks
from lst_jax.data.tasks.kind import NAME_PATTERN
from lst_jax.prepare import spoken_task
from lst_jax.prepare.aligners.registry import load_aligner
from lst_jax.prepare.synthesis import registry


def add_arguments(parts) -> None:
    """See `lst_jax.cli.prepare.add_arguments`."""
    parser = arguments.add_part(
        parts,
        "spoken-task",
        _run,
        "speak the prompts and choices of a benchmark, or take their "
        "audio, and make units: JSON lines for `lst evaluate --tasks`",
    )
    parser.add_argument(
        "--task",
        type=path_or_address,
        required=True,
        action="append",
        metavar="NAME=PATH",
        help="JSON lines, the file of hellaswag, storycloze, topicstorycloze, swuggy or sblimp, or the folder of salmon, "
        "sstorycloze or tstorycloze; may be repeated: docs/formats_external.md",
    )
    parser.add_argument(
        "--units", type=path_or_address, required=True, metavar="PATH", help="unit tokenizer of the run, as of `speech`"
    )
    parser.add_argument(
        "--out",
        type=output_or_address,
        required=True,
        metavar="DIR",
        help="directory to make, or to finish; has task.jsonl, or NAME/task.jsonl of each of several tasks",
    )
    parser.add_argument(
        "--synthesiser",
        type=path_or_address,
        metavar="NAME[:ARGUMENT]",
        help=f"one of {', '.join(sorted(registry.SYNTHESISERS))}, the last as kokoro:DIR (default: espeak)",
    )
    parser.add_argument(
        "--voice",
        action="append",
        metavar="VOICE",
        help="as of `synthesise`; of several, each item has one drawn by its id",
    )
    parser.add_argument(
        "--audio",
        type=path_or_address,
        metavar="DIR",
        help="someone else's audio instead: a file for each prompt and choice "
        "(default: of a task that is a folder, that folder)",
    )
    parser.add_argument(
        "--aligner",
        type=path_or_address,
        metavar="SPEC",
        help="of that audio, as of `speech` (default: words have no times)",
    )
    arguments.add_workers(parser)
    arguments.add_overwrite(parser)


def _run(args: argparse.Namespace) -> int:
    named, workers = _named(args.task), arguments.workers(args)
    audio = {name: args.audio or (path if tasks.has_audio(name, path) else None) for name, path in named.items()}
    if all(audio.values()):
        for option in ("synthesiser", "voice"):
            if getattr(args, option):
                raise DataError(
                    f"--{option}: nothing is spoken where --audio is given, or the task is a folder with audio; leave "
                    "one of them out"
                )
    if args.aligner and not any(audio.values()):
        raise DataError("--aligner: the words of what is spoken have times; leave it out, or give --audio")
    read = {name: tasks.read_task(name, path) for name, path in named.items()}
    aligner = load_aligner(args.aligner) if args.aligner else None
    synthesiser = None if all(audio.values()) else registry.load_synthesiser(args.synthesiser or "espeak")
    for name, task in read.items():
        out, heard = args.out if len(read) == 1 else os.path.join(args.out, name), audio[name]
        if heard:
            report = spoken_task.listen(task, out, args.units, heard, aligner, workers, args.overwrite, True)
        else:
            assert synthesiser is not None
            voices = args.voice or synthesiser.voices
            report = spoken_task.speak(task, out, args.units, synthesiser, voices, workers, args.overwrite, True)
        print(report.line())
    return 0


def _named(specs: Sequence[str]) -> dict[str, str]:
    """{name: path} of each NAME=PATH. Raises: DataError."""
    found: dict[str, str] = {}
    for spec in specs:
        name, _, path = spec.partition("=")
        if not (re.fullmatch(NAME_PATTERN, name) and path):
            raise DataError(f"--task {spec}: must be NAME=PATH; write for example storycloze=cloze_test_val.csv")
        if name in found:
            raise DataError(
                f"--task {spec}: is the second task called {name}; give another name, or run the command for each"
            )
        found[name] = path
    return found
