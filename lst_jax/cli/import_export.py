"""The arguments and the actions of `lst import` and `lst export`."""

import argparse
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator

import tqdm

from lst_jax.cli.local_paths import path_or_address
from lst_jax.core import files
from lst_jax.core.errors import DataError
from lst_jax.data import sources
from lst_jax.data.importers import (
    alignments,
    base,
    ctm,
    librispeech,
    lst_release,
    moshi,
    slamkit,
    textgrid,
    unit_lines,
    write,
)
from lst_jax.data.records import Utterance

UNIT_FORMATS = {
    "lst": "the LST release's .on_the_fly lines",
    "slamkit": "slamkit's features.jsonl",
    "units": "JSON lines of id, units and words in seconds",
}
ALIGNMENT_FORMATS: dict[str, tuple[str, Callable[[argparse.Namespace], alignments.AlignmentFile]]] = {
    "moshi": ("moshi-finetune's .json files", lambda args: moshi.open_alignments(args.src, args.speaker)),
    "textgrid": ("a tree of Praat TextGrids", lambda args: textgrid.open_alignments(args.src, args.tier)),
    "ctm": ("a CTM file", lambda args: ctm.open_alignments(args.src, args.channel)),
    "librispeech": (
        "a tree of .alignment.txt files",
        lambda args: librispeech.open_alignments(args.src, args.keep_case),
    ),
}
LINE_EXPORTS: dict[str, tuple[str, Callable[[Utterance, float], str]]] = {
    "lst": ("one .on_the_fly file", lambda utterance, rate: lst_release.format_line(utterance) + "\n"),
    "slamkit": ("one features.jsonl", lambda utterance, rate: slamkit.format_line(utterance, rate) + "\n"),
    "units": (
        "one JSON-lines file, nothing is lost",
        lambda utterance, rate: unit_lines.format_line(utterance, rate) + "\n",
    ),
    "ctm": ("one CTM file", ctm.format_lines),
    "librispeech": ("one .alignment.txt", lambda utterance, rate: librispeech.format_line(utterance, rate) + "\n"),
}
TREE_EXPORTS: dict[str, tuple[str, str, Callable[[Utterance, float], str]]] = {
    "moshi": ("a folder of ID.json", ".json", moshi.format_file),
    "textgrid": ("a folder of ID.TextGrid", textgrid.SUFFIX, textgrid.format_file),
}


def add_arguments(subparsers) -> None:
    """Registers both commands on what `ArgumentParser.add_subparsers` returned; each sets `run`: args → exit code."""
    importer = subparsers.add_parser(
        "import",
        help="make records from files of other programs",
        description="Makes a directory of utterance records from files of other programs.",
    )
    formats = importer.add_subparsers(dest="format", required=True, metavar="FORMAT")
    for name, what in UNIT_FORMATS.items():
        parser = _import_parser(formats, name, what, _import_units)
        needed = "" if name == "lst" else "; needed" if name == "slamkit" else "; needed where the lines have none"
        parser.add_argument(
            "--unit-rate",
            type=float,
            help=f"units per second{needed}",
            default=lst_release.UNIT_RATE if name == "lst" else None,
        )
        parser.add_argument(
            "--codebook-size",
            type=int,
            required=name != "lst",
            default=lst_release.CODEBOOK_SIZE,
            help="entries of the units' codebook" + " (default: %(default)s)" * (name == "lst"),
        )
        parser.add_argument("--codebook-fingerprint", metavar="TEXT", help="what identifies the codebook")
    formats.choices["slamkit"].add_argument("--meta", metavar="DIR", help="folder of NAME.json files with aligned_text")
    for name, (what, _) in ALIGNMENT_FORMATS.items():
        parser = _import_parser(formats, name, f"{what}, words for units from elsewhere", _import_alignments)
        parser.add_argument(
            "--units",
            type=path_or_address,
            required=True,
            metavar="DIR",
            help="records with the units (their own words are replaced); matched by id",
        )
    formats.choices["moshi"].add_argument(
        "--speaker", default=moshi.MAIN_SPEAKER, help="whose words (default: %(default)s)"
    )
    formats.choices["textgrid"].add_argument("--tier", help="tier with the words (default: words)")
    formats.choices["ctm"].add_argument("--channel", help="channel to read")
    formats.choices["librispeech"].add_argument("--keep-case", action="store_true", help="words stay in upper case")
    _add_export(subparsers)


def _import_parser(formats, name: str, what: str, action: Callable) -> argparse.ArgumentParser:
    parser = formats.add_parser(name, help=what, description=f"Reads {what}.")
    parser.set_defaults(run=action)
    parser.add_argument("src", metavar="SRC", help="file or folder to read")
    parser.add_argument("--out", required=True, metavar="DIR", help="directory to make")
    parser.add_argument("--source", metavar="NAME", help="name of the corpus, written into every record")
    parser.add_argument("--shard-records", type=int, default=write.SHARD_RECORDS, help="default: %(default)s")
    _common_arguments(parser)
    return parser


