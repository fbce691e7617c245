"""Studies of `lst bench`: what systems cost and learn, and whether intervals of laws hold."""

import argparse
import sys

from lst_jax.cli.bench_options import add_changes, add_outputs, check_count, report
from lst_jax.cli.local_paths import path_or_address, run_or_address
from lst_jax.core.errors import DataError
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

TIMES_FIX = "give what `lst bench patching --json` printed"
BUDGETS_SECTION = "Budgets"
SYSTEMS_SECTION = "Systems at equal FLOPs"
PRECISION_SECTION = "Precision"
ALIGN_SECTION = "Aligners"
COVERAGE_SECTION = "Coverage of the intervals"


def add_budgets(parts) -> None:
    """Registers `lst bench budgets`."""
    budgets = parts.add_parser(
        "budgets",
        help="what each system sees and costs under the paper's controls; half a minute",
        description="Counts steps, tokens, patch positions and FLOPs of runs of equal steps, tokens or FLOPs, and of "
        "compute-optimal ones, beside the paper's figures.",
    )
    budgets.add_argument(
        "--config",
        type=path_or_address,
        metavar="FILE.py:SIZE",
        default="configs/lst.py:1b",
        help="(default: %(default)s)",
    )
    budgets.add_argument(
        "--times",
        type=path_or_address,
        metavar="FILE.json",
        help="what `lst bench patching --json` printed: adds runs of equal time",
    )
    add_outputs(budgets, _budgets)


def _budgets(args: argparse.Namespace) -> int:
    from lst_jax.bench import budgets

    times = objects.read_json(to_place(args.times), TIMES_FIX).get("time") if args.times else None
    if args.times and not times:
        raise DataError(f"{args.times}: has no times; {TIMES_FIX}")
    measured = budgets.measure(args.config, times)
    section = f"{BUDGETS_SECTION}: {args.config}"
    return report(args, section, budgets, measured, config=args.config, times=args.times)


def add_systems(parts) -> None:
    """Registers `lst bench systems`."""
    systems = parts.add_parser(
        "systems",
        help="train the systems of a recipe for the same FLOPs; minutes for each",
        description="Trains each system in a run directory of its own, and goes on where it was stopped.",
    )
    systems.add_argument(
        "--config", type=path_or_address, metavar="FILE.py", default="configs/demo.py", help="(default: %(default)s)"
    )
    systems.add_argument(
        "--systems",
        required=True,
        metavar="ARG[,ARG]",
        help="arguments of the recipe; the first one's steps and FLOPs count",
    )
    systems.add_argument("--steps", type=int, default=150, help="of the first system (default: %(default)s)")
    systems.add_argument(
        "--runs", type=run_or_address, metavar="DIR", default="runs/systems", help="(default: %(default)s)"
    )
    add_outputs(systems, _systems)


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


def add_precision(parts) -> None:
    """Registers `lst bench precision`."""
    precision = parts.add_parser(
        "precision",
        help="train a recipe in float32, in bfloat16 and with products in 8 bits, and compare the curves",
        description="Trains four times over the same batches, and goes on where it was stopped.",
    )
    precision.add_argument(
        "--config",
        type=path_or_address,
        metavar="FILE.py[:ARG]",
        default="configs/demo.py",
        help="(default: %(default)s)",
    )
    add_changes(precision)
    precision.add_argument("--steps", type=int, default=150, help="(default: %(default)s)")
    precision.add_argument(
        "--runs", type=run_or_address, metavar="DIR", default="runs/precision", help="(default: %(default)s)"
    )
    add_outputs(precision, _precision)


def _precision(args: argparse.Namespace) -> int:
    from lst_jax.bench import systems

    check_count("steps", args.steps, 150)
    measured = systems.precision(args.config, args.set, args.steps, args.runs)
    options = {"config": args.config, "set": args.set, "steps": args.steps, "runs": args.runs}
    return report(args, PRECISION_SECTION, systems, measured, **options)


def add_align(parts) -> None:
    """Registers `lst bench align`."""
    align = parts.add_parser(
        "align",
        help="how many words aligners place, how near to the truth, and how fast; a minute for each",
        description="Lets a synthesiser speak texts, whose word times are the truth, and aligns them. A row of CTC with "
        "made-up emissions shows what the search alone does. espeak needs pip install -e '.[synthesis]'.",
    )
    align.add_argument(
        "--texts",
        type=path_or_address,
        metavar="FILE",
        default="corpora/asterisk/manifest.jsonl",
        help="JSON lines (default: %(default)s)",
    )
    align.add_argument(
        "--aligner",
        type=path_or_address,
        metavar="SPEC",
        nargs="+",
        default=["pocketsphinx"],
        help="as of `lst prepare speech` (default: pocketsphinx)",
    )
    align.add_argument(
        "--synthesiser", type=path_or_address, metavar="SPEC", default="espeak", help="(default: %(default)s)"
    )
    align.add_argument("--voice", metavar="NAME", nargs="+", help="in turns (of espeak: en-us, en-us+f3 and en-gb)")
    align.add_argument("--items", type=int, default=200, help="texts that are spoken (default: %(default)s)")
    align.add_argument("--noise-db", type=float, metavar="DB", help="add white noise so far below the speech")
    add_outputs(align, _align)


def _align(args: argparse.Namespace) -> int:
    from lst_jax.bench import align
    from lst_jax.prepare.aligners.registry import load_aligner
    from lst_jax.prepare.synthesis.registry import load_synthesiser

    check_count("items", args.items, 200)
    synthesiser = load_synthesiser(args.synthesiser)
    voices = args.voice or (align.VOICES if args.synthesiser == "espeak" else synthesiser.voices)
    aligners = [load_aligner(spec) for spec in args.aligner]
    spoken = align.speak(args.texts, synthesiser, voices, args.items, args.noise_db)
    return report(
        args,
        ALIGN_SECTION if args.noise_db is None else f"{ALIGN_SECTION}, noise {args.noise_db:g} dB below the speech",
        align,
        align.measure(spoken, aligners, progress=sys.stderr.isatty()),
        texts=args.texts,
        aligner=args.aligner,
        synthesiser=args.synthesiser,
        voice=args.voice,
        items=args.items,
        **{"noise-db": args.noise_db},
    )


def add_coverage(parts) -> None:
    """Registers `lst bench coverage`."""
    coverage = parts.add_parser(
        "coverage",
        help="how often the intervals of `lst fit` hold the truth; minutes",
        description="Makes up runs of known laws, fits them, and counts in how many studies each 95%% interval holds "
        "the true number.",
    )
    coverage.add_argument("--repeats", type=int, default=200, help="studies of each design (default: %(default)s)")
    add_outputs(coverage, _coverage)


def _coverage(args: argparse.Namespace) -> int:
    from lst_jax.bench import coverage

    check_count("repeats", args.repeats, 200)
    measured = coverage.measure(coverage.STUDIES, args.repeats, progress=sys.stderr.isatty())
    return report(args, COVERAGE_SECTION, coverage, measured, repeats=args.repeats)
