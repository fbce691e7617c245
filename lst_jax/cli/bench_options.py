"""What the parts of `lst bench` share: their options, and how a part prints and writes what it measured."""

import argparse
import json
import sys

from lst_jax.cli.local_paths import free_text, output_or_address
from lst_jax.core.errors import DataError


def add_changes(parser: argparse.ArgumentParser) -> None:
    """Adds `--set`."""
    parser.add_argument(
        "--set",
        type=free_text,
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the recipe that is run, for example model.remat=full; may be repeated",
    )


def changes_of(args: argparse.Namespace) -> list[str]:
    """What `--set` and `--rows` change in a recipe."""
    if args.rows is None:
        return args.set
    check_count("rows", args.rows, 8)
    return [*args.set, f"data.rows={args.rows}"]


def add_outputs(parser: argparse.ArgumentParser, run) -> None:
    """Adds `--json` and `--markdown`, and the function that runs the part: args → exit code."""
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument(
        "--markdown",
        type=output_or_address,
        metavar="FILE",
        help="write them into this file's section as well: docs/results.md",
    )
    parser.set_defaults(run=run)


def check_count(option: str, value: int, usual: int) -> None:
    """Raises: DataError where the value of an option is below 1."""
    if value < 1:
        raise DataError(f"--{option} {value}: must be at least 1; use {usual}")


def report(args: argparse.Namespace, section: str, module, measured: dict, **options) -> int:
    """Prints what a module measured with these options, and writes its section where asked to.

    The command that is written down measures the same again: options at None, False or [] are left out of it.
    """
    from lst_jax.report import results_file

    command = ["bench", args.part]
    for key, value in {**options, "markdown": args.markdown}.items():
        if value is not None and value is not False and value != []:
            values = value if isinstance(value, list) else [] if value is True else [value]
            if key == "set":
                command += [word for one in values for word in ("--set", one)]
                continue
            command += [f"--{key}", *map(str, values)]
    origin = results_file.provenance(command, module.PACKAGES)
    if args.markdown:
        results_file.write_section(args.markdown, section, module.markdown(measured), origin)
        print(f"lst bench {args.part}: wrote {args.markdown}", file=sys.stderr)
    print(json.dumps({**measured, **origin}, indent=1) if args.json else module.markdown(measured))
    return 0
