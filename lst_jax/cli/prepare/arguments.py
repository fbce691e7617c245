"""Arguments that several parts of `lst prepare` share, and what they say."""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterable
from typing import Literal

from lst_jax.cli.import_ import add_option, given_options
from lst_jax.cli.local_paths import free_text, output_or_address, path_or_address
from lst_jax.core.errors import DataError
from lst_jax.data.importers.formats import Option
from lst_jax.prepare import manifest, merging, run
from lst_jax.prepare.corpora import choose
from lst_jax.prepare.corpora import registry as layout_registry
from lst_jax.prepare.corpora.corpus import Corpus
from lst_jax.prepare.corpora.registry import Layout, Settings
from lst_jax.prepare.dry_run import look
from lst_jax.prepare.engines import processes, registry
from lst_jax.prepare.engines.protocol import Engine


def add_part(subparsers, name: str, action: Callable[[argparse.Namespace], int], what: str) -> argparse.ArgumentParser:
    """A parser whose `run` is `action`; `what` is its line in the list of parts, and its description."""
    parser = subparsers.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    parser.set_defaults(run=action)
    return parser


def add_manifest(parser: argparse.ArgumentParser, *kinds: Literal["speech", "text"]) -> None:
    """`--manifest`, how it is read, and the options of the layouts of these kinds."""
    layouts = [layout for layout in layout_registry.LAYOUTS.values() if layout.kind in kinds]
    parser.add_argument(
        "--manifest",
        type=path_or_address,
        required=True,
        action="append",
        metavar="PATH",
        help="JSON lines {audio, text[, id, speaker, offset, duration, channel]} or {text[, id]}, .txt with a document "
        "per line, or a corpus of another layout; a file, a folder or a pattern, here or in a bucket; also .gz and "
        ".zst; may be given several times",
    )
    parser.add_argument(
        "--layout",
        metavar="NAME",
        help="how the corpus lies there, if its names do not tell: "
        + "; ".join(dict.fromkeys(f"{layout.name}, {layout.what}" for layout in layouts)),
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
    parser.add_argument(
        "--text-field",
        default="text",
        metavar="NAME",
        help="field or column of the text or the transcript (default: %(default)s, else a usual name of a column)",
    )
    for option in _layout_options(layouts):
        add_option(parser, option)


def _layout_options(layouts: Iterable[Layout]) -> list[Option]:
    """The options of all layouts, each once."""
    return list({option.name: option for layout in layouts for option in layout.options}.values())


def settings(args: argparse.Namespace) -> Settings:
    """What the command says to every reader. Raises: DataError."""
    options = [option for option in _layout_options(layout_registry.LAYOUTS.values()) if hasattr(args, option.name)]
    return Settings(where(args), args.skip_bad, args.text_field, options=given_options(args, options))


def corpus(args: argparse.Namespace, kind: Literal["speech", "text"]) -> Corpus:
    """The corpus at all `--manifest`. Raises: DataError where there is none of a known layout."""
    return choose.open_corpus(args.manifest, kind, settings(args), args.layout)


def texts(args: argparse.Namespace) -> list[Corpus]:
    """The corpora at each `--manifest`, of texts or of speech. Raises: DataError."""
    return [choose.open_any([path], settings(args), args.layout) for path in args.manifest]


def where(args: argparse.Namespace) -> dict[str, str]:
    """The values that `--where` asks for, by field. Raises: DataError."""
    wanted = {}
    for rule in args.where:
        field, equals, value = rule.partition("=")
        if not (field and equals):
            raise DataError(f"--where {rule}: must be FIELD=VALUE; write for example --where split=train")
        wanted[field] = value
    return wanted


def say_unused_fields(found: Corpus) -> None:
    """Names the fields of JSON lines that nothing reads on standard error; not of a corpus too large to read first."""
    unused = manifest.unused_fields(found) if found.is_small else {}
    if unused:
        names = ", ".join(f"{name} ({count})" for name, count in unused.items())
        print(f"{found.where}: fields that are not read, and their lines: {names}", file=sys.stderr)


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
        type=output_or_address,
        required=True,
        metavar="DIR",
        help="directory to make, or to finish; it may lie in a bucket",
    )
    parser.add_argument(
        "--shard-records",
        type=int,
        metavar="N",
        help="items per shard, and fewer where a file of the input ends (default: as many as --shard-mb says)",
    )
    parser.add_argument(
        "--shard-mb",
        type=float,
        default=merging.SHARD_MB,
        metavar="MB",
        help="megabytes of a shard, at least; only the whole may be less (default: %(default)s)",
    )
    parser.add_argument(
        "--max-rejected",
        type=float,
        default=run.MAX_REJECTED,
        metavar="SHARE",
        help="end with an error where more than this share is rejected (default: %(default)s)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="count items, hours, shards and what would be refused, from the metadata alone, and write nothing",
    )
    add_overwrite(parser)


def dry_run(args: argparse.Namespace, kind: Literal["speech", "text"]) -> int:
    """What `--dry-run` does. Raises: DataError."""
    found = choose.open_corpus(args.manifest, kind, dataclasses.replace(settings(args), skip_bad=True), args.layout)
    looked = look(found, merging.Size(args.shard_mb, args.shard_records), progress=True)
    for line in looked.lines():
        print(line)
    if looked.stopping and not args.skip_bad:
        print(
            f"{found.where}: without --skip-bad, the first of {looked.stopping} bad lines ends the command",
            file=sys.stderr,
        )
    return 0


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
        help="local: processes of this machine; beam: Apache Beam with workers of its own, a part at "
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
