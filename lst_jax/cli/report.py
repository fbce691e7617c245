"""The arguments and the action of `lst report`."""

import argparse

from lst_jax.cli.local_paths import output_or_address, run_or_address
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
    report.add_argument("--page", metavar="FILE", type=output_or_address, help="of a sweep, if not SWEEP/report.html")
    report.add_argument(
        "--markdown",
        metavar="FILE",
        type=output_or_address,
        help="also write a sweep's numbers, with a link to its page, into this file of results",
    )
    report.add_argument(
        "--prometheus",
        action="store_true",
        help="print the state of a run in the format of Prometheus, and write nothing",
    )
    report.set_defaults(run=_report)


def _report(args: argparse.Namespace) -> int:
    from lst_jax.jobs.sweeps import report as sweep_report
    from lst_jax.report import prometheus, run_page
    from lst_jax.runs.directory import RunDirectory
    from lst_jax.storage.place import to_place, to_run_place

    folder = to_run_place(args.run_dir)
    if sweep_report.is_sweep(folder):
        if args.prometheus:
            raise ConfigError(f"--prometheus: {folder} is a sweep; give one of its runs")
        runs, page, markdown = (to_place(value) if value else None for value in (args.runs, args.page, args.markdown))
        return sweep_report.write_report(folder, runs, page, markdown)
    for option in ("runs", "page", "markdown"):
        if getattr(args, option):
            raise ConfigError(f"--{option}: {folder} is no sweep; leave it out")
    if args.prometheus:
        print(prometheus.text(RunDirectory(args.run_dir)), end="")
        return 0
    return run_page.write_report(RunDirectory(args.run_dir))
