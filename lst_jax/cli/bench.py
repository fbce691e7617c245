"""The arguments and the actions of `lst bench`."""

import argparse
import dataclasses
import os
import pathlib
import sys

from lst_jax.cli.bench_options import add_changes, add_outputs, changes_of, check_count, report
from lst_jax.cli.convert import FORMATS
from lst_jax.cli.local_paths import path_or_address
from lst_jax.core import json_files
from lst_jax.core.errors import DataError

DATA_SECTION = "Data stream"
STEP_SECTION = "Training step"
LENGTH_SECTION = "Longer rows, and documents"
TIMES_FIX = "give what `lst bench patching --json` printed"
PATCHING_SECTION = "What patching saves"
BUDGETS_SECTION = "Budgets"
SYSTEMS_SECTION = "Systems at equal FLOPs"
PRECISION_SECTION = "bfloat16 beside float32"
COVERAGE_SECTION = "Coverage of the intervals"
TORCH_SECTION = "Beside PyTorch"
GENERATE_SECTION = "Generation"
DECODE_SECTION = "Generation on TPUs"
CONVERT_SECTION = "Conversion"


def add_arguments(subparsers) -> None:
    """Registers the command on what `ArgumentParser.add_subparsers` returned; it sets `run`: args → exit code."""
    bench = subparsers.add_parser(
        "bench",
        help="measure this machine and this code",
        description="Measures, prints, and writes a section of docs/results.md.",
    )
    parts = bench.add_subparsers(dest="part", required=True, metavar="PART")
    data = parts.add_parser(
        "data",
        help="speed and fill of the batch stream, beside two alternatives; a minute on a quiet core",
        description="Makes batches at the paper's mixture from made-up records, or from --records, and gives tokens "
        "per second of CPU time, the least fill of both budgets over all batches, and the mixture's error.",
    )
    data.add_argument(
        "--records",
        type=path_or_address,
        nargs="+",
        default=[],
        metavar="DIR",
        help="directories that `lst prepare` made: utterances get a third of the tokens, texts the rest",
    )
    data.add_argument("--tokenizer", metavar="FILE", help="SentencePiece model for --records")
    data.add_argument(
        "--batches", type=int, default=256, help="batches of 4 rows for each strategy (default: %(default)s)"
    )
    add_outputs(data, _data)

    step = parts.add_parser(
        "step",
        help="time, memory and FLOPs of a training step, whole and in parts",
        description="Runs a recipe's training step on made-up batches of its shapes.",
    )
    step.add_argument("--config", metavar="FILE.py[:ARG]", default="configs/demo.py", help="(default: %(default)s)")
    step.add_argument("--steps", type=int, default=10, help="timed steps (default: %(default)s)")
    add_changes(step)
    step.add_argument("--rows", type=int, metavar="N", help="of a batch, instead of the recipe's: data.rows")
    add_outputs(step, _step)

    length = parts.add_parser(
        "length",
        help="what doubling a row costs each part, and what document masks cost",
        description="Times the parts of a recipe's model at T and 2T in turns, and steps with and without documents.",
    )
    length.add_argument("--config", metavar="FILE.py[:ARG]", default="configs/demo.py", help="(default: %(default)s)")
    length.add_argument("--steps", type=int, default=10, help="timed rounds (default: %(default)s)")
    add_outputs(length, _length)

    patching = parts.add_parser(
        "patching",
        help="FLOPs and time that patching saves, read from compiled TPU programs; many minutes, no TPU needed",
        description="Compiles the training steps of several systems for a TPU. Divides XLA's FLOPs, and the time that "
        "the compiler estimates, by real tokens.",
    )
    patching.add_argument(
        "--config", metavar="FILE.py:SIZE", default="configs/lst.py:1b", help="(default: %(default)s)"
    )
    patching.add_argument("--topology", default="v5p:2x2x1", help="(default: %(default)s)")
    patching.add_argument("--batches", type=int, default=256, help="rows of made-up records (default: %(default)s)")
    add_outputs(patching, _patching)

    budgets = parts.add_parser(
        "budgets",
        help="what each system sees and costs under the paper's controls; half a minute",
        description="Counts steps, tokens, patch positions and FLOPs of runs of equal steps, tokens or FLOPs, and of "
        "compute-optimal ones, beside the paper's figures.",
    )
    budgets.add_argument("--config", metavar="FILE.py:SIZE", default="configs/lst.py:1b", help="(default: %(default)s)")
    budgets.add_argument(
        "--times", metavar="FILE.json", help="what `lst bench patching --json` printed: adds runs of equal time"
    )
    add_outputs(budgets, _budgets)

    systems = parts.add_parser(
        "systems",
        help="train the systems of a recipe for the same FLOPs; minutes for each",
        description="Trains each system in a run directory of its own, and goes on where it was stopped.",
    )
    systems.add_argument("--config", metavar="FILE.py", default="configs/demo.py", help="(default: %(default)s)")
    systems.add_argument(
        "--systems",
        required=True,
        metavar="ARG[,ARG]",
        help="arguments of the recipe; the first one's steps and FLOPs count",
    )
    systems.add_argument("--steps", type=int, default=150, help="of the first system (default: %(default)s)")
    systems.add_argument("--runs", metavar="DIR", default="runs/systems", help="(default: %(default)s)")
    add_outputs(systems, _systems)

    precision = parts.add_parser(
        "precision",
        help="train a recipe in float32 and in bfloat16, and compare the curves",
        description="Trains twice over the same batches, and goes on where it was stopped.",
    )
    precision.add_argument(
        "--config", metavar="FILE.py[:ARG]", default="configs/demo.py", help="(default: %(default)s)"
    )
    precision.add_argument("--steps", type=int, default=150, help="(default: %(default)s)")
    precision.add_argument("--runs", metavar="DIR", default="runs/precision", help="(default: %(default)s)")
    add_outputs(precision, _precision)

    coverage = parts.add_parser(
        "coverage",
        help="how often the intervals of `lst fit` hold the truth; minutes",
        description="Makes up runs of known laws, fits them, and counts in how many studies each 95%% interval holds "
        "the true number.",
    )
    coverage.add_argument("--repeats", type=int, default=200, help="studies of each design (default: %(default)s)")
    add_outputs(coverage, _coverage)
    _add_torch(parts)
    _add_generate(parts)
    _add_decode(parts)
    _add_convert(parts)


