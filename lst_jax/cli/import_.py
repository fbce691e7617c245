"""`lst import`."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator

import tqdm

from lst_jax.cli.local_paths import output_or_address, path_or_address
from lst_jax.core.errors import DataError
from lst_jax.data import sources
from lst_jax.data.importers import alignments, base, registry, write
from lst_jax.data.importers.formats import AlignmentFormat, Option, UnitFormat, Units
from lst_jax.data.importers.unit_lines import HIGHEST_RATE
from lst_jax.data.records import Utterance


def add_arguments(subparsers) -> None:
    """Adds the command to what `ArgumentParser.add_subparsers` returned. Each format sets `run`: args → exit code."""
    importer = subparsers.add_parser(
        "import",
        help="make records from files of other programs",
        description="Makes a directory of utterance records from files of other programs.",
    )
    formats = importer.add_subparsers(dest="format", required=True, metavar="FORMAT")
    for form in registry.UNIT_FORMATS.values():
        parser = _format_parser(formats, form, form.what, _import_units)
        parser.add_argument(
            "src",
            type=path_or_address,
            metavar="SRC",
            nargs="+",
            help=f"files, globs, or folders of {' or '.join(form.patterns)} files, here or in a bucket",
        )
        _add_unit_arguments(parser, form)
    for form in registry.ALIGNMENT_FORMATS.values():
        parser = _format_parser(formats, form, f"{form.what}, words for units from elsewhere", _import_alignments)
        parser.add_argument("src", type=path_or_address, metavar="SRC", help="file or folder to read")
        parser.add_argument(
            "--units",
            type=path_or_address,
            required=True,
            metavar="DIR",
            help="records with the units (their own words are replaced); matched by id",
        )


def _format_parser(
    formats, form: UnitFormat | AlignmentFormat, what: str, action: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser = formats.add_parser(form.name, help=what, description=f"Reads {what}.")
    parser.set_defaults(run=action)
    parser.add_argument("--out", type=output_or_address, required=True, metavar="DIR", help="directory to make")
    parser.add_argument("--source", metavar="NAME", help="name of the corpus, written into every record")
    parser.add_argument("--shard-records", type=int, default=write.SHARD_RECORDS, help="default: %(default)s")
    parser.add_argument("--skip-bad", action="store_true", help="leave bad items out and count them; do not stop")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    for option in form.options:
        add_option(parser, option)
    return parser


def add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    """An option of a format; where it is not given, its value is None."""
    flag = f"--{option.name.replace('_', '-')}"
    if option.flag:
        parser.add_argument(flag, action="store_true", default=None, help=option.help)
    else:
        parser.add_argument(
            flag, type=path_or_address if option.path else str, metavar=option.metavar, help=option.help
        )


def given_options(args: argparse.Namespace, options: Iterable[Option]) -> dict[str, object]:
    """The values of those options that were given."""
    return {o.name: getattr(args, o.name) for o in options if getattr(args, o.name) is not None}


def _add_unit_arguments(parser: argparse.ArgumentParser, form: UnitFormat) -> None:
    if form.unit_rate is not None:
        needed = ""
    else:
        needed = "; needed" if form.stated_rate is None else "; needed where the lines have none"
    parser.add_argument("--unit-rate", type=float, help=f"units per second{needed}", default=form.unit_rate)
    parser.add_argument(
        "--codebook-size",
        type=int,
        required=form.codebook_size is None,
        default=form.codebook_size,
        help="entries of the units' codebook" + " (default: %(default)s)" * (form.codebook_size is not None),
    )
    parser.add_argument("--codebook-fingerprint", metavar="TEXT", help="what identifies the codebook")


def _import_units(args: argparse.Namespace) -> int:
    form, rate = registry.UNIT_FORMATS[args.format], args.unit_rate
    files = base.source_files(args.src, form.patterns)
    if rate is None and form.stated_rate is not None:
        rate = form.stated_rate(files[0])
    if rate is None or not 0 < rate < HIGHEST_RATE:
        raise DataError(f"--unit-rate: {files[0]} does not say the number of units per second; give it, for example 25")
    if not 1 <= args.codebook_size <= 65536:
        raise DataError(
            f"--codebook-size {args.codebook_size}: must lie in 1..65536; give the number of different units"
        )
    tally = write.Tally()
    units = Units(rate, args.codebook_size, args.source, given_options(args, form.options), tally.note)
    on_bad = tally if args.skip_bad else base.stop
    utterances = form.read(files[0], units, on_bad)
    if len(files) > 1:
        utterances = base.unique(((str(file), u) for file in files for u in form.read(file, units, on_bad)), on_bad)
    origin = write.Origin(rate, args.codebook_size, args.codebook_fingerprint, f"import/{args.format}")
    return _write(args, utterances, origin, tally)


def _import_alignments(args: argparse.Namespace) -> int:
    form, tally = registry.ALIGNMENT_FORMATS[args.format], write.Tally()
    units = sources.open_records(args.units, "utterance")
    found = form.open(args.src, **given_options(args, form.options))
    utterances = alignments.paired(
        units,
        found,
        units.metadata.unit_rate,
        units.metadata.codebook_size,
        args.source,
        tally if args.skip_bad else base.stop,
        tally.note,
    )
    origin = write.Origin(
        units.metadata.unit_rate,
        units.metadata.codebook_size,
        units.metadata.codebook_fingerprint,
        f"import/{found.name}",
    )
    return _write(args, utterances, origin, tally)


def _write(args: argparse.Namespace, utterances: Iterable[Utterance], origin: write.Origin, tally: write.Tally) -> int:
    metadata = write.write_directory(_ticking(utterances), args.out, origin, tally, args.shard_records, args.overwrite)
    seconds = metadata.frames / origin.unit_rate
    print(
        f"{args.out}: {metadata.records} utterances, {metadata.words} words, {seconds / 3600:.2f} h, {tally.line()}; "
        f"{write.REPORT_NAME} says more"
    )
    return 0


def _ticking(utterances: Iterable[Utterance]) -> Iterator[Utterance]:
    return iter(tqdm.tqdm(utterances, desc="import", unit="utterance", disable=not sys.stderr.isatty()))
