"""The arguments and the actions of `lst fit`."""

import argparse
import json
import sys

from lst_jax.cli.local_paths import path_or_address
from lst_jax.core.errors import ConfigError, DataError

LOSSES = {"text": ("text",), "speech": ("speech",), "both": ("text", "speech")}


def add_arguments(subparsers) -> None:
    """Registers the command on what `ArgumentParser.add_subparsers` returned; it sets `run`: args → exit code."""
    fit = subparsers.add_parser(
        "fit",
        help="fit scaling laws to runs, with 95%% intervals",
        description="Fits L(N, D) = E + A·N^-alpha + B·D^-beta, iso-FLOP parabolas and power laws of the best N and D "
        "to the losses of finished runs, for each system, and laws of all systems jointly; says how much "
        "more compute the reference needs for the same loss, and how gaps between systems grow with size. "
        "The command refuses a law that the runs do not determine, and says why.",
    )
    fit.add_argument(
        "points", type=path_or_address, metavar="POINTS.jsonl", help="one JSON object per run: see docs/formats.md"
    )
    fit.add_argument("--system", action="append", metavar="NAME", help="only this one; may be repeated")
    fit.add_argument("--loss", choices=LOSSES, default="both", help="(default: %(default)s)")
    fit.add_argument(
        "--predict",
        nargs="+",
        default=[],
        metavar="N,D",
        type=_pair,
        help="the law's loss of N parameters trained on D tokens, as 7e9,1.4e11",
    )
    fit.add_argument("--far", action="store_true", help="predict beyond 3 times the largest run in N, D or C as well")
    fit.add_argument(
        "--cost",
        choices=("flops", "seconds"),
        default="flops",
        help="what C is: FLOPs, or the seconds that the runs trained for, to compare systems at equal time; pictures are "
        "drawn of FLOPs alone (default: %(default)s)",
    )
    fit.add_argument("--repeats", type=int, default=1000, help="of the bootstrap (default: %(default)s)")
    fit.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    fit.add_argument("--json", action="store_true", help="print fit.json")
    fit.add_argument(
        "--out",
        type=path_or_address,
        metavar="DIR",
        help="write fit.json, fit.txt and figures (PNG, SVG) into this folder",
    )
    fit.set_defaults(run=_fit)


def _pair(text: str) -> tuple[float, float]:
    try:
        parameters, tokens = map(float, text.split(","))
        if not (0 < parameters < float("inf") and 0 < tokens < float("inf")):
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: must be two numbers above 0; write N,D such as 7e9,1.4e11"
        ) from None
    return parameters, tokens


def _fit(args: argparse.Namespace) -> int:
    from lst_jax.laws import fit_report
    from lst_jax.laws.fit_files import fit_files
    from lst_jax.storage.place import to_place

    if args.repeats < 100:
        raise ConfigError(f"--repeats {args.repeats}: must be at least 100, as the ends are quantiles; use 1000")
    if args.seed < 0:
        raise ConfigError(f"--seed {args.seed}: must not be negative; use 0")
    out = to_place(args.out) if args.out else None
    document, pictures = fit_files(
        to_place(args.points),
        out,
        LOSSES[args.loss],
        args.repeats,
        args.seed,
        args.predict,
        systems=args.system,
        far=args.far,
        cost=args.cost,
        progress=sys.stderr.isatty(),
    )
    if out:
        written = [
            out / "fit.json",
            out / "fit.txt",
            *(path.with_name(path.name.removesuffix("png") + kind) for path, _ in pictures for kind in ("png", "svg")),
        ]
        print("lst fit: wrote " + ", ".join(map(str, written)), file=sys.stderr)
    print(json.dumps(document, indent=1, ensure_ascii=False) if args.json else fit_report.render(document))
    fits = document["fits"]
    if all("refused" in fit for fit in fits):
        reason = fits[0]["refused"] if fits else f"no run has a {' or '.join(LOSSES[args.loss])} loss"
        raise DataError(f"{args.points}: nothing could be fitted; the first reason: {reason}")
    return 0
