"""The arguments and the action of `lst convert`."""

import argparse

from lst_jax.cli.local_paths import free_text, output_or_address, path_or_address

FORMATS = ("orbax", "ancestor", "hf")


def add_arguments(subparsers) -> None:
    """Registers the command on what `ArgumentParser.add_subparsers` returned; it sets `run`: args → exit code."""
    convert = subparsers.add_parser(
        "convert",
        help="convert a model to or from the formats of other programs",
        description="Writes the model in SRC, whose format is recognised, into the new directory DST. Both models "
        "then compute the same inputs. conversion.json says how much their logits differ; above 1e-4 "
        "nothing is kept.",
    )
    convert.add_argument(
        "src",
        metavar="SRC",
        type=path_or_address,
        help="a run (its newest checkpoint), RUN/checkpoints/STEP, or a directory of another format",
    )
    convert.add_argument("dst", metavar="DST", type=output_or_address, help="the directory to make")
    convert.add_argument(
        "--to",
        required=True,
        choices=FORMATS,
        help="orbax: a run directory for evaluate, generate and train.init_from; ancestor: params.json "
        "and consolidated.pth for the PyTorch code; hf: a directory that transformers "
        "loads, with its tokenizer and, for LST, its own code",
    )
    convert.add_argument(
        "--step", type=int, metavar="N", help="where SRC is a run: this checkpoint instead of the newest one"
    )
    convert.add_argument(
        "--average",
        type=int,
        default=1,
        metavar="N",
        help="where SRC is a run: convert the mean of its N newest checkpoints, up to --step",
    )
    convert.add_argument(
        "--config",
        type=path_or_address,
        metavar="FILE.py[:ARG]",
        help="recipe that the model was trained with, where SRC has no lst_config.json",
    )
    convert.add_argument(
        "--tokenizer",
        type=path_or_address,
        metavar="FILE",
        help="where SRC is a checkpoint of the ancestor's trainer: its SentencePiece model; all else is in params.json",
    )
    convert.add_argument(
        "--set",
        type=free_text,
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the recipe, as model.rope_theta=10000; may be repeated",
    )
    convert.add_argument(
        "--warm-start",
        action="store_true",
        help="SRC is a text model of transformers (Llama, Mistral, Qwen2.5, Qwen3, OLMo, SmolLM): initialise the "
        "model of --config with it, either Base or the global transformer of LST; all other parameters are drawn, or "
        "the mean of the text rows",
    )
    convert.add_argument(
        "--state", action="store_true", help="orbax to orbax: copy the whole training state, not parameters alone"
    )
    convert.add_argument(
        "--safetensors",
        action="store_true",
        help="for --to ancestor: consolidated.safetensors instead of consolidated.pth",
    )
    convert.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="for --to hf and --to ancestor: the type of the weights in the files; bfloat16 halves them, and rounds "
        "the weights once",
    )
    convert.set_defaults(run=_convert)


def _convert(args: argparse.Namespace) -> int:
    from lst_jax.convert.command import Options, convert
    from lst_jax.storage.place import to_place

    report = convert(
        to_place(args.src),
        to_place(args.dst),
        args.to,
        Options(
            args.step,
            args.average,
            args.config,
            tuple(args.set),
            args.warm_start,
            args.state,
            args.safetensors,
            args.tokenizer,
            args.dtype,
        ),
    )
    for kind in ("taken", "initialised", "left_out"):
        for line in report["source"][kind] if kind in report["source"] else ():
            print(f"{kind.replace('_', ' ')}: {line}")
    print(
        f"{args.dst}: {report['to']}, {report['parameters']:,} parameters in {report['arrays']} arrays; logits "
        f"differ by {report['max_logit_error']:.2g} at most, {report['mean_logit_error']:.2g} on average "
        f"({report['computed_by']})"
    )
    return 0
