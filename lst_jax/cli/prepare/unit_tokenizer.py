"""`lst prepare unit-tokenizer`."""

import argparse

from lst_jax.cli.local_paths import output_or_address, path_or_address
from lst_jax.cli.prepare import arguments
from lst_jax.prepare import made, unit_tokenizer


def add_arguments(parts) -> None:
    """See `lst_jax.cli.prepare.add_arguments`."""
    parser = arguments.add_part(
        parts,
        "unit-tokenizer",
        _run,
        "train a SentencePiece BPE model over the speech units of records, for a run's data.unit_tokenizer",
    )
    parser.add_argument(
        "--data",
        type=path_or_address,
        required=True,
        action="append",
        metavar="DIR",
        help="directory of utterance records; may be given several times",
    )
    parser.add_argument(
        "--size",
        type=int,
        default=unit_tokenizer.SIZE,
        help="pieces, every unit among them; the config's vocab.unit_slots (default: %(default)s)",
    )
    parser.add_argument(
        "--sequences",
        type=int,
        default=unit_tokenizer.SEQUENCES,
        help="utterances to train on at most, drawn by --seed (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the choice of utterances (default: %(default)s)")
    parser.add_argument("--out", type=output_or_address, required=True, help="file to write (.model)")
    arguments.add_overwrite(parser, "the file")


def _run(args: argparse.Namespace) -> int:
    directories, codebook = unit_tokenizer.open_speech(args.data)
    unit_tokenizer.check_settings(args.size, args.sequences, codebook)
    inputs = unit_tokenizer.identity(directories, codebook, args.size, args.sequences, args.seed)
    if not made.begin(args.out, inputs, args.overwrite):
        print(f"{args.out}: was made from the same records and settings; nothing to do")
        return 0
    trained = unit_tokenizer.train(directories, codebook, args.out, args.size, args.sequences, args.seed, progress=True)
    print(
        f"{args.out}: {len(trained.pieces)} pieces of {codebook}, trained on {trained.utterances} of "
        f"{sum(map(len, directories))} utterances; there a piece stands for {trained.mean_frames:.2f} frames on "
        "average"
    )
    return 0
