"""`lst prepare tokenizer`."""

import argparse
from collections.abc import Iterator

from lst_jax.cli.local_paths import output_or_address
from lst_jax.cli.prepare import arguments
from lst_jax.prepare import digests, fit, made, manifest


def add_arguments(parts) -> None:
    """See `lst_jax.cli.prepare.add_arguments`."""
    parser = arguments.add_part(parts, "tokenizer", _run, "train a text tokenizer on texts or transcripts")
    arguments.add_manifest(parser, "text", "speech")
    parser.add_argument(
        "--out", type=output_or_address, required=True, help="file to write (.model, or .json for byte-level)"
    )
    parser.add_argument("--size", type=int, required=True, help="pieces, the config's vocab.text_size")
    parser.add_argument(
        "--kind",
        choices=fit.TOKENIZERS,
        default=next(iter(fit.TOKENIZERS)),
        help="sentencepiece: BPE as Llama 2 has it, BOS 1 and EOS 2; byte-level: BPE over bytes as GPT-2 has it, a "
        "tokenizer.json whose id 0 is <|endoftext|>, the config's vocab.bos_id and vocab.eos_id; it needs the extra "
        "tokenizers (default: %(default)s)",
    )
    arguments.add_overwrite(parser, "the file")


def _run(args: argparse.Namespace) -> int:
    corpora = arguments.texts(args)

    def texts() -> Iterator[str]:
        return manifest.iter_texts(corpora)

    settings = {"size": args.size, "texts": digests.digest(texts())}
    settings |= {} if args.kind == "sentencepiece" else {"kind": args.kind}
    if not made.begin(args.out, settings, args.overwrite):
        print(f"{args.out}: was made from the same texts and settings; nothing to do")
        return 0
    fit.train_text_tokenizer(texts(), args.out, args.size, args.overwrite, args.kind)
    print(f"{args.out}: {args.size} pieces")
    return 0
