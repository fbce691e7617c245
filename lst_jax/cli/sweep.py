"""The arguments and the actions of `lst sweep`."""

import argparse
import dataclasses
import json
import os
import sys

from lst_jax.cli.evaluate import add_task_option
from lst_jax.cli.local_paths import output_or_address, path_or_address, run_or_address
from lst_jax.core.errors import RESTART_EXIT_CODE, ConfigError
from lst_jax.evals.conventions import RULES
from lst_jax.jobs.launch import targets
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place, to_run_place


def add_arguments(subparsers) -> None:
    """Registers the command on what `ArgumentParser.add_subparsers` returned; it sets `run`: args → exit code."""
    sweep = subparsers.add_parser(
        "sweep",
        help="many runs of one recipe: here, or as jobs for pods",
        description="A recipe's sweep(add, NAME) says which runs there are. SWEEP is a folder that keeps them: "
        "sweep.json, runs/NAME, points.jsonl and the page that lst report SWEEP writes.",
    )
    parts = sweep.add_subparsers(dest="part", required=True, metavar="PART")
    run = parts.add_parser(
        "run",
        help="train all runs on this machine, several at a time, then write the page",
        description="Trains what is not done yet, the costliest first; the same command goes on after any stop.",
    )
    _add_sweep(run)
    _add_jobs(run)
    run.add_argument("--dry-run", action="store_true", help="only print the runs and what they cost")
    run.set_defaults(run=_run)
    status = parts.add_parser("status", help="which runs are done, running, preempted, missing")
    status.add_argument("folder", type=run_or_address, metavar="SWEEP")
    _add_runs(status)
    status.add_argument("--json", action="store_true", help="print it as JSON")
    status.set_defaults(run=_status)
    collect = parts.add_parser("collect", help="write the finished runs' points.jsonl, which lst fit reads")
    collect.add_argument("folder", type=run_or_address, metavar="SWEEP")
    _add_runs(collect)
    collect.set_defaults(run=_collect)
    _add_evaluate(parts)
    _add_table(parts)
    render = parts.add_parser(
        "render",
        help="write one job per run for a cluster",
        description="Writes SWEEP/jobs/NAME/…, what lst launch writes for each run. It starts nothing.",
    )
    _add_sweep(render)
    render.add_argument(
        "--cluster", type=path_or_address, required=True, metavar="FILE", help="description of the cluster: see launch/"
    )
    render.add_argument(
        "--to",
        required=True,
        choices=targets.names(),
        metavar="TARGET",
        help=f"one of {', '.join(targets.names())}",
    )
    render.add_argument(
        "--dry-run",
        action="store_true",
        help="write no jobs: compile each run's step for the cluster's TPUs and total the chip-hours",
    )
    render.add_argument(
        "--search",
        action="store_true",
        help="compile each run's step in many ways, as lst plan --search does, and give each job the fastest",
    )
    render.add_argument("--quick", action="store_true", help="compile with the least effort")
    render.set_defaults(run=_render)


def _add_evaluate(parts) -> None:
    evaluate = parts.add_parser(
        "evaluate",
        help="ask the finished runs tasks, several runs at a time",
        description="Evaluates each finished run as lst evaluate does, but for what it was already asked.",
    )
    evaluate.add_argument("folder", type=run_or_address, metavar="SWEEP")
    add_task_option(evaluate, "as for lst evaluate; may be repeated")
    evaluate.add_argument(
        "--directions", metavar="s2s,t2t,…", help="as for lst evaluate (default: all that a task has)"
    )
    evaluate.add_argument(
        "--each-checkpoint",
        action="store_true",
        help="tasks at every step that a run has kept, not at its last step alone",
    )
    evaluate.add_argument("--probe", choices=("patches",), help="as for lst evaluate, at the last step")
    evaluate.add_argument("--asr", type=path_or_address, metavar="SOURCE", help="as for lst evaluate, at the last step")
    evaluate.add_argument(
        "--items", type=int, metavar="N", help="for --asr and --probe: the first N utterances of a source only"
    )
    evaluate.add_argument(
        "--systems", metavar="NAME,NAME…", help="ask these alone, as lst sweep table names them (default: all)"
    )
    _add_jobs(evaluate)
    evaluate.set_defaults(run=_evaluate)


