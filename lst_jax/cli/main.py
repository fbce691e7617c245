"""The `lst` command: one parser, one line per mistake, and imports of only what the subcommand needs."""

import argparse
import functools
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from lst_jax import __version__
from lst_jax.cli import local_paths
from lst_jax.core import console, leaving, limits
from lst_jax.core.errors import RESTART_EXIT_CODE, ConfigError, PeerError, StorageError, UserError, shortened
from lst_jax.storage import at_hand

BEGAN = time.monotonic()  # about the start of the process: what takes long to import comes later


def _train(subparsers) -> None:
    from lst_jax.cli import train

    train.add_arguments(subparsers)


def _report(subparsers) -> None:
    from lst_jax.cli import report

    report.add_arguments(subparsers)


def _prepare(subparsers) -> None:
    from lst_jax.cli import prepare

    prepare.add_arguments(subparsers)


def _inspect(subparsers) -> None:
    from lst_jax.cli import inspect

    inspect.add_arguments(subparsers)


def _import(subparsers) -> None:
    from lst_jax.cli import import_

    import_.add_arguments(subparsers)


def _export(subparsers) -> None:
    from lst_jax.cli import export

    export.add_arguments(subparsers)


def _plan(subparsers) -> None:
    from lst_jax.cli import plan

    plan.add_arguments(subparsers)


def _launch(subparsers) -> None:
    from lst_jax.cli import launch

    launch.add_arguments(subparsers)


def _fit(subparsers) -> None:
    from lst_jax.cli import fit

    fit.add_arguments(subparsers)


def _sweep(subparsers) -> None:
    from lst_jax.cli import sweep

    sweep.add_arguments(subparsers)


def _evaluate(subparsers) -> None:
    from lst_jax.cli import evaluate

    evaluate.add_arguments(subparsers)


def _generate(subparsers) -> None:
    from lst_jax.cli import generate

    generate.add_arguments(subparsers)


def _convert(subparsers) -> None:
    from lst_jax.cli import convert

    convert.add_arguments(subparsers)


def _doctor(subparsers) -> None:
    from lst_jax.cli import doctor

    doctor.add_arguments(subparsers)


def _bench(subparsers) -> None:
    from lst_jax.cli import bench

    bench.add_arguments(subparsers)


# Each subcommand's arguments are imported only when the command is run: `lst train --help` must not wait for SciPy.
COMMANDS: dict[str, Callable[[argparse._SubParsersAction], None]] = {
    "prepare": _prepare,
    "inspect": _inspect,
    "import": _import,
    "export": _export,
    "plan": _plan,
    "train": _train,
    "report": _report,
    "evaluate": _evaluate,
    "generate": _generate,
    "convert": _convert,
    "launch": _launch,
    "sweep": _sweep,
    "fit": _fit,
    "doctor": _doctor,
    "bench": _bench,
}


def main(argv: list[str] | None = None) -> int:
    """Runs one subcommand; returns the exit code (see `lst_jax.core.errors`).

    Work goes on where nobody reads standard output or error any more. Output that a full disk took is an error, but
    not for training, whose result is the run. Without `argv` this is the process of the `lst` command: it ends within
    seconds after an error, although libraries may keep threads that do not end, as those of a write that hangs.
    """
    is_process = argv is None
    argv = sys.argv[1:] if argv is None else argv
    with console.safe_console() as output, limits.many_open_files():
        args = parse(argv)
        try:
            code = args.run(args)
        except UserError as error:
            code = report_mistake(args.command, error)
        except KeyboardInterrupt:
            print(f"lst {args.command}: interrupted; run the same command to go on", file=sys.stderr)
            code = 130
        except Exception:
            if is_process:
                leaving.exit_soon(leaving.FAILED)
            raise
        finally:
            at_hand.remove_copies()
        cause = console.write_failed(output)
        if code == 0 and cause and args.command != "train":
            print(f"lst: standard output: cannot write ({cause}); choose another place for it", file=sys.stderr)
            code = StorageError.exit_code
        if is_process and code not in (0, RESTART_EXIT_CODE):  # with these, processes of a job wait for each other
            leaving.say_no_more()
            leaving.exit_soon(code)
        return code


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments. An address in the place of a local path becomes a mistake that `run` raises."""
    parser = build_parser(argv[0] if argv else "")
    args = parser.parse_args(argv)
    args.began = BEGAN
    try:
        check_characters(argv)
        local_paths.refuse_addresses(parser, args)
    except UserError as error:
        args.run = functools.partial(_raise, error)
    return args


def check_characters(argv: list[str]) -> None:
    """Refuses words that the system's encoding cannot read. Raises: ConfigError."""
    for word in argv:
        if any("\ud800" <= character <= "\udfff" for character in word):
            raise ConfigError(f"{word}: is not text in UTF-8; correct the word, or set a UTF-8 locale (LC_ALL=C.UTF-8)")


class OneLineParser(argparse.ArgumentParser):
    """A parser whose mistakes are one line; argparse prints the usage as well, which may fill the screen."""

    def error(self, message: str) -> NoReturn:
        """Ends the process with code 2."""
        self.exit(2, f"{console.printable(f'{self.prog}: {message}')}; see `{self.prog} --help`\n")


def report_mistake(command: str, error: UserError) -> int:
    """Prints the one line of a mistake; returns its exit code. Leaves at once where another process is gone."""
    line = f"lst {command}: {shortened(console.printable(at_hand.as_given(str(error))))}"
    if isinstance(error, PeerError):
        at_hand.remove_copies()
        leaving.exit_at_once(error.exit_code, line)
    print(line, file=sys.stderr)
    return error.exit_code


def _raise(error: UserError, args: argparse.Namespace) -> int:
    raise error


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """The parser of `command`, or of all commands if `command` is none of them."""
    parser = OneLineParser(prog="lst", description="Pre-train Latent Speech-Text Transformers.")
    parser.add_argument("--version", action="version", version=f"lst {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add_arguments in [COMMANDS[command]] if command in COMMANDS else dict.fromkeys(COMMANDS.values()):
        add_arguments(subparsers)
    return parser
