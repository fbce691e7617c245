"""Arguments that several parts of `lst prepare` share, and what they say."""

import argparse
import sys
from collections.abc import Callable

from lst_jax.cli.local_paths import free_text, path_or_address
from lst_jax.core.errors import DataError
from lst_jax.prepare import manifest, run
from lst_jax.prepare.engines import processes, registry
from lst_jax.prepare.engines.protocol import Engine


def add_part(subparsers, name: str, action: Callable[[argparse.Namespace], int], what: str) -> argparse.ArgumentParser:
    """A parser whose `run` is `action`; `what` is its line in the list of parts, and its description."""
    parser = subparsers.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    parser.set_defaults(run=action)
    return parser


def add_manifest(parser: argparse.ArgumentParser) -> None:
    """`--manifest` and `--where`."""
    parser.add_argument(
        "--manifest",
        required=True,
        action="append",
        metavar="PATH",
        help="JSON lines {audio, text[, id, speaker, offset, duration, channel]} or {text[, id]}, a tree like "
        "LibriSpeech's or MLS's, or .txt with a document per line; also .gz and .zst; may be given several times",
    )
    parser.add_argument(
        "--where",
        type=free_text,
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="only lines whose field has this value, such as split=train",
    )
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave lines out that are no items, and count them; do not stop"
    )


def where(args: argparse.Namespace) -> dict[str, str]:
    """The values that `--where` asks for, by field. Raises: DataError."""
    wanted = {}
    for rule in args.where:
        field, equals, value = rule.partition("=")
        if not (field and equals):
            raise DataError(f"--where {rule}: must be FIELD=VALUE; write for example --where split=train")
        wanted[field] = value
    return wanted


def items(args: argparse.Namespace) -> list[manifest.Item | manifest.BadItem]:
    """The recordings of all manifests; fields that nothing reads are named on standard error.

    Raises: DataError where two have one id.
    """
    wanted = where(args)
    found = manifest.read_all_items(args.manifest, wanted, args.skip_bad)
    unused = manifest.unused_fields(args.manifest, wanted)
    if unused:
        names = ", ".join(f"{name} ({count})" for name, count in unused.items())
        print(f"{', '.join(args.manifest)}: fields that are not read, and their lines: {names}", file=sys.stderr)
    return found


def add_workers(parser: argparse.ArgumentParser) -> None:
    """`--workers`."""
    parser.add_argument(
        "--workers",
        type=int,
        default=processes.cores(),
        help="processes; the result does not depend on it; models have one (default: %(default)s, the cores)",
    )


def workers(args: argparse.Namespace) -> int:
    """The number of processes. Raises: DataError."""
    if args.workers < 1:
        raise DataError(f"--workers {args.workers}: must be at least 1; use {processes.cores()}")
    return args.workers


def add_directory(parser: argparse.ArgumentParser) -> None:
    """`--out` of a directory of records, and how it is made."""
    parser.add_argument(
        "--out",
        type=path_or_address,
        required=True,
        metavar="DIR",
        help="directory to make, or to finish; it may lie in a bucket",
    )
    parser.add_argument(
        "--shard-records", type=int, default=run.SHARD_RECORDS, help="items per shard (default: %(default)s)"
    )
    parser.add_argument(
        "--max-rejected",
        type=float,
        default=run.MAX_REJECTED,
        metavar="SHARE",
        help="end with an error where more than this share is rejected (default: %(default)s)",
    )
    add_overwrite(parser)


def check_share(args: argparse.Namespace) -> None:
    """Raises: DataError where `--max-rejected` is no share."""
    if not 0 <= args.max_rejected <= 1:
        raise DataError(f"--max-rejected {args.max_rejected}: must be a share from 0 to 1; use {run.MAX_REJECTED}")


def add_overwrite(parser: argparse.ArgumentParser, what: str = "what an earlier run made there") -> None:
    """`--overwrite`."""
    parser.add_argument("--overwrite", action="store_true", help=f"replace {what}")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """`--engine` and the options of Beam."""
    parser.add_argument(
        "--engine",
        choices=tuple(registry.ENGINES),
        default="local",
        help="local: processes of this machine; beam: Apache Beam with workers of its own, a shard at "
        "a time; the result is the same (default: %(default)s)",
    )
    parser.add_argument(
        "--beam-option",
        type=free_text,
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="option of the Beam pipeline, such as runner=FlinkRunner (default runner: DirectRunner, "
        "which is this machine); may be given several times",
    )


def engine(args: argparse.Namespace, count: int) -> Engine:
    """The engine, of `count` processes where it is the local one. Raises: DataError."""
    if args.engine == "local" and args.beam_option:
        raise DataError(f"--beam-option {args.beam_option[0]}: is for --engine beam; add it, or leave this out")
    options = {}
    for rule in args.beam_option:
        name, equals, value = rule.lstrip("-").partition("=")
        if not name:
            raise DataError(f"--beam-option {rule}: must be NAME or NAME=VALUE; write for example runner=FlinkRunner")
        options[name] = value if equals else None
    return registry.load_engine(args.engine, count, options)
