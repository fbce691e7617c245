"""The arguments and the action of `lst report`."""

import argparse
import pathlib

from lst_jax.cli.local_paths import run_or_address
from lst_jax.core.errors import ConfigError


def add_arguments(subparsers) -> None:
    """Registers the command on what `ArgumentParser.add_subparsers` returned; it sets `run`: args → exit code."""
    report = subparsers.add_parser(
        "report",
        help="write the page of a run, or of a sweep",
        description="Writes report.json, report.html and pictures of a run; of a sweep points.jsonl, fits and "
        "report.html.",
    )
    report.add_argument("run_dir", type=run_or_address, metavar="RUN|SWEEP")
    report.add_argument(
        "--runs", metavar="DIR", type=run_or_address, help="where a sweep's runs are, if not in SWEEP/runs"
    )
    report.add_argument("--page", metavar="FILE", type=run_or_address, help="of a sweep, if not SWEEP/report.html")
    report.add_argument(
        "--markdown",
        metavar="FILE",
        type=pathlib.Path,
        help="also write a sweep's numbers, with a link to its page, into this file of results",
    )
    report.set_defaults(run=_report)


def _report(args: argparse.Namespace) -> int:
    from lst_jax.jobs.sweeps import report as sweep_report
    from lst_jax.report import run_page
    from lst_jax.runs.directory import RunDirectory
    from lst_jax.storage.place import to_place

    folder = to_place(args.run_dir)
    if sweep_report.is_sweep(folder):
        runs, page = (to_place(value) if value else None for value in (args.runs, args.page))
        return sweep_report.write_report(folder, runs, page, args.markdown)
    for option in ("runs", "page", "markdown"):
        if getattr(args, option):
            raise ConfigError(f"--{option}: {folder} is no sweep; leave it out")
    return run_page.write_report(RunDirectory(args.run_dir))
