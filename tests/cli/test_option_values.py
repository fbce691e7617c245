"""Values of options that no command can mean: one line, before anything is written."""

import os
import stat

import numpy as np
import pytest
import soundfile

from lst_jax.cli import main
from lst_jax.core import files
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.prepare import recordings

SPEECH = ["prepare", "speech", "--manifest", "m.jsonl", "--units", "u.safetensors", "--out", "out"]


@pytest.mark.parametrize(
    "words, message",
    [
        ([*SPEECH, "--least-score", "nan"], "--least-score nan: must be a number"),
        ([*SPEECH, "--most-outside", "-3"], "--most-outside -3.0: must be at least 0 seconds"),
        ([*SPEECH, "--max-rejected", "7"], "--max-rejected 7.0: must be a share from 0 to 1"),
        ([*SPEECH, "--channel", "zork"], "--channel zork: names no channel; use 1, 2"),
        (["prepare", "text", "--manifest", "m.txt", "--out", "out", "--max-rejected", "nan"], "--max-rejected nan"),
        (
            ["prepare", "units-fit", "--manifest", "m.jsonl", "--out", "u", "--seed", "-1"],
            "--seed -1: must be at least 0",
        ),
        (["inspect", "data", "--static-size", "0"], "--static-size 0: must be at least 1"),
        (["inspect", "data\udcff"], "is not text in UTF-8"),
        (["train", "run", "--process-id", "0"], "--process-id=0: is for a job of several processes"),
    ],
)
def test_a_value_without_meaning_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.jsonl").write_text('{"id": "a", "audio": "a.wav", "text": "a"}\n')
    (tmp_path / "m.txt").write_text("a\n")
    assert main.main(words) in (2, 3)
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.jsonl", "m.txt"]


def test_a_mistake_in_the_words_of_a_command_is_one_line(capsys):
    with pytest.raises(SystemExit) as end:
        main.main(["prepare", "speech", "--size", "8"])
    said = capsys.readouterr().err
    assert end.value.code == 2 and len(said.splitlines()) == 1 and "see `lst prepare speech --help`" in said


def test_a_file_never_takes_the_place_of_a_device_or_a_folder(tmp_path):
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    for place in (pipe, folder):
        with pytest.raises(ConfigError, match="choose another name"):
            files.write_json(place, {})
    assert stat.S_ISFIFO(pipe.stat().st_mode) and folder.is_dir()


def test_the_channels_of_a_prompt_are_not_mixed_in_silence(tmp_path):
    both = np.stack([np.sin(np.arange(16000) / 9), 0.1 * np.sin(np.arange(16000) / 5)], 1)
    soundfile.write(tmp_path / "two.wav", both, 16000)
    with pytest.raises(DataError, match="--channel|channel"):
        recordings.load_audio(tmp_path / "two.wav", None)
    left, right = (recordings.load_audio(tmp_path / "two.wav", channel) for channel in ("left", "right"))
    assert np.abs(left).max() > 0.9 and np.abs(right).max() < 0.2
