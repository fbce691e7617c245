"""Refuses addresses such as `gs://bucket/folder` where a command cannot take one.

Every word of every command is held to be a name or a setting. An argument that takes something else says so by its
type: `parser.add_argument("--out", type=output_or_address)`. What is to be written is also checked here, before any work.
"""

import argparse
import dataclasses
from collections.abc import Iterator

from lst_jax.core import paths
from lst_jax.storage import bucket, place


def free_text(text: str) -> str:
    """Type of an argument whose value is no path, or has rules of its own for addresses."""
    return text


def path_or_address(text: str) -> str:
    """Type of an argument that names a file or a folder, or holds the name of one, here or at an address."""
    return text


def output_or_address(text: str) -> str:
    """Type of an argument that names a file or a folder to be written, here or at an address."""
    return text


def run_or_address(text: str) -> str:
    """Type of an argument that names a run, or a folder that may lie in gs:// as runs do, and nowhere else."""
    return text


@dataclasses.dataclass(frozen=True)
class LocalOnly:
    """Type of an argument that names a file or a folder of this machine alone. `reason` says why, for the message."""

    reason: str

    def __call__(self, text: str) -> str:
        """The value."""
        return text


NOT_LOCAL = (free_text, path_or_address, output_or_address, run_or_address)


def refuse_addresses(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Checks the words of a command before it does anything.

    Raises: ConfigError that names the argument.
    """
    for action in actions_of(parser, args):
        value = getattr(args, action.dest, None)
        for word in value if isinstance(value, list) else [value]:
            if isinstance(word, str):
                _check(action, word)


def _check(action: argparse.Action, word: str) -> None:
    if action.type is output_or_address:
        bucket.check_writable(name_of(action), word)
    elif action.type is run_or_address:
        place.to_run_place(word)
    elif action.type not in NOT_LOCAL:
        paths.check_local(name_of(action), word, _rule(action))


def _rule(action: argparse.Action) -> str:
    if isinstance(action.type, LocalOnly):
        return f"must be a path of this machine, {action.type.reason}; give one"
    return "is an address, where a name or a setting is wanted; correct it"


def actions_of(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Iterator[argparse.Action]:
    """The arguments of a parser and of the subcommands that `args` names."""
    for action in parser._actions:  # argparse has no public way to list them
        if not isinstance(action, argparse._SubParsersAction):
            yield action
        elif getattr(args, action.dest) in action.choices:
            yield from actions_of(action.choices[getattr(args, action.dest)], args)


def name_of(action: argparse.Action) -> str:
    """What a user calls the argument. Example: "--out", "RUN"."""
    return action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)
