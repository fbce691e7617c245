"""The `lst` command: one parser, one line for each mistake, imports only what the subcommand needs."""

import argparse
import importlib
import pathlib
import sys
import time

from lst_jax import __version__
from lst_jax.errors import ConfigError, PeerError, UserError

BEGAN = time.monotonic()  # of the process, near enough: what takes long to import comes later

# command -> the module that knows its arguments; train and report are known here
GROUPS = {"prepare": "lst_jax.prepare.cli", "inspect": "lst_jax.prepare.cli", "import": "lst_jax.data.importers.cli",
          "export": "lst_jax.data.importers.cli", "bench": "lst_jax.bench.cli", "plan": "lst_jax.plan.cli",
          "launch": "lst_jax.launch.cli", "fit": "lst_jax.scaling.cli", "sweep": "lst_jax.sweeps.cli",
          "evaluate": "lst_jax.evals.cli", "generate": "lst_jax.generate.cli",
          "convert": "lst_jax.convert.cli"}


def main(argv: list[str] | None = None) -> int:
    """Runs one subcommand; returns the exit code (see `lst_jax.errors`)."""
    argv = sys.argv[1:] if argv is None else argv
    parser = build_parser(argv[0] if argv else "")
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except UserError as error:
        print(f"lst {args.command}: {error}", file=sys.stderr)
        if isinstance(error, PeerError):
            from lst_jax import processes

            processes.leave(error.exit_code)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"lst {args.command}: interrupted; run the same command to go on", file=sys.stderr)
        return 130


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """The subcommands and their flags: those that the `command` belongs to, or all of them if it is another word."""
    parser = argparse.ArgumentParser(prog="lst", description="Pre-train Latent Speech-Text Transformers.")
    parser.add_argument("--version", action="version", version=f"lst {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    here = ("train", "report")
    modules = [GROUPS[command]] if command in GROUPS else [] if command in here else dict.fromkeys(GROUPS.values())
    for module in modules:  # each imports what its commands need
        importlib.import_module(module).add_arguments(subparsers)

    train = subparsers.add_parser("train", help="train a model, or go on with a run",
                                  description="Trains from --config, or resumes the run directory given.")
    train.add_argument("run_dir", metavar="RUN", help="run directory, made if it does not exist")
    train.add_argument("--config", metavar="FILE.py[:ARG]", help="recipe; needed only to start a run")
    train.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE",
                       help="change a field of the recipe, as train.accumulate=4; may be repeated")
    train.add_argument("--budget", metavar="BUDGET",
                       help="how long to train: optimal, tokens=70e9, flops-of=FILE.py:ARG, …: see lst_jax/budget.py")
    train.add_argument("--processes", type=int, default=1, metavar="N",
                       help="processes of this job, one a TPU host or one a GPU, all started with the same command")
    train.add_argument("--coordinator", metavar="HOST:PORT",
                       help="of process 0, where JAX cannot find it out: not on TPU pods, GKE and under SLURM")
    train.add_argument("--process-id", type=int, metavar="I", help="of this process, from 0, beside --coordinator")
    train.set_defaults(run=_train)

    report = subparsers.add_parser(
        "report", help="write the page of a run, or of a sweep",
        description="Writes report.json, report.html and pictures of a run; of a sweep points.jsonl, fits and "
                    "report.html.")
    report.add_argument("run_dir", metavar="RUN|SWEEP")
    report.add_argument("--runs", metavar="DIR", type=pathlib.Path,
                        help="where a sweep's runs are, if not in SWEEP/runs")
    report.add_argument("--page", metavar="FILE", type=pathlib.Path, help="of a sweep, if not SWEEP/report.html")
    report.add_argument("--markdown", metavar="FILE", type=pathlib.Path,
                        help="also write a sweep's numbers, with a link to its page, into this file of results")
    report.set_defaults(run=_report)
    return parser


def _train(args: argparse.Namespace) -> int:
    from lst_jax import budget, processes
    from lst_jax.run_dir import RunDirectory
    from lst_jax.train import train

    processes.join(args.processes, args.coordinator, args.process_id)
    with processes.agreeing({}):
        for option, value in (("--set", args.set), ("--budget", args.budget)):
            if value and not args.config:
                raise ConfigError(f"{option}: changes a recipe; give --config beside it")
        config = budget.load(args.config, args.set, args.budget) if args.config else None
        if args.budget and processes.is_leader():
            print(budget.describe(config, args.budget), file=sys.stderr)
    return train(RunDirectory(args.run_dir), config, BEGAN)


def _report(args: argparse.Namespace) -> int:
    from lst_jax import report
    from lst_jax.run_dir import RunDirectory
    from lst_jax.sweeps import report as sweep_report

    folder = pathlib.Path(args.run_dir)
    if sweep_report.is_sweep(folder):
        return sweep_report.write_report(folder, args.runs, args.page, args.markdown)
    for option in ("runs", "page", "markdown"):
        if getattr(args, option):
            raise ConfigError(f"--{option}: {folder} is no sweep; leave it out")
    return report.write_report(RunDirectory(args.run_dir))
