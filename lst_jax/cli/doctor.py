"""The arguments and the actions of `lst doctor`."""

import argparse
import functools

from lst_jax.cli.local_paths import free_text, path_or_address, run_or_address


def add_arguments(subparsers) -> None:
    """Registers the command on what `ArgumentParser.add_subparsers` returned; it sets `run`: args → exit code."""
    doctor = subparsers.add_parser(
        "doctor",
        help="check a host before a job is paid for",
        description="Checks Python, packages and devices of this host, and what else is named: the run's place, the clock "
        "of its server, the recipe's data, free disk and memory, and the other processes of the job with their clocks. One "
        "line a finding; exit code 1 where one fails.",
    )
    doctor.add_argument("--run", dest="run_dir", type=run_or_address, metavar="RUN", help="run directory, or gs://")
    doctor.add_argument(
        "--config", type=path_or_address, metavar="FILE.py[:ARG]", help="recipe, whose data and needs are checked"
    )
    doctor.add_argument(
        "--set", type=free_text, action="append", default=[], metavar="FIELD=VALUE", help="change a field of the recipe"
    )
    doctor.add_argument("--processes", type=int, metavar="N", help="number of processes, all started with this command")
    doctor.add_argument("--coordinator", metavar="HOST:PORT", help="as `lst train` takes it")
    doctor.add_argument("--process-id", type=int, metavar="I", help="as `lst train` takes it")
    doctor.set_defaults(run=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    """0 where nothing fails, else 1."""
    from lst_jax.cli.train import check_job
    from lst_jax.doctor import host
    from lst_jax.doctor.finding import guarded
    from lst_jax.parallel import processes

    check_job(args)
    count = args.processes or 1
    processes.join(count, args.coordinator, args.process_id)
    checks = [("packages", host.packages), ("devices", host.devices), *_places(args, count)]
    if count > 1:  # last, as all others wait for the slowest
        checks.append(("processes", functools.partial(host.peers, count)))
    failed = False
    for what, check in checks:
        for finding in guarded(what, check):
            print(finding.line, flush=True)
            failed = failed or finding.level == "fail"
    return 1 if failed else 0


def _places(args: argparse.Namespace, count: int) -> list:
    """The checks of what the command names: name of what is looked at -> findings."""
    from lst_jax.core.errors import ConfigError
    from lst_jax.core.paths import is_address
    from lst_jax.doctor import clocks, places

    if args.set and not args.config:
        raise ConfigError("--set: changes a recipe; give --config beside it")
    checks = []
    if args.run_dir:
        checks.append((args.run_dir, functools.partial(places.run_place, args.run_dir)))
        if is_address(args.run_dir):
            checks.append(("clock", functools.partial(clocks.bucket, args.run_dir)))
    if args.config:
        from lst_jax.recipes.load import load_recipe

        config = load_recipe(args.config, args.set)
        if args.run_dir:
            checks.append((args.run_dir, functools.partial(places.room, args.run_dir, config, count)))
        checks.append(("model", functools.partial(places.model, config)))
        checks.append((config.data.tokenizer, functools.partial(places.tokenizer, config)))
        checks += [(one.path, functools.partial(places.source, config, one)) for one in config.data.sources]
    return checks
