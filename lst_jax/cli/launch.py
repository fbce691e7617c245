"""The arguments and the actions of `lst launch`."""

import argparse
import sys

from lst_jax.cli.local_paths import free_text, output_or_address, path_or_address
from lst_jax.jobs.launch import targets
from lst_jax.storage import objects
from lst_jax.storage.place import to_place


def add_arguments(subparsers) -> None:
    """Registers the command on what `ArgumentParser.add_subparsers` returned; it sets `run`: args → exit code."""
    launch = subparsers.add_parser(
        "launch",
        help="write what starts a training run on a cluster",
        description="Checks a recipe against a cluster and renders the job whose processes run `lst train RUN --config "
        "RECIPE`. It starts nothing. A job starts again after exit code 42 and after 127 and more "
        "(preemptions, crashes), and ends on smaller codes, for which a person must act.",
    )
    launch.add_argument(
        "run_dir", type=free_text, metavar="RUN", help="run directory on the cluster; a relative one lies in run_root"
    )
    launch.add_argument(
        "--config",
        type=path_or_address,
        required=True,
        metavar="FILE.py[:ARG]",
        help="recipe, found here and from the cluster's workdir under the same name, or at an address",
    )
    launch.add_argument(
        "--set",
        type=free_text,
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the recipe, as train.accumulate=4; may be repeated",
    )
    launch.add_argument(
        "--budget",
        type=path_or_address,
        metavar="BUDGET",
        help="how long to train: optimal, tokens=70e9, flops-of=FILE.py:ARG, …: see lst_jax/cost/budget.py",
    )
    launch.add_argument(
        "--cluster",
        type=path_or_address,
        required=True,
        metavar="FILE",
        help="description of the cluster: see launch/",
    )
    launch.add_argument(
        "--to",
        required=True,
        choices=targets.names(),
        metavar="TARGET",
        help=targets.descriptions(),
    )
    launch.add_argument("--name", help="of the job (default: the recipe's)")
    output = launch.add_mutually_exclusive_group()
    output.add_argument("--dry-run", action="store_true", help="print it (the default)")
    output.add_argument("--out", type=output_or_address, metavar="DIR", help="write it into this folder instead")
    launch.set_defaults(run=_launch)


def _launch(args: argparse.Namespace) -> int:
    from lst_jax.jobs.launch.cluster import load_cluster
    from lst_jax.jobs.launch.job import make_job

    cluster, changes = load_cluster(args.cluster), args.set
    if args.budget:
        from lst_jax.cost import budget

        config = budget.load(args.config, args.set, args.budget)
        print(budget.describe(config, args.budget), file=sys.stderr)
        changes = [*args.set, *budget.changes_of(config)]  # written out, so that no process derives them
    job = make_job(args.run_dir, args.config, cluster, args.name, changes)
    for name, text in targets.target(args.to).render(job).items():
        if args.out is None:
            print(text, end="")
        else:
            path = to_place(args.out) / name
            objects.write_text(path, text)
            print(path)
    return 0
