"""`lst prepare world`."""

import argparse

from lst_jax.cli.local_paths import output_or_address
from lst_jax.cli.prepare import arguments
from lst_jax.prepare.world import facts, write


def add_arguments(parts) -> None:
    """See `lst_jax.cli.prepare.add_arguments`."""
    parser = arguments.add_part(
        parts,
        "world",
        _run,
        "make up a small world, and write stories that tell its facts in text, in speech, in both or nowhere, and "
        "questions about all of them: manifests for `synthesise` and `text`, and tasks for `spoken-task`",
    )
    parser.add_argument(
        "--out", type=output_or_address, required=True, metavar="DIR", help="directory to make, or to finish"
    )
    parser.add_argument(
        "--people",
        type=int,
        default=facts.MOST,
        help=f"how many there are, each with a fact of each relation; a multiple of {facts.BLOCK}, best one of "
        "96 (default: %(default)s)",
    )
    parser.add_argument(
        "--relations",
        type=int,
        choices=facts.RELATIONS,
        default=facts.RELATIONS[-1],
        help="what may be true of people: food, animal, tool and home, or clothes, plant, gift and trade too (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--hours", type=float, default=24.0, help="of speech for training, about (default: %(default)s)"
    )
    parser.add_argument(
        "--text-times",
        type=float,
        default=3.0,
        metavar="N",
        help="words in the texts for training, as a multiple of the spoken words (default: %(default)s)",
    )
    parser.add_argument(
        "--items",
        type=int,
        default=1000,
        metavar="N",
        help="items of each kind for each of the four ways in which facts are told (default: %(default)s)",
    )
    parser.add_argument(
        "--list-share",
        type=float,
        default=write.LIST_SHARE,
        metavar="SHARE",
        help="of the documents are plain lists of facts; the others are stories, with twice the words per fact (default: "
        "%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the whole world (default: %(default)s)")
    arguments.add_overwrite(parser)


def _run(args: argparse.Namespace) -> int:
    settings = write.Settings(
        args.people, args.hours, args.text_times, args.items, args.seed, args.relations, args.list_share
    )
    report = write.write_world(args.out, settings, args.overwrite, progress=True)
    print("\n".join(report.lines()))
    return 0