def _add_torch(parts) -> None:
    torch = parts.add_parser(
        "torch",
        help="time of forward and backward beside a dense-mask PyTorch model; needs torch",
        description="Runs a recipe's model and a PyTorch model of the same parameters on the same made-up rows: the "
        "recipe's, and one long row, which PyTorch also gets padded as the ancestor pads. For a GPU, set "
        "XLA_PYTHON_CLIENT_PREALLOCATE=false, or JAX leaves PyTorch no memory.",
    )
    torch.add_argument("--config", metavar="FILE.py[:ARG]", default="configs/demo.py", help="(default: %(default)s)")
    torch.add_argument(
        "--units", type=int, default=4096, help="patch positions of the long row; 0 = none (default: %(default)s)"
    )
    torch.add_argument("--steps", type=int, default=5, help="timed steps of each side (default: %(default)s)")
    torch.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="PyTorch's (default: %(default)s)")
    torch.add_argument("--compile", action="store_true", help="run PyTorch's model through torch.compile")
    torch.add_argument("--dtype", choices=["float32", "bfloat16"], help="of both; the recipe's unless given")
    add_changes(torch)
    torch.add_argument("--rows", type=int, metavar="N", help="of a batch, instead of the recipe's: data.rows")
    add_outputs(torch, _torch)


def _add_generate(parts) -> None:
    generate = parts.add_parser(
        "generate",
        help="tokens a second of cached generation, and FLOPs of a second of speech; a minute or two",
        description="Generates speech with LST and with Base of a recipe, and with LST without a cache, and counts "
        "the FLOPs of a second of speech in compiled steps at the shapes of another recipe.",
    )
    generate.add_argument(
        "--config", metavar="FILE.py[:SIZE]", default="configs/demo.py", help="what is run (default: %(default)s)"
    )
    generate.add_argument(
        "--flops-of",
        metavar="FILE.py[:SIZE]",
        default="configs/lst.py:1b",
        help="what is only compiled (default: %(default)s)",
    )
    generate.add_argument("--rows", type=int, nargs="+", default=[1, 8], help="of a batch (default: 1 8)")
    generate.add_argument("--seconds", type=float, default=20.0, help="of speech per row (default: %(default)s)")
    add_changes(generate)
    add_outputs(generate, _generate)


