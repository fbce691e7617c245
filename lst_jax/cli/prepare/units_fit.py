"""`lst prepare units-fit`."""

import argparse
import sys

from lst_jax.cli.local_paths import output_or_address
from lst_jax.cli.prepare import arguments
from lst_jax.core.errors import DataError
from lst_jax.prepare import fit, made, recordings


def add_arguments(parts) -> None:
    """See `lst_jax.cli.prepare.add_arguments`."""
    parser = arguments.add_part(
        parts, "units-fit", _run, "fit the embedded speech-unit tokenizer (k-means over log-mel spectra)"
    )
    arguments.add_manifest(parser, "speech")
    parser.add_argument("--out", type=output_or_address, required=True, help="file to write (.safetensors)")
    parser.add_argument("--k", type=int, default=500, help="entries of the codebook (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of recordings and of k-means++")
    parser.add_argument(
        "--max-frames", type=int, default=fit.FIT_FRAMES, help="frames to look at (default: %(default)s)"
    )
    parser.add_argument(
        "--channel",
        metavar="NAME",
        help="channel of recordings that have several: 1, A or left, 2, B or right, …, or mean. The field channel of a "
        "line goes before it (default: channels that say different things are refused)",
    )
    arguments.add_workers(parser)
    arguments.add_overwrite(parser, "the file")


def _run(args: argparse.Namespace) -> int:
    for option, value, least in (("--k", args.k, 2), ("--seed", args.seed, 0), ("--max-frames", args.max_frames, 1)):
        if value < least:
            raise DataError(f"{option} {value}: must be at least {least}; use {least} or more")
    recordings.check_channel("--channel", args.channel)
    corpus = arguments.corpus(args, "speech")
    arguments.say_unused_fields(corpus)
    if corpus.is_small:
        corpus.checked_ids()
    identity = fit.fit_identity(corpus, args.k, args.seed, args.max_frames, args.channel)
    if not made.begin(args.out, identity, args.overwrite):
        print(f"{args.out}: was made from the same recordings and settings; nothing to do")
        return 0
    tokenizer, frames, rejected = fit.fit_units(
        corpus,
        args.out,
        args.k,
        args.seed,
        arguments.workers(args),
        args.max_frames,
        args.overwrite,
        progress=True,
        channel=args.channel,
    )
    print(
        f"{args.out}: {tokenizer.codebook_size} units at {tokenizer.unit_rate:g} Hz from {frames} frames, "
        f"fingerprint {tokenizer.fingerprint}, {len(rejected)} recordings rejected"
    )
    for rejection in rejected:
        print(f"rejected {rejection.id}: {rejection.reason}: {rejection.message}", file=sys.stderr)
    return 0
