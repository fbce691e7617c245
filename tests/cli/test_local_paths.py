"""Which arguments take an address such as gs://bucket/folder: none takes it for a folder of this machine."""

import argparse
import contextlib
import functools
import pathlib

import pytest

from lst_jax.cli import local_paths
from lst_jax.cli.main import build_parser, main
from lst_jax.core import files
from lst_jax.core.errors import ConfigError
from lst_jax.core.paths import check_local, is_address
from lst_jax.prepare.corpora import choose

ADDRESS = "gs://bucket/folder"
# What takes no address, by option, or by command and option; everything else does.
REFUSED = {
    "--against": "the label of a system",
    "--band": "the name of a band",
    "--channel": "which channel of a recording",
    "--codebook-fingerprint": "a text that identifies a codebook",
    "--coordinator": "a host and a port",
    "--directions": "names of modalities",
    "--layout": "the name of a layout",
    "--name": "the name of a job",
    "--only": "the name of a task",
    "--section": "a heading",
    "--source": "the name of a corpus",
    "--speaker": "the name of a speaker",
    "--system": "the name of a system",
    "--systems": "arguments of a recipe",
    "--text-field": "the name of a field",
    "--tier": "the name of a tier",
    "--topology": "the shape of a slice",
    "--voice": "the name of a voice",
    "bench convert --folder": "the time of its disk is measured",
    **{
        f"--{option.name.replace('_', '-')}": option.help
        for layout in choose.registry.LAYOUTS.values()
        for option in layout.options
        if not option.path
    },
}


def leaves(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()):
    """(words of the command, its parser), for every command without further parts."""
    if getattr(parser, "fill", None):
        fill, parser.fill = parser.fill, None
        fill()
    parts = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not parts:
        yield words, parser
    for part in parts:
        for name, inner in part.choices.items():
            yield from leaves(inner, (*words, name))


parser_of = functools.cache(build_parser)
LEAVES = list(leaves(build_parser()))


def takes_words(action: argparse.Action) -> bool:
    """Whether the argument's value is free: no flag, no number, no choice."""
    numbers = action.type in (int, float) or getattr(action.type, "__name__", "") in ("_pair", "_budget", "_unit")
    return action.nargs != 0 and not action.choices and not numbers


def command_line(words, parser, given: argparse.Action) -> list[str]:
    """The shortest line that the parser takes, with the address for `given`."""
    line = list(words)
    groups = [group._group_actions for group in parser._mutually_exclusive_groups if group.required]
    chosen = [actions[0] for actions in groups if given not in actions]
    for action in parser._actions:
        positional = not action.option_strings
        if action is not given and action not in chosen and not (action.required or positional):
            continue
        value = ADDRESS if action is given else next(iter(action.choices or ["1"]))
        line += [value] if positional else [action.option_strings[-1], value]
    return line


CASES = [
    (" ".join([*words, local_paths.name_of(action)]), command_line(words, parser, action))
    for words, parser in LEAVES
    for action in parser._actions
    if takes_words(action)
]
ACTIONS = [action for _, parser in LEAVES for action in parser._actions if takes_words(action)]
OUTPUTS = {"--out", "--wav", "--markdown", "--figure", "--page", "dst", "DST", "model_dir"}


WRITTEN = [  # (what is written, its command line with an address at which nothing can be)
    (name, [word.replace(ADDRESS, address) for word in line])
    for (name, line), action in zip(CASES, ACTIONS, strict=True)
    for address in ("https://host/file", "nothing://bucket/file", "gs://")
    if action.type in (local_paths.output_or_address, local_paths.run_or_address)
]


def is_refused(name: str) -> bool:
    """Whether the argument is one of `REFUSED`."""
    return name in REFUSED or name.rpartition(" ")[2] in REFUSED


def test_the_walk_finds_every_command_and_every_exception():
    names = {name for name, _ in CASES}
    assert len(LEAVES) > 30 and {"train RUN", "prepare speech --out", "sweep run SWEEP", "fit --out"} <= names
    options = {name.rpartition(" ")[2] for name in names}
    assert REFUSED.keys() <= names | options


@pytest.mark.parametrize("name, line", [case for case in CASES if not is_refused(case[0])], ids=lambda x: str(x)[:40])
def test_an_address_is_taken(name, line):
    """By the argument, as far as the parser tells; what the command does with it is the test of the command."""
    parser = parser_of()
    local_paths.refuse_addresses(parser, parser.parse_args(line))


@pytest.mark.parametrize("name, line", [case for case in CASES if is_refused(case[0])], ids=lambda x: str(x)[:40])
def test_an_address_is_refused_in_one_line_before_anything_is_written(name, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lst_jax.cli.main.build_parser", parser_of)
    assert main(line) == 2
    message = capsys.readouterr().err
    rule = "is an address, where a name or a setting is wanted; correct it"
    if name in REFUSED:
        rule = f"must be a path of this machine, as {REFUSED[name]}; give one"
    assert message.endswith(f"{name.rpartition(' ')[2]}='{ADDRESS}': {rule}\n")
    assert message.count("\n") == 1 and not list(tmp_path.iterdir())


def test_what_is_written_is_declared_so():
    named = {name for (name, _), action in zip(CASES, ACTIONS, strict=True) if name.rpartition(" ")[2] in OUTPUTS}
    declared = {
        name for (name, _), action in zip(CASES, ACTIONS, strict=True) if action.type is local_paths.output_or_address
    }
    assert named == declared and len(declared) > 30


@pytest.mark.parametrize("name, line", WRITTEN, ids=lambda x: str(x)[:40])
def test_what_cannot_be_written_is_refused_in_one_line_before_any_work(name, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lst_jax.cli.main.build_parser", parser_of)
    monkeypatch.setattr("lst_jax.cli.main.limits.many_open_files", contextlib.nullcontext)
    assert main(line) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and ("://; give" in message or "give gs://" in message or "write it as" in message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["storycloze=gs://b/x.csv", "whisper:s3://b/d", "GS://b", "file:///tmp/x"])
def test_addresses_within_a_word_are_refused_too(value):
    with pytest.raises(ConfigError, match="--task=.*: is an address; correct it"):
        check_local("--task", value, "is an address; correct it")


@pytest.mark.parametrize("value", ["runs/a", "C:/x", "a:b", "tfds:/data/x#train", "configs/lst.py:1b,base", "//host/x"])
def test_paths_are_no_addresses(value):
    check_local("--out", value, "is an address")
    assert not is_address(value)


def lock(path: str, command: str) -> None:
    with files.exclusive_lock(pathlib.Path(path), command):
        pass


@pytest.mark.parametrize("write", [files.write_text, lock])
def test_what_became_of_an_address_is_not_written_to(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="gs:/b/d: looks like an address"):
        write("gs:/b/d", "text")
    assert not list(tmp_path.iterdir())
