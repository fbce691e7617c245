"""`lst prepare tokenizer`."""

import argparse
from collections.abc import Iterator

from lst_jax.cli.local_paths import path_or_address
from lst_jax.cli.prepare import arguments
from lst_jax.prepare import digests, fit, made, manifest


def add_arguments(parts) -> None:
    """See `lst_jax.cli.prepare.add_arguments`."""
    parser = arguments.add_part(parts, "tokenizer", _run, "train a SentencePiece tokenizer on texts or transcripts")
    arguments.add_manifest(parser, "text", "speech")
    parser.add_argument("--out", type=path_or_address, required=True, help="file to write (.model)")
    parser.add_argument("--size", type=int, required=True, help="pieces, the config's vocab.text_size")
    arguments.add_overwrite(parser, "the file")


def _run(args: argparse.Namespace) -> int:
    corpora = arguments.texts(args)

    def texts() -> Iterator[str]:
        return manifest.iter_texts(corpora)

    if not made.begin(args.out, {"size": args.size, "texts": digests.digest(texts())}, args.overwrite):
        print(f"{args.out}: was made from the same texts and settings; nothing to do")
        return 0
    fit.train_text_tokenizer(texts(), args.out, args.size, args.overwrite)
    print(f"{args.out}: {args.size} pieces")
    return 0
