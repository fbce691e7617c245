"""What `lst bench` reads from programs that are compiled for TPUs; no TPU is needed."""

import argparse
import os

from lst_jax.cli.bench_options import add_changes, add_outputs, check_count, report
from lst_jax.cli.local_paths import path_or_address

PATCHING_SECTION = "What patching saves"
DECODE_SECTION = "Generation on TPUs"
COLLECTIVES_SECTION = "Collectives"


def add_patching(parts) -> None:
    """Registers `lst bench patching`."""
    patching = parts.add_parser(
        "patching",
        help="FLOPs and time that patching saves, read from compiled TPU programs; many minutes, no TPU needed",
        description="Compiles the training steps of several systems for a TPU. Divides XLA's FLOPs, and the time that "
        "the compiler estimates, by real tokens.",
    )
    patching.add_argument(
        "--config",
        type=path_or_address,
        metavar="FILE.py:SIZE",
        default="configs/lst.py:1b",
        help="(default: %(default)s)",
    )
    patching.add_argument("--topology", default="v5p:2x2x1", help="(default: %(default)s)")
    patching.add_argument("--batches", type=int, default=256, help="rows of made-up records (default: %(default)s)")
    add_outputs(patching, _patching)


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


def add_collectives(parts) -> None:
    """Registers `lst bench collectives`."""
    collectives = parts.add_parser(
        "collectives",
        help="how much of the network's time a step hides on TPUs; many minutes, no TPU needed",
        description="Compiles a recipe's training step for a described topology of TPUs, with XLA's own options and with "
        "those of the chip. Needs the extra `tpu`.",
    )
    collectives.add_argument(
        "--config",
        type=path_or_address,
        metavar="FILE.py:ARG",
        default="configs/lst.py:1b,static",
        help="(default: %(default)s)",
    )
    collectives.add_argument("--topology", default="v6e:8x8", metavar="KIND:SIDES", help="(default: %(default)s)")
    add_changes(collectives)
    add_outputs(collectives, _collectives)


def _collectives(args: argparse.Namespace) -> int:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # libtpu is there to compile, no TPU to be looked for
    from lst_jax.bench import collectives
    from lst_jax.recipes.load import load_recipe

    return report(
        args,
        f"{COLLECTIVES_SECTION}: {args.config} on {args.topology}",
        collectives,
        collectives.measure(args.config, load_recipe(args.config, args.set), args.topology),
        config=args.config,
        topology=args.topology,
        set=args.set,
    )


def add_decode(parts) -> None:
    """Registers `lst bench decode`."""
    decode = parts.add_parser(
        "decode",
        help="memory and least time of generation on TPUs; a minute, no TPU needed",
        description="Compiles generation for a described topology of TPUs. Needs the extra `tpu`.",
    )
    decode.add_argument(
        "--config",
        type=path_or_address,
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
