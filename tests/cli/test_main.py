"""The program as a process: pipes that close, and terminals that know ASCII alone."""

import os
import subprocess
import sys

import pytest

from lst_jax.cli import main as program
from lst_jax.core.errors import ConfigError, DataError

LST = [sys.executable, "-m", "lst_jax"]


@pytest.mark.parametrize(
    "line", ["launch r --config configs/lst.py:1b --cluster launch/v5p_gke.toml --to jobset", "plan --help"]
)
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(line):
    reader, writer = os.pipe()
    os.close(reader)
    found = subprocess.run([*LST, *line.split()], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert found.returncode == 0 and found.stderr == b""


def test_an_error_is_one_line_whatever_is_in_it(monkeypatch, capsys):
    def fail(args):
        raise DataError("a\nb\x1b[2J.wav: is odd; rename it")

    monkeypatch.setattr("lst_jax.cli.report._report", fail)
    assert program.main(["report", "run"]) == 3
    assert capsys.readouterr().err == "lst report: a\\nb\\x1b[2J.wav: is odd; rename it\n"


@pytest.mark.parametrize("others", [[], ["--tasks", "swuggy=gold.csv"]])
def test_a_number_of_items_without_what_has_items_is_refused(capsys, others):
    assert program.main(["evaluate", "run", "--items", "5", *others]) == 2
    assert capsys.readouterr().err == (
        "lst evaluate: --items: belongs to --asr, --tts or --probe; give one of them beside it\n"
    )


@pytest.mark.parametrize("number", ["0", "-3"])
def test_a_number_of_items_below_one_is_refused(capsys, number):
    assert program.main(["evaluate", "run", "--asr", "speech", "--items", number]) == 2
    assert capsys.readouterr().err == f"lst evaluate: --items {number}: must be at least 1; leave it out for all\n"


def test_a_terminal_that_knows_ascii_alone_gets_escapes():
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    found = subprocess.run([*LST, "plan", "--help"], capture_output=True, env=env)
    assert found.returncode == 0 and b"\\u2026" in found.stdout and found.stderr == b""


def test_a_run_too_short_for_its_curriculum_says_so(tmp_path, capsys):
    words = ["train", str(tmp_path / "run"), "--config", "configs/demo.py", "--set", "data.tokenizer=nowhere"]
    for steps, warns in ((299, 1), (300, 0)):
        assert program.main([*words, "--set", f"train.steps={steps}"]) != 0
        assert capsys.readouterr().err.count("warning: data.patching.tau2=300: ") == warns


@pytest.mark.parametrize(
    "words, said",
    [
        (["--process-id", "1"], "--process-id=1: is for a job of several processes; give --processes N beside it"),
        (["--coordinator", "h:1"], "--coordinator=h:1: is for a job of several processes; give --processes N"),
        (["--processes", "0"], "--processes=0: must be at least 1"),
        (["--processes", "2", "--process-id", "2"], "--process-id=2: must be from 0 to 1"),
    ],
)
def test_options_of_a_job_that_do_not_fit_each_other_are_refused(words, said, tmp_path, capsys):
    assert program.main(["train", str(tmp_path / "run"), *words]) == ConfigError.exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lst train: {said}") and not (tmp_path / "run").exists()