def _add_table(parts) -> None:
    table = parts.add_parser(
        "table",
        help="what the finished runs cost and answered, with means over seeds",
        description="Prints tables with a row for each system: costs and held-out losses, then the accuracies in each task.",
    )
    table.add_argument("source", type=run_or_address, metavar="SWEEP|FILE", help="a sweep, or what --out wrote of one")
    table.add_argument(
        "--band",
        metavar="NAME[=VALUE]",
        help="a row for each value of this band of the items, for example told; or for one value, told=text",
    )
    table.add_argument(
        "--by-step",
        action="store_true",
        help="a row, and in the picture a mark, for each step at which runs were asked: lst sweep evaluate --each-checkpoint",
    )
    table.add_argument(
        "--against",
        metavar="SYSTEM",
        help="also the differences from this system, with paired intervals; not with --by-step",
    )
    table.add_argument(
        "--rule",
        choices=tuple(RULES),
        default="per_token",
        help="by what a choice is the likeliest: "
        + ", ".join(f"{n} is {w}" for n, w in RULES.items() if n != w)
        + " (default: per_token)",
    )
    table.add_argument(
        "--systems", metavar="NAME,NAME…", help="show these alone, in this order; --out has all (default: all)"
    )
    table.add_argument("--only", metavar="TASK", help="show this task alone; --out has all (default: all)")
    table.add_argument(
        "--out", type=output_or_address, metavar="FILE", help="write each run's numbers into this JSON file"
    )
    table.add_argument(
        "--figure", type=output_or_address, metavar="FILE.png", help="draw the accuracies, with their intervals"
    )
    table.add_argument(
        "--markdown",
        type=output_or_address,
        metavar="FILE",
        help="write the tables into a section of this file as well",
    )
    table.add_argument("--section", metavar="TITLE", help="of --markdown (default: the sweep's recipe)")
    table.set_defaults(run=_table)


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=run_or_address, metavar="SWEEP", help="folder of the sweep, made if it does not exist"
    )
    parser.add_argument(
        "--config",
        type=path_or_address,
        metavar="FILE.py:NAME",
        help="recipe and its sweep; needed only to make the sweep",
    )


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count(),
        metavar="N",
        help="runs at a time, each on its share of the cores (default: %(default)s, one a core)",
    )


def _check_jobs(jobs: int) -> None:
    if jobs < 1:
        raise ConfigError(f"--jobs {jobs}: must be at least 1; use {os.cpu_count()}")


def _add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs",
        type=run_or_address,
        metavar="DIR",
        help="where the runs are, if not in SWEEP/runs: a mounted bucket, …",
    )


def _run(args: argparse.Namespace) -> int:
    from lst_jax.jobs.sweeps import local, status, text, trials

    _check_jobs(args.jobs)
    folder = to_run_place(args.folder)
    if args.dry_run:
        sweep = trials.make_sweep(args.config) if args.config else trials.read_sweep(folder)
        print(text.runs_table(sweep.trials))
    else:
        sweep = trials.open_sweep(folder, args.config)
    if unfinished := text.unfinished(sweep.trials):  # or an error, where a recipe has changed since
        print(f"warning: {unfinished}", file=sys.stderr)
    if args.dry_run:
        return 0
    print(f"lst sweep: {text.totals(sweep.trials)}", file=sys.stderr)
    outcome = local.run_all(folder, sweep.trials, args.jobs)
    found = status.status_of(folder / status.RUNS, sweep.trials)
    print(status.summary(found))
    for name, code in outcome.failed.items():
        print(f"lst sweep: {name} ended with exit code {code}: see {folder / local.LOGS / name}.log", file=sys.stderr)
    if outcome.stopped:
        print(f"lst sweep: {folder}: stopped, saved; run the same command to go on", file=sys.stderr)
        return RESTART_EXIT_CODE
    if outcome.failed:
        return 1
    from lst_jax.jobs.sweeps.report import write_report

    return write_report(folder)


