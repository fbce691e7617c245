"""`lst prepare units-convert`."""

import argparse

from lst_jax.cli.local_paths import output_or_address, path_or_address
from lst_jax.cli.prepare import arguments


def add_arguments(parts) -> None:
    """See `lst_jax.cli.prepare.add_arguments`."""
    parser = arguments.add_part(
        parts,
        "units-convert",
        _run,
        "give a HuBERT or wav2vec2 model the k-means or linear layer that makes its units: write units.safetensors "
        "into its directory, from k-means centroids or a linear quantizer of other programs",
    )
    parser.add_argument("model_dir", type=output_or_address, help="Hugging Face directory of the model (config.json)")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--centroids",
        type=path_or_address,
        metavar="FILE",
        help="k-means: .npy, .safetensors, or a scikit-learn pickle (.pkl, .bin, .joblib, ...)",
    )
    source.add_argument(
        "--linear",
        type=path_or_address,
        metavar="FILE",
        help="linear layer over units: .safetensors or a torch state dictionary (.pt, .pth)",
    )
    parser.add_argument("--layer", type=int, help="hidden state that it was fitted to (default: 11)")
    parser.add_argument("--blank", type=int, help="output of --linear that is no unit")
    parser.add_argument("--yes", action="store_true", help="read a pickle without asking: it runs code, so trust it")


def _run(args: argparse.Namespace) -> int:
    from lst_jax.prepare.acoustic import convert  # here alone: it imports JAX

    print(convert.write_quantizer(args.model_dir, args.centroids, args.linear, args.layer, args.blank, args.yes))
    return 0