def _add_decode(parts) -> None:
    decode = parts.add_parser(
        "decode",
        help="memory and least time of generation on TPUs; a minute, no TPU needed",
        description="Compiles generation for a described topology of TPUs. Needs the extra `tpu`.",
    )
    decode.add_argument(
        "--config",
        metavar="FILE.py:ARG",
        nargs="+",
        default=["configs/lst.py:7b,static"],
        help="(default: %(default)s)",
    )
    decode.add_argument("--topology", default="v5e:2x2", metavar="KIND:SIDES", help="(default: %(default)s)")
    add_changes(decode)
    decode.add_argument("--rows", type=int, default=4, help="of a batch (default: %(default)s)")
    decode.add_argument("--seconds", type=float, default=20.0, help="of speech per row (default: %(default)s)")
    add_outputs(decode, _decode)


def _add_convert(parts) -> None:
    convert = parts.add_parser(
        "convert",
        help="time and memory of lst convert, for a model made from shapes; 7B takes an hour and 28 GB",
        description="Writes a recipe's model, whose arrays are drawn as they are read, in each format, lets it compute "
        "the rows of the proof, and removes it.",
    )
    convert.add_argument(
        "--config", metavar="FILE.py[:ARG]", default="configs/lst.py:1b", help="(default: %(default)s)"
    )
    convert.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="(default: all)")
    convert.add_argument("--folder", metavar="DIR", default=".", help="where there is room (default: here)")
    add_outputs(convert, _convert)


def _data(args: argparse.Namespace) -> int:
    from lst_jax.bench import data

    check_count("batches", args.batches, 256)
    settings = data.Settings(records=tuple(args.records), tokenizer=args.tokenizer, batches=args.batches)
    return report(
        args,
        DATA_SECTION,
        data,
        data.measure(settings, progress=True),
        batches=args.batches,
        records=args.records,
        tokenizer=args.tokenizer,
    )


def _step(args: argparse.Namespace) -> int:
    from lst_jax.bench import step
    from lst_jax.recipes.load import load_recipe

    check_count("steps", args.steps, 10)
    config = load_recipe(args.config, changes_of(args))
    return report(
        args,
        f"{STEP_SECTION}: {config.name}",
        step,
        step.measure(config, args.steps),
        config=args.config,
        set=args.set,
        rows=args.rows,
        steps=args.steps,
    )


def _length(args: argparse.Namespace) -> int:
    from lst_jax.bench import length
    from lst_jax.recipes.load import load_recipe

    check_count("steps", args.steps, 10)
    config = load_recipe(args.config)
    return report(
        args,
        f"{LENGTH_SECTION}: {config.name}",
        length,
        length.measure(config, args.steps),
        config=args.config,
        steps=args.steps,
    )


def _patching(args: argparse.Namespace) -> int:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # libtpu is there to compile, no TPU to be looked for
    from lst_jax.bench import patching, patching_time
    from lst_jax.recipes.load import load_recipe

    check_count("batches", args.batches, 256)
    systems = {**patching.SYSTEMS, **patching_time.SYSTEMS}
    recipes = {system: load_recipe(f"{args.config},{system}") for system in systems}
    measured = patching.measure(recipes, args.topology, args.batches)
    return report(
        args,
        f"{PATCHING_SECTION}: {args.config}",
        patching,
        measured,
        config=args.config,
        topology=args.topology,
        batches=args.batches,
    )


def _budgets(args: argparse.Namespace) -> int:
    from lst_jax.bench import budgets

    times = json_files.read(args.times, TIMES_FIX).get("time") if args.times else None
    if args.times and not times:
        raise DataError(f"{args.times}: has no times; {TIMES_FIX}")
    measured = budgets.measure(args.config, times)
    section = f"{BUDGETS_SECTION}: {args.config}"
    return report(args, section, budgets, measured, config=args.config, times=args.times)