def _add_export(subparsers) -> None:
    exporter = subparsers.add_parser(
        "export",
        help="write records as files of other programs",
        description="Writes directories of records as files of other programs.",
    )
    formats = exporter.add_subparsers(dest="format", required=True, metavar="FORMAT")
    for exports, action in ((LINE_EXPORTS, _export_lines), (TREE_EXPORTS, _export_tree)):
        for name, (what, *_) in exports.items():
            parser = formats.add_parser(name, help=what, description=f"Writes {what}.")
            parser.set_defaults(run=action)
            parser.add_argument("dir", type=path_or_address, metavar="DIR", help="directory of utterance records")
            parser.add_argument("--out", required=True, metavar="FILE" if exports is LINE_EXPORTS else "DIR")
            _common_arguments(parser)
    parser = formats.add_parser("tfds", help="a TFDS dataset", description="Writes a TFDS dataset, without TensorFlow.")
    parser.set_defaults(run=_export_tfds)
    parser.add_argument(
        "dir", type=path_or_address, nargs="+", metavar="SPLIT=DIR", help="directories of records of one kind"
    )
    parser.add_argument("--kind", choices=("utterance", "text"), default="utterance")
    parser.add_argument("--out", required=True, metavar="DIR", help="TFDS data_dir")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def _common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--skip-bad", action="store_true", help="leave bad items out and count them; do not stop")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def _import_units(args: argparse.Namespace) -> int:
    rate = args.unit_rate
    if rate is None and args.format == "units":
        rate = unit_lines.first_rate(args.src)
    if rate is None or not rate > 0:
        raise DataError(f"--unit-rate: {args.src} does not say how many units a second has; give it, for example 25")
    if not 1 <= args.codebook_size <= 65536:
        raise DataError(
            f"--codebook-size {args.codebook_size}: must lie in 1..65536; give the number of different units"
        )
    tally = write.Tally()
    on_bad = tally if args.skip_bad else base.stop
    if args.format == "lst":
        utterances = lst_release.read(args.src, args.codebook_size, args.source, on_bad)
    elif args.format == "slamkit":
        utterances = slamkit.read(args.src, rate, args.codebook_size, args.source, args.meta, on_bad)
    else:
        utterances = unit_lines.read(args.src, rate, args.codebook_size, args.source, on_bad)
    origin = write.Origin(rate, args.codebook_size, args.codebook_fingerprint, f"import/{args.format}")
    return _write(args, utterances, origin, tally)


def _import_alignments(args: argparse.Namespace) -> int:
    units = sources.open_records(args.units, "utterance")
    found = ALIGNMENT_FORMATS[args.format][1](args)
    tally = write.Tally()
    utterances = alignments.paired(
        units,
        found,
        units.metadata.unit_rate,
        units.metadata.codebook_size,
        args.source,
        tally if args.skip_bad else base.stop,
    )
    origin = write.Origin(
        units.metadata.unit_rate,
        units.metadata.codebook_size,
        units.metadata.codebook_fingerprint,
        f"import/{found.name}",
    )
    return _write(args, utterances, origin, tally)


def _write(args: argparse.Namespace, utterances: Iterable[Utterance], origin: write.Origin, tally: write.Tally) -> int:
    metadata = write.write_directory(
        _ticking(utterances, "import"), args.out, origin, tally, args.shard_records, args.overwrite
    )
    seconds = metadata.frames / origin.unit_rate
    print(
        f"{args.out}: {metadata.records} utterances, {metadata.words} words, {seconds / 3600:.2f} h, {tally.line()}; "
        f"{write.REPORT_NAME} says more"
    )
    return 0


def _export_lines(args: argparse.Namespace) -> int:
    records, tally = sources.open_records(args.dir, "utterance"), write.Tally()
    out = pathlib.Path(args.out)
    _check_new(out, args.overwrite)
    form = LINE_EXPORTS[args.format][1]
    with files.replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for _, text in _formatted(args, records, form, tally):
            file.write(text)
    print(f"{out}: {len(records) - len(tally)} utterances, {tally.line()}")
    return _summary(tally)


def _export_tree(args: argparse.Namespace) -> int:
    records, tally = sources.open_records(args.dir, "utterance"), write.Tally()
    out = pathlib.Path(args.out)
    _, suffix, form = TREE_EXPORTS[args.format]
    for name, text in _formatted(args, records, form, tally):
        path = out / f"{name}{suffix}"
        if pathlib.PurePosixPath(name).is_absolute() or ".." in pathlib.PurePosixPath(name).parts:
            raise DataError(f"{args.dir}: {name}: the id leads out of {out}; change it, or export to another format")
        _check_new(path, args.overwrite)
        files.write_text(path, text)
    print(f"{out}: {len(records) - len(tally)} files, {tally.line()}")
    return _summary(tally)


def _export_tfds(args: argparse.Namespace) -> int:
    from lst_jax.data.importers.tfds_export import write_tfds

    splits = {}
    for rule in args.dir:
        split, equals, path = rule.partition("=")
        if not (equals and split.isidentifier() and path) or split in splits:
            raise DataError(f"{rule}: must be SPLIT=DIR, each split once; write for example train=data/train/speech")
        splits[split] = sources.open_records(path, args.kind)
    print(write_tfds(splits, args.out, args.overwrite, progress=sys.stderr.isatty()))
    return 0


def _formatted(
    args: argparse.Namespace, records: sources.RecordSource, form: Callable[[Utterance, float], str], tally: write.Tally
) -> Iterator[tuple[str, str]]:
    """(id, text) of the records that the format can hold."""

    def convert(utterance: Utterance) -> tuple[str, str]:
        return utterance.id, form(utterance, records.metadata.unit_rate)

    items = ((f"{args.dir}: {u.id}", u) for u in _ticking(records, "export"))
    return base.converted(items, convert, tally if args.skip_bad else base.stop)


def _summary(tally: write.Tally) -> int:
    for reason, examples in tally.examples.items():
        print(f"{tally.reasons[reason]} {reason}, such as {examples[0]}", file=sys.stderr)
    return 0


def _check_new(path: pathlib.Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise DataError(f"{path}: is there already; choose another name or pass --overwrite")


def _ticking(utterances: Iterable[Utterance], what: str) -> Iterator[Utterance]:
    return iter(tqdm.tqdm(utterances, desc=what, unit="utterance", disable=not sys.stderr.isatty()))
