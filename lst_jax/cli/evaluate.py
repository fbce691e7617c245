"""The arguments and the action of `lst evaluate`."""

import argparse

from lst_jax.cli.generate import add_mesh_option, add_step_option
from lst_jax.cli.local_paths import path_or_address, run_or_address
from lst_jax.core.errors import ConfigError

TASK_OPTIONS = ("directions", "patches", "score")


def add_arguments(subparsers) -> None:
    """Registers the command on what `ArgumentParser.add_subparsers` returned; it sets `run`: args → exit code."""
    evaluate = subparsers.add_parser(
        "evaluate",
        help="evaluate a checkpoint of a run",
        description="Measures held-out likelihoods and completion choice, or else tasks, recognition, synthesis, or a look "
        "inside the model. The numbers are kept in RUN/evaluations, and lst report shows them.",
    )
    evaluate.add_argument("run_dir", type=run_or_address, metavar="RUN")
    add_step_option(evaluate)
    evaluate.add_argument("--json", action="store_true", help="print the numbers as JSON")
    add_task_option(
        evaluate,
        "choices between responses, instead of held-out likelihoods; may be repeated. PATH holds JSON lines, as "
        "`lst prepare spoken-task` writes them, or is a file of the benchmark NAME: hellaswag, storycloze, "
        "topicstorycloze, swuggy or sblimp. `completion` needs no path. See docs/formats_external.md",
    )
    evaluate.add_argument(
        "--directions",
        metavar="s2s,t2t,…",
        help="for --tasks: the modality of prompts and of responses (default: all that the task has)",
    )
    evaluate.add_argument(
        "--patches",
        choices=("restart", "continue"),
        help="for --tasks: the first patch of a response starts with it, or may go on from a prompt of the same "
        "modality (default: restart)",
    )
    evaluate.add_argument(
        "--score",
        choices=("response", "whole"),
        help="for --tasks: score the response given the prompt, or prompt and response (default: response)",
    )
    evaluate.add_argument(
        "--asr",
        type=path_or_address,
        metavar="SOURCE",
        help="word error rate of transcripts; SOURCE is a name in eval.sources, or a directory of records",
    )
    evaluate.add_argument(
        "--tts",
        type=path_or_address,
        metavar="SOURCE",
        help="character error rate of generated speech, as --recogniser hears it; needs --units",
    )
    evaluate.add_argument(
        "--units",
        type=path_or_address,
        metavar="FILE",
        help="for --tts: the file that made the units; it turns them into sound",
    )
    evaluate.add_argument(
        "--recogniser",
        type=path_or_address,
        metavar="SPEC",
        help="for --tts: pocketsphinx (the default), or whisper:DIR, the directory of a model",
    )
    evaluate.add_argument(
        "--probe",
        choices=("patches",),
        help="look inside the model: embeddings of words, speech against text by layer, margins of choices",
    )
    evaluate.add_argument(
        "--probe-source", type=path_or_address, metavar="SOURCE", help="for --probe, if not all of eval.sources"
    )
    evaluate.add_argument(
        "--items", type=int, metavar="N", help="for --asr, --tts, --probe: the first N utterances of a source only"
    )
    add_mesh_option(evaluate)
    evaluate.set_defaults(run=_evaluate)


def _evaluate(args: argparse.Namespace) -> int:
    from lst_jax.runs.directory import RunDirectory

    if args.recogniser is not None and not args.tts:
        raise ConfigError("--recogniser: hears generated speech; give --tts beside it")
    if args.items is not None and not (args.asr or args.tts or args.probe):
        raise ConfigError("--items: belongs to --asr, --tts or --probe; give one of them beside it")
    if args.tasks is not None:
        from lst_jax.evals.run_tasks import evaluate_tasks

        return evaluate_tasks(
            RunDirectory(args.run_dir),
            args.tasks,
            args.directions,
            args.patches or "restart",
            args.score or "response",
            args.json,
            args.set,
            args.step,
        )
    for option in TASK_OPTIONS:
        if getattr(args, option) is not None:
            raise ConfigError(f"--{option}: belongs to tasks; give --tasks beside it")
    if args.asr or args.tts or args.probe:
        from lst_jax.evals import run_speech

        return run_speech.run(args)
    from lst_jax.evals.evaluator import evaluate_run

    return evaluate_run(RunDirectory(args.run_dir), args.json, args.set, args.step)


def add_task_option(parser: argparse.ArgumentParser, words: str, required: bool = False) -> None:
    """Adds `--task`, whose help is `words`."""
    parser.add_argument(
        "--task",
        "--tasks",
        type=path_or_address,
        dest="tasks",
        action="append",
        required=required,
        metavar="NAME=PATH[,…]",
        help=words,
    )
