"""The arguments and the actions of `lst fit`."""

import argparse
import json
import sys

from lst_jax.cli.local_paths import free_text, output_or_address, path_or_address
from lst_jax.core.errors import ConfigError, DataError

COLUMNS = {
    "loss": "the losses, of any name",
    "params": "N",
    "tokens": "D; without it, C / (6·N)",
    "flops": "C; without it, 6·N·D",
    "system": "the system of a run; without it, all runs are of one",
    "run": "the name of a run; without it, its line",
}
UNITS = ("params", "tokens", "flops")  # columns that may have one
LOSSES = {"text": ("text",), "speech": ("speech",), "both": ("text", "speech")}


def add_arguments(subparsers) -> None:
    """Registers the command on what `ArgumentParser.add_subparsers` returned; it sets `run`: args → exit code."""
    fit = subparsers.add_parser(
        "fit",
        help="fit scaling laws to runs, with 95%% intervals",
        description="Fits L(N, D) = E + A·N^-alpha + B·D^-beta, iso-FLOP parabolas and power laws of the best N and D "
        "to the losses of finished runs, for each system, and laws of all systems jointly; says how much "
        "more compute the reference needs for the same loss, and how gaps between systems grow with size. "
        "The command refuses a law that the runs do not determine, and says why. It reads the points.jsonl of lst report, "
        "and anyone's table of parameters, tokens or FLOPs, and a loss.",
    )
    fit.add_argument(
        "points",
        type=path_or_address,
        metavar="RUNS",
        help="a points.jsonl, or a table of anyone's runs in CSV, JSON lines or a JSON list: see docs/formats.md",
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
    fit.add_argument(
        "--at",
        nargs="+",
        default=[],
        metavar="C",
        type=_budget,
        help="budgets at which the compute-optimal N, D, tokens per parameter and loss are printed, as 1e20 1e21",
    )
    fit.add_argument(
        "--far",
        action="store_true",
        help="predict, and take budgets, beyond 3 times the largest run in N, D or C as well",
    )
    fit.add_argument(
        "--budget-tolerance",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="how far FLOPs of one iso-FLOP budget may lie from its middle (default: %(default)s)",
    )
    _add_columns(fit)
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
        type=output_or_address,
        metavar="DIR",
        help="write fit.json, fit.txt, the page fit.html and figures (PNG, SVG) into this folder",
    )
    fit.set_defaults(run=_fit)


def _add_columns(fit: argparse.ArgumentParser) -> None:
    """What a table of other people's runs may need said."""
    table = fit.add_argument_group(
        "tables of other people's runs", "Columns are found by usual names, such as params, tokens, flops and loss."
    )
    for what, help_text in COLUMNS.items():
        table.add_argument(f"--{what}-column", type=free_text, metavar="NAME", help=f"column of {help_text}")
    for what in UNITS:
        table.add_argument(
            f"--{what}-unit",
            type=_unit,
            metavar="UNIT",
            help=f"what multiplies the {what} column: K, M, B, T or a number",
        )
    table.add_argument("--decimal", choices=(".", ","), help="the decimal mark, where the cells do not tell")


def _unit(text: str) -> float:
    from lst_jax.laws import amounts

    try:
        return amounts.unit(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: is no unit; write K, M, B, T or a number such as 1e18") from None


def _budget(text: str) -> float:
    from lst_jax.laws import amounts

    try:
        value = amounts.amount(text, ".")
        if not 0 < value < float("inf"):
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number above 0; write FLOPs such as 1e21") from None
    return value


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


def _check(args: argparse.Namespace) -> None:
    if args.repeats < 100:
        raise ConfigError(f"--repeats {args.repeats}: must be at least 100, as the ends are quantiles; use 1000")
    if args.seed < 0:
        raise ConfigError(f"--seed {args.seed}: must not be negative; use 0")
    if not 0 < args.budget_tolerance <= 0.5:
        raise ConfigError(f"--budget-tolerance {args.budget_tolerance:g}: must be a share up to 0.5; use 0.05")


def _fit(args: argparse.Namespace) -> int:
    from lst_jax.laws import fit_page, fit_report
    from lst_jax.laws.columns import Columns
    from lst_jax.laws.fit_files import fit_files
    from lst_jax.storage.place import to_place

    _check(args)
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
        columns=Columns(
            **{name: getattr(args, f"{name}_column") for name in COLUMNS},
            **{f"{name}_unit": getattr(args, f"{name}_unit") for name in UNITS},
            decimal=args.decimal,
        ),
        budgets=args.at,
        tolerance=args.budget_tolerance,
        progress=sys.stderr.isatty(),
    )
    if out:
        written = [
            out / "fit.json",
            out / "fit.txt",
            fit_page.write_fit(out, document, pictures),
            *(path.with_name(path.name.removesuffix("png") + kind) for path, _ in pictures for kind in ("png", "svg")),
        ]
        print("lst fit: wrote " + ", ".join(map(str, written)), file=sys.stderr)
    print(json.dumps(document, indent=1, ensure_ascii=False) if args.json else fit_report.render(document))
    fits = document["fits"]
    if all("refused" in fit for fit in fits):
        reason = fits[0]["refused"] if fits else f"no run has a {' or '.join(LOSSES[args.loss])} loss"
        raise DataError(f"{args.points}: nothing could be fitted; the first reason: {reason}")
    return 0
