"""`lst prepare text`."""

import argparse

from lst_jax.cli.prepare import arguments
from lst_jax.prepare import run


def add_arguments(parts) -> None:
    """See `lst_jax.cli.prepare.add_arguments`."""
    parser = arguments.add_part(parts, "text", _run, "make text records")
    arguments.add_manifest(parser, "text")
    arguments.add_workers(parser)
    arguments.add_directory(parser)
    arguments.add_engine(parser)


def _run(args: argparse.Namespace) -> int:
    arguments.check_share(args)
    if args.dry_run:
        return arguments.dry_run(args, "text")
    report = run.prepare_text(
        arguments.corpus(args, "text"),
        args.out,
        arguments.engine(args, arguments.workers(args)),
        args.shard_records,
        args.overwrite,
        args.max_rejected,
        progress=True,
        shard_mb=args.shard_mb,
    )
    print(report.line())
    return 0
