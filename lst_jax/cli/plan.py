"""The arguments and the actions of `lst plan`."""

import argparse
import functools
import json
import shlex
import sys

from lst_jax.cli.local_paths import free_text, output_or_address, path_or_address

SECTION = "Plans"
QUICK_SECTION = "Plans, compiled with the least effort"


def add_arguments(subparsers) -> None:
    """Registers the command on what `ArgumentParser.add_subparsers` returned; it sets `run`: args → exit code."""
    plan = subparsers.add_parser(
        "plan",
        help="what a run needs on TPUs, before paying for them",
        description="Compiles the training step for a described topology of TPUs, on any machine, and says whether it "
        "fits, what a step takes by the compiler's estimate, and what it takes at least. Needs the extra `tpu`, and "
        "minutes for large models.",
    )
    plan.add_argument(
        "--config",
        type=path_or_address,
        required=True,
        action="append",
        metavar="FILE.py[:ARG]",
        help="recipe; may be repeated for a table of several",
    )
    plan.add_argument(
        "--set",
        type=free_text,
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the recipe, as train.accumulate=4; may be repeated",
    )
    plan.add_argument(
        "--budget",
        type=path_or_address,
        metavar="BUDGET",
        help="how long to train: optimal, tokens=70e9, flops-of=FILE.py:ARG, …: see lst_jax/cost/budget.py",
    )
    plan.add_argument("--topology", required=True, metavar="KIND:SIDES", help="of a slice: v5p:4x4x4, v5e:16x16, …")
    plan.add_argument("--slices", type=int, default=1, metavar="N", help="(default: %(default)s)")
    plan.add_argument(
        "--search", action="store_true", help="find the fastest mesh, remat policy and number of parts that fit"
    )
    plan.add_argument(
        "--quick",
        action="store_true",
        help="compile with the least effort: sooner, with higher figures of memory and traffic",
    )
    plan.add_argument(
        "--hlo",
        type=path_or_address,
        metavar="DIR",
        help="keep what is compiled there: the text (.hlo) and the module (.pb) of every program",
    )
    output = plan.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print the plans as JSON")
    output.add_argument(
        "--markdown", type=output_or_address, metavar="FILE", help="also write the table into this file of results"
    )
    plan.set_defaults(run=_plan)


def _plan(args: argparse.Namespace) -> int:
    """0 where every recipe fits, 1 where one does not."""
    from lst_jax.cost import budget

    recipes = [(reference, budget.load(reference, args.set, args.budget)) for reference in args.config]
    for _, config in recipes if args.budget else ():
        print(budget.describe(config, args.budget), file=sys.stderr)
    plans = []
    for reference, config in recipes:
        plans.append(_one(reference, config, args))
        if args.markdown:  # after each: the next may take minutes
            _write(args.markdown, plans, args.quick)
    if args.json:
        print(json.dumps([plan.to_mapping() for plan in plans]))
    return 0 if all(plan.fits for plan in plans) else 1


def _one(reference: str, config, args: argparse.Namespace):
    from tqdm import tqdm

    from lst_jax.cost import compiled_files, plan_text
    from lst_jax.cost.plan import make_plan
    from lst_jax.cost.search import best, changes, search

    keep = None if args.hlo is None else functools.partial(compiled_files.keep, args.hlo)
    with tqdm(desc=f"plan {reference}", unit="program", bar_format="{desc}: {n} compiled [{elapsed}]") as progress:

        def make(changed):
            plan = make_plan(reference, changed, args.topology, args.slices, args.quick, keep)
            progress.update()
            return plan

        if not args.search:
            plan = make(config)
        else:
            tried = []
            for plan in search(config, make):
                tried.append(plan)
                progress.write(f"  {' '.join(plan_text.row(plan)[1:])}", file=sys.stderr)
            plan = best(tried)
            words = [word for change in changes(plan) for word in ("--set", change)]
            progress.write(f"the fastest of them for lst train: {shlex.join(words)}", file=sys.stderr)
    if not args.json:
        print(plan_text.page(plan))
    return plan


def _write(path: str, plans, quick: bool) -> None:
    from lst_jax.cost import plan_text
    from lst_jax.report import results_file

    body = (
        "The compiled training step's needs at the recipe's own batch: memory of a device, and the time of a step by the "
        "compiler's estimate (see below), with what of the network nothing hides. Beside it (≥, ≤) is the least time "
        "that its arithmetic, its traffic or its collectives take alone. The MFU counts real tokens and visible pairs. "
        "Parts are those of `train.accumulate`; the mesh is replica × data × tensor."
    )
    origin = results_file.provenance(sys.argv[1:], ("jax", "jaxlib", "libtpu", "flax"))
    results_file.write_section(
        path,
        QUICK_SECTION if quick else SECTION,
        "\n\n".join([body, results_file.table(plan_text.COLUMNS, [plan_text.row(plan) for plan in plans])]),
        origin,
    )