def _status(args: argparse.Namespace) -> int:
    from lst_jax.jobs.sweeps import status, text, trials

    folder = to_run_place(args.folder)
    found = status.status_of(_runs_of(args), trials.read_sweep(folder).trials)
    print(json.dumps(text.as_json(found), indent=1) if args.json else text.status_table(found))
    return 0


def _collect(args: argparse.Namespace) -> int:
    from lst_jax.jobs.sweeps import collect

    print(f"wrote {collect.write_points(to_run_place(args.folder), _runs_of(args))}")
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from lst_jax.jobs.sweeps import evaluate

    _check_jobs(args.jobs)
    if not (args.tasks or args.probe or args.asr):
        raise ConfigError("--task: nothing is asked; give --task, --probe or --asr")
    if args.items is not None and not (args.probe or args.asr):
        raise ConfigError("--items: belongs to --asr or --probe; give one of them beside it")
    folder = to_run_place(args.folder)
    asked = evaluate.Request(
        specs=args.tasks or (),
        directions=args.directions,
        each_checkpoint=args.each_checkpoint,
        probe=args.probe is not None,
        asr=args.asr,
        items=args.items,
        systems=args.systems.split(",") if args.systems else None,
    )
    failed = evaluate.evaluate_all(folder, asked, args.jobs)
    for name, error in failed.items():
        print(f"lst sweep: {name}: {error}", file=sys.stderr)
    return 1 if failed else 0


def _table(args: argparse.Namespace) -> int:
    from lst_jax.core.text_table import columns
    from lst_jax.jobs.sweeps import outcomes, outcomes_tables
    from lst_jax.jobs.sweeps import outcomes_by_step as by_step
    from lst_jax.report import results_file

    if args.against is not None and args.by_step:
        raise ConfigError("--against: not with --by-step, as systems differ in their steps; leave one out")
    whole = outcomes.read(to_run_place(args.source))
    found = whole.of_labels(args.systems.split(",")) if args.systems else whole
    found = found.of_task(args.only) if args.only else found
    band, _, value = (args.band or "").partition("=")
    found = found.of_value(band, value) if value else found
    how = outcomes_tables.Shown(band or None, args.rule, args.against)
    tables = (by_step.tables if args.by_step else outcomes_tables.tables)(found, how)
    for title, header, rows in tables:
        print("\n".join(["", *([title] if title else []), *columns([header, *rows], right=())]))
    if args.out:
        objects.write_json(to_place(args.out), dataclasses.asdict(whole))
    if args.figure:
        from lst_jax.jobs.sweeps import outcomes_picture

        draw = outcomes_picture.by_step if args.by_step else outcomes_picture.picture
        objects.write_bytes(to_place(args.figure), draw(found, how))
    if args.markdown:
        section = args.section or f"Sweep: {found.sweep}"
        body = outcomes_tables.as_markdown(tables, how)
        results_file.write_section(args.markdown, section, body, results_file.provenance(sys.argv[1:], ()))
    return 0


def _render(args: argparse.Namespace) -> int:
    from lst_jax.jobs.launch.cluster import load_cluster
    from lst_jax.jobs.sweeps import render, text, trials

    folder, cluster = to_run_place(args.folder), load_cluster(args.cluster)
    sweep = trials.open_sweep(folder, args.config)
    jobs, target = render.jobs_of(folder, sweep.trials, cluster), targets.target(args.to)
    rendered = list(render.files_of(jobs, target))
    if args.dry_run or args.search:
        chosen: dict[str, tuple[str, ...]] = {}
        plans = render.plans_of(sweep.trials, cluster, args.quick, args.search)
        code = text.print_plans(plans, len(sweep.trials), chosen if args.search else None)
        if args.dry_run or code:
            return code
        rendered = list(render.files_of(render.jobs_of(folder, sweep.trials, cluster, chosen), target))
    for name, content in rendered:
        objects.write_text(folder / "jobs" / name, content)
        print(folder / "jobs" / name)
    return 0


def _runs_of(args: argparse.Namespace) -> Place:
    from lst_jax.jobs.sweeps.status import RUNS

    return to_run_place(args.runs) if args.runs else to_run_place(args.folder) / RUNS
