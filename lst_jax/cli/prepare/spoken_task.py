"""`lst prepare spoken-task`."""

import argparse

from lst_jax.cli.prepare import arguments
from lst_jax.core.errors import DataError
from lst_jax.data.tasks import registry as tasks
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
        required=True,
        action="append",
        metavar="NAME=PATH",
        help="JSON lines, or the file of hellaswag, storycloze, topicstorycloze, swuggy or sblimp: "
        "docs/formats_external.md",
    )
    parser.add_argument("--units", required=True, metavar="PATH", help="unit tokenizer of the run, as of `speech`")
    parser.add_argument("--out", required=True, metavar="DIR", help="directory to make, or to finish; has task.jsonl")
    parser.add_argument(
        "--synthesiser",
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
        "--audio", metavar="DIR", help="someone else's audio instead: a file for each prompt and choice"
    )
    parser.add_argument(
        "--aligner", metavar="SPEC", help="of that audio, as of `speech` (default: words have no times)"
    )
    arguments.add_workers(parser)
    arguments.add_overwrite(parser)


def _run(args: argparse.Namespace) -> int:
    if len(args.task) > 1:
        raise DataError(f"--task {args.task[1]}: is the second, one directory holds one task; run the command for each")
    name, _, path = args.task[0].partition("=")
    if not (name and path):
        raise DataError(f"--task {args.task[0]}: must be NAME=PATH; write for example storycloze=cloze_test_val.csv")
    task, workers = tasks.read_task(name, path), arguments.workers(args)
    if args.audio:
        for option in ("synthesiser", "voice"):
            if getattr(args, option):
                raise DataError(f"--{option}: nothing is spoken where --audio is given; leave one of them out")
        aligner = load_aligner(args.aligner) if args.aligner else None
        report = spoken_task.listen(task, args.out, args.units, args.audio, aligner, workers, args.overwrite, True)
    else:
        if args.aligner:
            raise DataError("--aligner: the words of what is spoken have times; leave it out, or give --audio")
        synthesiser = registry.load_synthesiser(args.synthesiser or "espeak")
        report = spoken_task.speak(
            task, args.out, args.units, synthesiser, args.voice or synthesiser.voices, workers, args.overwrite, True
        )
    print(report.line())
    return 0
