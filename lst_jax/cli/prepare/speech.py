"""`lst prepare speech`."""

import argparse
import math
from typing import Any

from lst_jax.cli.import_ import add_option, given_options
from lst_jax.cli.local_paths import path_or_address
from lst_jax.cli.prepare import arguments
from lst_jax.core.errors import DataError
from lst_jax.data.importers import registry as formats
from lst_jax.data.importers.formats import Option
from lst_jax.prepare import pronounce, recordings, run
from lst_jax.prepare.aligners import fit, pocket_sphinx, registry


def add_arguments(parts) -> None:
    """See `lst_jax.cli.prepare.add_arguments`."""
    parser = arguments.add_part(parts, "speech", _run, "make utterance records: speech units and aligned words")
    arguments.add_manifest(parser, "speech")
    parser.add_argument(
        "--units",
        type=path_or_address,
        required=True,
        metavar="PATH",
        help="unit tokenizer (.safetensors) made by units-fit, or the directory of a HuBERT or "
        "wav2vec2 model with units.safetensors, made by units-convert",
    )
    parser.add_argument(
        "--aligner",
        type=path_or_address,
        default=pocket_sphinx.EMBEDDED,
        metavar="SPEC",
        help=f"{pocket_sphinx.EMBEDDED} (the default), the directory of a HuBERT or wav2vec2 model with a CTC "
        f"head, or words from files: {', '.join(f'{name}:PATH' for name in formats.ALIGNMENT_FORMATS)}",
    )
    parser.add_argument(
        "--channel",
        metavar="NAME",
        help="channel of recordings that have several: 1, A or left, 2, B or right, …, or mean; of a CTM file as well. "
        "The field channel of a line goes before it (default: whose the aligner's words are)",
    )
    for option in _format_options():
        add_option(parser, option)
    parser.add_argument(
        "--pronunciations",
        type=path_or_address,
        metavar="FILE",
        help="lines of a word and its phones, for words the aligner's dictionary lacks",
    )
    parser.add_argument(
        "--least-score",
        type=float,
        help="reject alignments below this mean log-likelihood a frame, of a model a character "
        f"(default: {pocket_sphinx.LEAST_SCORE} for {pocket_sphinx.EMBEDDED}, {fit.CTC_LEAST_SCORE:g} for models)",
    )
    parser.add_argument(
        "--most-outside",
        type=float,
        metavar="SECONDS",
        help=f"{pocket_sphinx.EMBEDDED} rejects alignments with more speech than this outside all words, or "
        f"for each {pocket_sphinx.OUTSIDE_EACH_SEC:g} s of a longer recording "
        f"(default: {pocket_sphinx.MOST_OUTSIDE_SEC})",
    )
    parser.add_argument(
        "--any-language",
        action="store_true",
        help=f"let {pocket_sphinx.EMBEDDED} align recordings that their corpus says are not in English, too",
    )
    parser.add_argument("--source", help="name of the corpus, written into every record")
    arguments.add_workers(parser)
    arguments.add_directory(parser)
    arguments.add_engine(parser)


def _format_options() -> list[Option]:
    """The options of all alignment formats, each once: `--aligner NAME:PATH` reads them."""
    options = {option.name: option for form in formats.ALIGNMENT_FORMATS.values() for option in form.options}
    return [option for name, option in options.items() if name != "channel"]  # it is of the recordings as well


def _aligner_options(args: argparse.Namespace) -> dict[str, Any]:
    options, spec = given_options(args, _format_options()), args.aligner.partition(":")[0]
    if args.channel not in (None, recordings.MEAN) and spec in formats.formats_with("channel"):
        options["channel"] = args.channel
    return options


def _run(args: argparse.Namespace) -> int:
    arguments.check_share(args)
    for option, value in (("--least-score", args.least_score), ("--most-outside", args.most_outside)):
        if value is not None and not math.isfinite(value):
            raise DataError(f"{option} {value}: must be a number; leave it out for the usual one")
    if args.most_outside is not None and args.most_outside < 0:
        raise DataError(
            f"--most-outside {args.most_outside}: must be at least 0 seconds; leave it out for the usual one"
        )
    recordings.check_channel("--channel", args.channel)
    if args.dry_run:
        return arguments.dry_run(args, "speech")
    pronunciations = pronounce.read_pronunciations(args.pronunciations) if args.pronunciations else None
    aligner = registry.load_aligner(
        args.aligner,
        args.least_score,
        pronunciations,
        _aligner_options(args),
        args.most_outside,
        args.any_language,
    )
    engine = arguments.engine(args, arguments.workers(args))
    corpus = arguments.corpus(args, "speech")
    arguments.say_unused_fields(corpus)
    report = run.prepare_speech(
        corpus,
        args.out,
        args.units,
        aligner,
        engine,
        args.shard_records,
        args.source,
        args.overwrite,
        args.max_rejected,
        progress=True,
        channel=args.channel,
        shard_mb=args.shard_mb,
    )
    print(report.line())
    return 0
