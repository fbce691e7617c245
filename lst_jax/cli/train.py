"""The arguments and the action of `lst train`."""

import argparse
import os
import sys

from lst_jax.cli.local_paths import free_text, path_or_address, run_or_address
from lst_jax.core.errors import ConfigError


def add_arguments(subparsers) -> None:
    """Registers the command on what `ArgumentParser.add_subparsers` returned; it sets `run`: args → exit code."""
    train = subparsers.add_parser(
        "train",
        help="train a model, or resume a run",
        description="Trains from --config, or resumes the run directory given.",
    )
    train.add_argument(
        "run_dir",
        type=run_or_address,
        metavar="RUN",
        help="run directory, made if it does not exist; it may lie in gs://",
    )
    train.add_argument(
        "--config", type=path_or_address, metavar="FILE.py[:ARG]", help="recipe; needed only to start a run"
    )
    train.add_argument(
        "--set",
        type=free_text,
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the recipe, for example train.accumulate=4; may be repeated",
    )
    train.add_argument(
        "--budget",
        type=path_or_address,
        metavar="BUDGET",
        help="how long to train: optimal, tokens=70e9, flops-of=FILE.py:ARG, …: see lst_jax/cost/budget.py",
    )
    train.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="number of processes of this job: one per TPU host or per GPU, all started with the same command",
    )
    train.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="address of process 0, where JAX cannot find it: not needed on TPU pods, on GKE and under SLURM",
    )
    train.add_argument(
        "--process-id", type=int, metavar="I", help="number of this process, from 0, beside --coordinator"
    )
    train.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Joins the job's processes, loads the recipe and trains. Returns the exit code."""
    check_job(args)
    count = args.processes or 1
    if count > 1:
        # Before JAX is loaded: what its C++ code logs of a lost process is raised as an error too, in one line.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from lst_jax.cost import budget
    from lst_jax.data.patching import strategy_of
    from lst_jax.parallel import processes
    from lst_jax.runs.directory import RunDirectory
    from lst_jax.train.loop import train

    processes.join(count, args.coordinator, args.process_id)
    with processes.barrier({}):
        for option, value in (("--set", args.set), ("--budget", args.budget)):
            if value and not args.config:
                raise ConfigError(f"{option}: changes a recipe; give --config beside it")
        config = budget.load(args.config, args.set, args.budget) if args.config else None
        if args.budget and processes.is_leader():
            print(budget.describe(config, args.budget), file=sys.stderr)
        if config is not None and processes.is_leader():
            if unfinished := strategy_of(config.data.patching).unfinished(config.train.steps):
                print(f"warning: {unfinished}", file=sys.stderr)
    return train(RunDirectory(args.run_dir), config, args.began)


def check_job(args: argparse.Namespace) -> None:
    """Refuses options of a job of several processes that do not fit each other. Raises: ConfigError."""
    count = args.processes
    if count is not None and count < 1:
        raise ConfigError(f"--processes={count}: must be at least 1; give the number of processes of the job")
    for option, value in (("--coordinator", args.coordinator), ("--process-id", args.process_id)):
        if value is not None and count is None:
            raise ConfigError(
                f"{option}={value}: is for a job of several processes; give --processes N beside it, or leave it out"
            )
    if args.process_id is not None and not 0 <= args.process_id < count:
        raise ConfigError(f"--process-id={args.process_id}: must be from 0 to {count - 1}, as --processes={count}")
