"""No command takes an address such as gs://bucket/folder for a folder of this machine."""

import argparse
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
READING = ("units-fit", "speech", "text", "tokenizer", "synthesise")
PREPARING = [f"prepare {part}" for part in READING]
LAYOUT_OPTIONS = [o.name.replace("_", "-") for layout in choose.registry.LAYOUTS.values() for o in layout.options]
# Records are read from addresses, and runs lie in buckets; the others are no paths, or say themselves what they take.
NOT_LOCAL = {
    "train RUN",
    "evaluate RUN",
    "generate RUN",
    "generate --wav",
    "report RUN|SWEEP",
    "convert SRC",
    "convert DST",
    "prepare speech --out",
    "prepare speech --units",
    "prepare text --out",
    "prepare tokenizer --out",
    "prepare unit-tokenizer --out",
    "prepare units-fit --out",
    "report --runs",
    "report --page",
    "sweep run SWEEP",
    "sweep status SWEEP",
    "sweep status --runs",
    "sweep collect SWEEP",
    "sweep collect --runs",
    "sweep render SWEEP",
    "fit POINTS.jsonl",
    "fit --out",
    "train --set",
    "plan --set",
    "evaluate --set",
    "generate --set",
    "bench step --set",
    "bench torch --set",
    "bench generate --set",
    "bench decode --set",
    "bench collectives --set",
    "inspect directory",
    "convert --set",
    "launch --set",
    "launch RUN",
    "generate --text",
    "evaluate --asr",
    "evaluate --tts",
    "evaluate --probe-source",
    "bench data --records",
    "prepare unit-tokenizer --data",
    "export lst DIR",
    "export slamkit DIR",
    "export units DIR",
    "export gslm DIR",
    "export moshi DIR",
    "export textgrid DIR",
    "export ctm DIR",
    "export librispeech DIR",
    "export tfds SPLIT=DIR",
    "import moshi --units",
    "import textgrid --units",
    "import ctm --units",
    "import librispeech --units",
    "import whisper --units",
    *(f"prepare {part} --where" for part in READING),
    *(f"prepare {part} --manifest" for part in READING),
    "prepare speech --aligner",
    *(f"prepare {part} --beam-option" for part in ("speech", "text")),
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
    numbers = action.type in (int, float) or getattr(action.type, "__name__", "") == "_pair"
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


# what is read may lie at addresses, also where the options of a layout say so
NOT_LOCAL |= {name for name, _ in CASES if name.split(" --")[0] in PREPARING and name.split(" --")[1] in LAYOUT_OPTIONS}


def test_the_walk_finds_every_command_and_every_exception():
    names = {name for name, _ in CASES}
    assert len(LEAVES) > 30 and {"train RUN", "prepare speech --out", "sweep run SWEEP", "fit --out"} <= names
    assert NOT_LOCAL <= names


@pytest.mark.parametrize("name, line", [case for case in CASES if case[0] not in NOT_LOCAL], ids=lambda x: str(x)[:40])
def test_an_address_is_refused_in_one_line_before_anything_is_written(name, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lst_jax.cli.main.build_parser", parser_of)
    assert main(line) == 2
    message = capsys.readouterr().err
    option = name.rpartition(" ")[2]
    assert f"{option}='{ADDRESS}': must be a path of this machine, not an address; mount the bucket" in message
    assert message.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["storycloze=gs://b/x.csv", "whisper:s3://b/d", "GS://b", "file:///tmp/x"])
def test_addresses_within_a_word_are_refused_too(value):
    with pytest.raises(ConfigError, match="must be a path of this machine"):
        check_local("--task", value)


@pytest.mark.parametrize("value", ["runs/a", "C:/x", "a:b", "tfds:/data/x#train", "configs/lst.py:1b,base", "//host/x"])
def test_paths_are_no_addresses(value):
    check_local("--out", value)
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
