"""The arguments and the actions of `lst bench`."""

import argparse
import dataclasses
import json
import sys

from lst_jax.errors import DataError

DATA_SECTION = "Data stream"
STEP_SECTION = "Training step"
TORCH_SECTION = "Beside PyTorch"


def add_arguments(subparsers) -> None:
    """Registers the command on what `ArgumentParser.add_subparsers` returned; it sets `run`: args → exit code."""
    bench = subparsers.add_parser("bench", help="measure this machine and this code",
                                  description="Measures, prints, and writes a section of docs/results.md.")
    parts = bench.add_subparsers(dest="part", required=True, metavar="PART")
    data = parts.add_parser(
        "data", help="speed and fill of the batch stream, beside two alternatives; a minute on a quiet core",
        description="Makes batches at the paper's mixture from made-up records, or from --records, and gives tokens "
                    "per second of CPU time, the least fill of both budgets over all batches, and the mixture's error.")
    data.add_argument("--json", action="store_true", help="print the numbers as JSON")
    data.add_argument("--markdown", metavar="FILE", help="write them into this file's section as well: docs/results.md")
    data.add_argument("--records", nargs="+", default=[], metavar="DIR",
                      help="directories that `lst prepare` made: utterances get a third of the tokens, texts the rest")
    data.add_argument("--tokenizer", metavar="FILE", help="SentencePiece model for --records")
    data.add_argument("--batches", type=int, default=256,
                      help="batches of 4 rows for each strategy (default: %(default)s)")
    data.set_defaults(run=_data)

    step = parts.add_parser(
        "step", help="time, memory and FLOPs of a training step, whole and in parts",
        description="Runs a recipe's training step on made-up batches of its shapes.")
    step.add_argument("--config", metavar="FILE.py[:ARG]", default="configs/demo.py", help="(default: %(default)s)")
    step.add_argument("--json", action="store_true", help="print the numbers as JSON")
    step.add_argument("--markdown", metavar="FILE", help="write them into this file's section as well: docs/results.md")
    step.add_argument("--steps", type=int, default=10, help="timed steps (default: %(default)s)")
    step.set_defaults(run=_step)
    _add_torch(parts)


def _add_torch(parts) -> None:
    torch = parts.add_parser(
        "torch", help="time of forward and backward beside a dense-mask PyTorch model; needs torch",
        description="Runs a recipe's model and a PyTorch model of the same parameters on the same made-up rows: the "
                    "recipe's, and one long row, which PyTorch also gets padded as the ancestor pads. For a GPU, set "
                    "XLA_PYTHON_CLIENT_PREALLOCATE=false, or JAX leaves PyTorch no memory.")
    torch.add_argument("--config", metavar="FILE.py[:ARG]", default="configs/demo.py", help="(default: %(default)s)")
    torch.add_argument("--json", action="store_true", help="print the numbers as JSON")
    torch.add_argument("--markdown", metavar="FILE",
                       help="write them into this file's section as well: docs/results.md")
    torch.add_argument("--units", type=int, default=4096,
                       help="unit positions of the long row; 0 = none (default: %(default)s)")
    torch.add_argument("--steps", type=int, default=5, help="timed steps of each side (default: %(default)s)")
    torch.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="PyTorch's (default: %(default)s)")
    torch.add_argument("--compile", action="store_true", help="run PyTorch's model through torch.compile")
    torch.add_argument("--dtype", choices=["float32", "bfloat16"], help="of both; the recipe's unless given")
    torch.set_defaults(run=_torch)


def _data(args: argparse.Namespace) -> int:
    from lst_jax.bench import data, results  # Grain takes a second to import

    if args.batches < 1:
        raise DataError(f"--batches {args.batches}: must be at least 1; use 256")
    settings = data.Settings(records=tuple(args.records), tokenizer=args.tokenizer, batches=args.batches)
    measured = data.measure(settings, progress=True)
    origin = results.provenance(_command(args))
    if args.markdown:
        results.write_section(args.markdown, DATA_SECTION, data.markdown(measured), origin)
    print(json.dumps({**measured, **origin}, indent=1) if args.json else data.markdown(measured))
    if args.markdown:
        print(f"lst bench data: wrote {args.markdown}", file=sys.stderr)
    return 0


def _step(args: argparse.Namespace) -> int:
    from lst_jax.bench import results, step
    from lst_jax.config import load_recipe

    if args.steps < 1:
        raise DataError(f"--steps {args.steps}: must be at least 1; use 10")
    config = load_recipe(args.config)
    measured = step.measure(config, args.steps)
    command = ["bench", "step", "--config", args.config, "--steps", str(args.steps)]
    origin = results.provenance(command + (["--markdown", args.markdown] if args.markdown else []))
    origin["versions"] = results.describe_versions(step.PACKAGES)
    if args.markdown:
        results.write_section(args.markdown, f"{STEP_SECTION}: {config.name}", step.markdown(measured), origin)
    print(json.dumps({**measured, **origin}, indent=1) if args.json else step.markdown(measured))
    return 0


def _torch(args: argparse.Namespace) -> int:
    from lst_jax.bench import results, torch_step
    from lst_jax.config import load_recipe

    if args.steps < 1:
        raise DataError(f"--steps {args.steps}: must be at least 1; use 5")
    if args.units and args.units < 64:
        raise DataError(f"--units {args.units}: must be 0, or at least 64; use 4096")
    config = load_recipe(args.config)
    if args.dtype:
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, compute_dtype=args.dtype))
    settings = torch_step.Settings(args.units or None, args.steps, args.device, args.compile)
    measured = torch_step.measure(config, settings)
    command = ["bench", "torch", "--config", args.config, "--units", str(args.units), "--steps", str(args.steps),
               "--device", args.device] + ["--compile"] * args.compile
    for option, value in (("--dtype", args.dtype), ("--markdown", args.markdown)):
        command += [option, value] if value else []
    origin = results.provenance(command)
    origin["versions"] = results.describe_versions(torch_step.PACKAGES)
    if args.markdown:
        results.write_section(args.markdown, f"{TORCH_SECTION}: {config.name}", torch_step.markdown(measured), origin)
    print(json.dumps({**measured, **origin}, indent=1) if args.json else torch_step.markdown(measured))
    return 0


def _command(args: argparse.Namespace) -> list[str]:
    """The command that measures the same again; what only prints is left out."""
    command = ["bench", "data", "--batches", str(args.batches)]
    if args.records:
        command += ["--records", *args.records, "--tokenizer", str(args.tokenizer)]
    return command + (["--markdown", args.markdown] if args.markdown else [])
