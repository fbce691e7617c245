"""`lst prepare synthesise`."""

import argparse
import sys

from lst_jax.cli.local_paths import output_or_address, path_or_address
from lst_jax.cli.prepare import arguments
from lst_jax.prepare import utterances
from lst_jax.prepare.synthesis import registry, synthesise


def add_arguments(parts) -> None:
    """See `lst_jax.cli.prepare.add_arguments`."""
    parser = arguments.add_part(
        parts,
        "synthesise",
        _run,
        "make recordings with word times from texts: audio, a manifest and a CTM file for `lst prepare speech`",
    )
    arguments.add_manifest(parser, "text")
    parser.add_argument(
        "--out", type=output_or_address, required=True, metavar="DIR", help="directory to make, or to finish"
    )
    parser.add_argument(
        "--synthesiser",
        type=path_or_address,
        default="espeak",
        metavar="NAME[:ARGUMENT]",
        help=f"one of {', '.join(sorted(registry.SYNTHESISERS))}, the last as kokoro:DIR (default: %(default)s)",
    )
    parser.add_argument(
        "--voice",
        action="append",
        metavar="VOICE",
        help="voice of the synthesiser, such as en-us, en-gb or en-us+f3; of several, each utterance "
        "has one drawn by its id; may be given several times",
    )
    parser.add_argument(
        "--words-min",
        type=int,
        default=utterances.WORDS_MIN,
        help="words that a document is cut to at least (default: %(default)s)",
    )
    parser.add_argument(
        "--words-max",
        type=int,
        default=utterances.WORDS_MAX,
        help="documents with more words are cut, where a sentence or a phrase ends if one does (default: %(default)s)",
    )
    arguments.add_workers(parser)
    arguments.add_overwrite(parser)


def _run(args: argparse.Namespace) -> int:
    synthesiser, workers = registry.load_synthesiser(args.synthesiser), arguments.workers(args)
    spoken, bad = utterances.of_corpus(arguments.corpus(args, "text"), args.words_min, args.words_max)
    for item in bad:
        print(f"left out: {item.message}", file=sys.stderr)
    report = synthesise.synthesise(
        spoken,
        args.out,
        synthesiser,
        args.voice or synthesiser.voices,
        workers,
        args.overwrite,
        progress=True,
    )
    print(report.line())
    return 0
