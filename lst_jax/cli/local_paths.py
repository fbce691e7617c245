"""Refuses addresses such as `gs://bucket/folder` where a command takes paths of this machine.

Every word of every command is held to be local. An argument that takes something else says so by its type:
`parser.add_argument("--text", type=free_text)`.
"""

import argparse
from collections.abc import Iterator

from lst_jax.core import paths


def free_text(text: str) -> str:
    """Type of an argument whose value is no path, or has rules of its own for addresses."""
    return text


def path_or_address(text: str) -> str:
    """Type of an argument that names records, which may lie at an address that fsspec knows."""
    return text


def run_or_address(text: str) -> str:
    """Type of an argument that names a run, or a folder that may lie in gs:// as runs do."""
    return text


NOT_LOCAL = (free_text, path_or_address, run_or_address)


def refuse_addresses(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Checks the words of a command before it does anything.

    Raises: ConfigError that names the argument.
    """
    for action in actions_of(parser, args):
        if action.type in NOT_LOCAL or not hasattr(args, action.dest):
            continue
        value = getattr(args, action.dest)
        for word in value if isinstance(value, list) else [value]:
            if hasattr(word, "__fspath__") or isinstance(word, str):
                paths.check_local(name_of(action), word)


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