def _systems(args: argparse.Namespace) -> int:
    from lst_jax.bench import systems

    check_count("steps", args.steps, 150)
    measured = systems.compare(args.config, args.systems.split(","), args.steps, args.runs)
    return report(
        args,
        f"{SYSTEMS_SECTION}: {args.systems.replace(',', ', ')}",
        systems,
        measured,
        config=args.config,
        systems=args.systems,
        steps=args.steps,
        runs=args.runs,
    )


def _precision(args: argparse.Namespace) -> int:
    from lst_jax.bench import systems

    check_count("steps", args.steps, 150)
    measured = systems.precision(args.config, args.steps, args.runs)
    return report(args, PRECISION_SECTION, systems, measured, config=args.config, steps=args.steps, runs=args.runs)


def _coverage(args: argparse.Namespace) -> int:
    from lst_jax.bench import coverage

    check_count("repeats", args.repeats, 200)
    measured = coverage.measure(coverage.STUDIES, args.repeats, progress=sys.stderr.isatty())
    return report(args, COVERAGE_SECTION, coverage, measured, repeats=args.repeats)


def _torch(args: argparse.Namespace) -> int:
    from lst_jax.bench import torch_step
    from lst_jax.recipes.load import load_recipe

    check_count("steps", args.steps, 5)
    if args.units and args.units < 64:
        raise DataError(f"--units {args.units}: must be 0, or at least 64; use 4096")
    config = load_recipe(args.config, changes_of(args))
    if args.dtype:
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, compute_dtype=args.dtype))
    settings = torch_step.Settings(args.units or None, args.steps, args.device, args.compile)
    return report(
        args,
        f"{TORCH_SECTION}: {config.name}",
        torch_step,
        torch_step.measure(config, settings),
        config=args.config,
        set=args.set,
        rows=args.rows,
        units=args.units,
        steps=args.steps,
        device=args.device,
        compile=args.compile,
        dtype=args.dtype,
    )


def _generate(args: argparse.Namespace) -> int:
    from lst_jax.bench import generate
    from lst_jax.recipes.load import load_recipe

    for rows in args.rows:
        check_count("rows", rows, 1)
    if not 0.5 <= args.seconds:
        raise DataError(f"--seconds {args.seconds}: must be at least 0.5; use 20")

    def systems(reference: str, changes=()):
        joint = "," if ":" in reference else ":"
        return {name: load_recipe(f"{reference}{joint}{system}", changes) for name, system in generate.SYSTEMS.items()}

    measured = generate.measure(systems(args.config, args.set), args.rows, args.seconds)
    measured["flops"] = generate.count_flops(systems(args.flops_of), args.seconds)
    return report(
        args,
        f"{GENERATE_SECTION}: {args.config}",
        generate,
        measured,
        config=args.config,
        set=args.set,
        **{"flops-of": args.flops_of},
        rows=args.rows,
        seconds=args.seconds,
    )


def _decode(args: argparse.Namespace) -> int:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # libtpu is there to compile, no TPU to be looked for
    from lst_jax.bench import decode
    from lst_jax.recipes.load import load_recipe

    check_count("rows", args.rows, 4)
    recipes = {reference: load_recipe(reference, args.set) for reference in args.config}
    return report(
        args,
        f"{DECODE_SECTION}: {args.topology}",
        decode,
        decode.measure(recipes, args.topology, args.rows, args.seconds),
        config=args.config,
        topology=args.topology,
        set=args.set,
        rows=args.rows,
        seconds=args.seconds,
    )


def _convert(args: argparse.Namespace) -> int:
    from lst_jax.bench import convert
    from lst_jax.recipes.load import load_recipe

    config = load_recipe(args.config)
    measured = convert.measure(config, args.formats, pathlib.Path(args.folder), sys.stderr.isatty())
    return report(
        args, f"{CONVERT_SECTION}: {args.config}", convert, measured, config=args.config, formats=args.formats
    )
