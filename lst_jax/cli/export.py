"""`lst export`."""

import argparse
import glob
import itertools
import pathlib
import sys
from collections.abc import Callable, Container, Iterator, Mapping

import tqdm

from lst_jax.cli.local_paths import output_or_address, path_or_address
from lst_jax.core import files
from lst_jax.core.errors import DataError
from lst_jax.data import sources
from lst_jax.data.importers import base, registry, write
from lst_jax.data.importers.formats import Export
from lst_jax.data.records import Utterance
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

WRITTEN_TOGETHER = 64  # files of a folder; each takes a request where it lies in a bucket


def add_arguments(subparsers) -> None:
    """Adds the command to what `ArgumentParser.add_subparsers` returned. Each format sets `run`: args → exit code."""
    exporter = subparsers.add_parser(
        "export",
        help="write records as files of other programs",
        description="Writes directories of records as files of other programs.",
    )
    formats = exporter.add_subparsers(dest="format", required=True, metavar="FORMAT")
    for name, export in _exports().items():
        parser = formats.add_parser(name, help=export.what, description=f"Writes {export.what}.")
        parser.set_defaults(run=_export_lines if export.suffix is None else _export_tree)
        parser.add_argument("dir", type=path_or_address, metavar="DIR", help="directory of utterance records")
        metavar = "FILE" if export.suffix is None else "DIR"
        parser.add_argument("--out", type=output_or_address, required=True, metavar=metavar)
        parser.add_argument("--skip-bad", action="store_true", help="leave bad items out and count them; do not stop")
        parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser = formats.add_parser("tfds", help="a TFDS dataset", description="Writes a TFDS dataset, without TensorFlow.")
    parser.set_defaults(run=_export_tfds)
    parser.add_argument(
        "dir", type=path_or_address, nargs="+", metavar="SPLIT=DIR", help="directories of records of one kind"
    )
    parser.add_argument("--kind", choices=("utterance", "text"), default="utterance")
    parser.add_argument("--out", type=output_or_address, required=True, metavar="DIR", help="TFDS data_dir")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def _exports() -> dict[str, Export]:
    forms = [*registry.UNIT_FORMATS.values(), *registry.ALIGNMENT_FORMATS.values()]
    return {form.name: form.export for form in forms if form.export is not None}


def _export_lines(args: argparse.Namespace) -> int:
    records, tally = sources.open_records(args.dir, "utterance"), write.Tally()
    out = to_place(args.out)
    _check_new(out, args.overwrite)
    if isinstance(out, pathlib.Path):
        files.remove_leftovers(out.parent, glob.escape(out.name))
    form = _exports()[args.format].format
    with objects.filling(out) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for _, text in _formatted(args, records, form, tally):
            file.write(text)
    print(f"{out}: {len(records) - len(tally)} utterances, {tally.line()}")
    return _summary(tally)


def _export_tree(args: argparse.Namespace) -> int:
    """Writes a file for each utterance. Files that are there with the same text are kept: a killed export goes on."""
    records, tally = sources.open_records(args.dir, "utterance"), write.Tally()
    out = to_place(args.out)
    export = _exports()[args.format]
    if isinstance(out, pathlib.Path):
        files.remove_leftovers(out, f"**/*{export.suffix}")
    there = set() if args.overwrite else set(objects.sizes(out))
    formatted = _formatted(args, records, export.format, tally)
    while some := list(itertools.islice(formatted, WRITTEN_TOGETHER)):
        contents: dict[str, bytes] = {}
        for item_id, text in some:
            name = _file_name(args.dir, out, f"{item_id}{export.suffix}")
            if contents.setdefault(name, text.encode()) != text.encode():
                raise _holds_another(out / name)
        objects.write_many({out / name: contents[name] for name in _missing(out, contents, there)})
        there |= contents.keys()
    print(f"{out}: {len(records) - len(tally)} files, {tally.line()}")
    return _summary(tally)


def _file_name(directory: str, out: Place, name: str) -> str:
    """The name of a file in the folder `out`. Raises: DataError where it leads elsewhere."""
    path = pathlib.PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{directory}: {name}: the id leads out of {out}; change it, or export to another format")
    return path.as_posix()


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

    items = ((f"{args.dir}: {u.id}", u) for u in _ticking(records))
    return base.converted(items, convert, tally if args.skip_bad else base.stop)


def _summary(tally: write.Tally) -> int:
    for reason, examples in tally.examples.items():
        print(f"{tally.reasons[reason]} {reason}, such as {examples[0]}", file=sys.stderr)
    return 0


def _missing(out: Place, contents: Mapping[str, bytes], there: Container[str]) -> list[str]:
    """The names that are not in the folder; `there` are those in it. Raises: DataError where it holds something else."""
    found = [name for name in contents if name in there]
    for name, content in zip(found, objects.read_many([out / name for name in found]), strict=True):
        if content != contents[name]:
            raise _holds_another(out / name)
    return [name for name in contents if name not in there]


def _holds_another(place: Place) -> DataError:
    return DataError(f"{place}: is there already and holds something else; choose another folder or pass --overwrite")


def _check_new(path: Place, overwrite: bool) -> None:
    if objects.exists(path) and not overwrite:
        raise DataError(f"{path}: is there already; choose another name or pass --overwrite")


def _ticking(records: sources.RecordSource) -> Iterator[Utterance]:
    return iter(tqdm.tqdm(records, desc="export", unit="utterance", disable=not sys.stderr.isatty()))
