"""`lst inspect`: the numbers, the picture, and the errors."""

import argparse
import json
import re

import numpy as np
import pytest
import soundfile
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from prepare_helpers import EvenAligner

from lst_jax.cli import inspect as inspect_command
from lst_jax.cli import prepare
from lst_jax.core.errors import DataError
from lst_jax.data import records, shards
from lst_jax.data.patching import StaticRule
from lst_jax.data.records import Utterance, Word
from lst_jax.prepare import fit, inspect, manifest, picture, run


def lst(*words) -> int:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    prepare.add_arguments(commands)
    inspect_command.add_arguments(commands)
    args = parser.parse_args([str(word) for word in words])
    return args.run(args)


@pytest.fixture
def speech(tones, unit_file, tmp_path):
    """A prepared directory of five tones; the manifest is tones.jsonl beside it."""
    run.prepare_speech(
        manifest.read_items(tones(5), {}), tmp_path / "speech", unit_file, EvenAligner(), shard_records=3
    )
    return tmp_path / "speech"


def test_numbers_of_two_known_utterances(tmp_path):
    made = [
        Utterance(
            "paper", np.array([0, 0, 1, 1, 1, 0, 2, 2], np.uint16), (Word("a", 2, 5), Word("b", 6, 8)), None, None
        ),
        Utterance("mute", np.array([3, 3], np.uint16), (), None, None),
    ]
    (tmp_path / "d").mkdir()
    info = shards.write_shard(tmp_path / "d" / "s.array_record", [records.encode(u) for u in made])
    shards.write_metadata(
        tmp_path / "d",
        shards.Metadata("utterance", shards.FORMAT_VERSION, 2, 10, 2, 25.0, 8, "f" * 16, None, "none", "0", (info,)),
    )
    summary = inspect.summarise(inspect.open_directory(tmp_path / "d"), static_size=3)
    assert summary["rejected"] is None and summary["distinct_words"] == 2
    frames = {name: (s["count"], s["mean"], s["least"], s["most"]) for name, s in summary["patch_frames"].items()}
    assert frames == {
        "static 3": (4, 2.5, 2, 3),
        "aligned": (5, 2.0, 1, 3),
        "aligned, words": (2, 2.5, 2, 3),
        "aligned, silence": (3, pytest.approx(5 / 3), 1, 2),
    }
    assert summary["word_share"] == 0.5 and summary["words_per_second"] == 5.0
    usage = summary["unit_usage"]
    assert usage["used"] == 4 and usage["most_bits"] == 3.0 and usage["repeats"] == 0.5
    expected = -(0.3 * np.log2(0.3) * 2 + 0.2 * np.log2(0.2) * 2)
    assert usage["entropy_bits"] == pytest.approx(expected)
    assert "unknown" in "\n".join(inspect.lines(summary))


def test_the_command_prints_lines_or_json_and_verifies(speech, capsys):
    assert lst("inspect", speech, "--verify") == 0
    printed = capsys.readouterr().out
    assert "5 records of kind utterance" in printed and "rejected     0" in printed and "verified" in printed
    assert lst("inspect", speech, "--json") == 0
    assert json.loads(capsys.readouterr().out)["patch_frames"]["static 4"]["most"] == 4
    shard = speech / "shard-00000-of-00002.array_record"
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    shard.write_bytes(damaged)
    with pytest.raises(DataError, match="shard-00000-of-00002"):
        lst("inspect", speech, "--verify")


def changed(directory, shard=None, **counts):
    """Adds to counts of metadata.json, in the entry of a shard too."""
    path = directory / "metadata.json"
    metadata = json.loads(path.read_text())
    for where in [metadata] if shard is None else [metadata, metadata["shards"][shard]]:
        where |= {name: where[name] + number for name, number in counts.items()}
    path.write_text(json.dumps(metadata))


@pytest.mark.parametrize(
    ("shard", "counts", "expected"),
    [
        (None, {"frames": 1}, [r"metadata.json: frames=\d+, the records hold \d+; "]),
        (None, {"words": -1}, ["metadata.json: words=9, the records hold 10; "]),
        (None, {"frames": -3, "words": 2}, ["frames=", "words=12, the records hold 10"]),
        (
            1,
            {"records": -1},
            ["shard-00001-of-00002.array_record: records=1, the shard holds 2; ", "records=4, .* 5; "],
        ),
        (0, {"records": 1}, ["shard-00000-of-00002.array_record: records=4, the shard holds 3; ", "records=6, .* 5; "]),
    ],
)
def test_wrong_counts_in_the_metadata_are_a_line_each(speech, capsys, shard, counts, expected):
    changed(speech, shard, **counts)
    assert lst("inspect", speech, "--verify") == 3
    out, err = capsys.readouterr()
    assert not out and len(err.splitlines()) == len(expected)
    for line, part in zip(err.splitlines(), expected, strict=True):
        assert re.search(part, line), line


def test_words_of_texts_are_counted_too(tmp_path, capsys):
    (tmp_path / "t.txt").write_text("one two three\nfour\n")
    assert lst("prepare", "text", "--manifest", tmp_path / "t.txt", "--out", tmp_path / "text") == 0
    assert lst("inspect", tmp_path / "text", "--verify") == 0
    changed(tmp_path / "text", words=1)
    assert lst("inspect", tmp_path / "text", "--verify") == 3
    assert "words=5, the records hold 4" in capsys.readouterr().err


def test_text_is_summarised(tmp_path, capsys):
    (tmp_path / "t.txt").write_text("one two three\nfour\n")
    assert lst("prepare", "text", "--manifest", tmp_path / "t.txt", "--out", tmp_path / "text") == 0
    assert lst("inspect", tmp_path / "text") == 0
    assert "4 words, 17 characters; a document has 2.00 on average" in capsys.readouterr().out


def test_pictures_share_one_time_axis_and_grow_with_the_sound(speech, unit_file, tmp_path):
    out, wav = tmp_path / "p.png", tmp_path / "p.wav"
    lst(
        "inspect",
        speech,
        "--picture",
        "tone03",
        "--audio",
        tmp_path / "tones.jsonl",
        "--units",
        unit_file,
        "--out",
        out,
        "--wav",
        wav,
    )
    full = imread(out)
    assert soundfile.info(wav).frames == len(inspect.find(inspect.open_directory(speech), "tone03").units) * 640
    lst("inspect", speech, "--picture", "tone03", "--out", out)
    plain = imread(out)
    assert full.shape[1] == plain.shape[1] and full.shape[0] > plain.shape[0] + 200
    assert len(np.unique(plain.reshape(-1, plain.shape[-1]), axis=0)) > 20
    long = Utterance("long", np.arange(500, dtype=np.uint16), (Word("word", 3, 9),), "s", None)
    picture.draw(out, long, 25.0)
    assert imread(out).shape[1] > 4 * plain.shape[1]


def test_a_part_is_drawn_as_it_lies_in_the_whole(speech, unit_file, tmp_path):
    whole, part, wav = tmp_path / "whole.png", tmp_path / "part.png", tmp_path / "part.wav"
    options = ["--picture", "tone03", "--audio", tmp_path / "tones.jsonl", "--units", unit_file]
    frames = len(inspect.find(inspect.open_directory(speech), "tone03").units)
    lst("inspect", speech, *options, "--out", whole)
    lst("inspect", speech, *options, "--from", 0.2, "--to", 0.4, "--out", part, "--wav", wav)
    assert soundfile.info(wav).frames == 5 * 640
    assert imread(part).shape[0] == imread(whole).shape[0]
    with pytest.raises(DataError, match=rf"--from {frames / 25:g} --to .*: must be a part of tone03's"):
        lst("inspect", speech, *options, "--from", frames / 25)


def test_static_patches_of_a_part_keep_their_places():
    drawn = Figure().subplots()
    utterance = Utterance("u", np.arange(40, dtype=np.uint16), (), None, None)
    picture._patches(drawn, utterance, 25.0, StaticRule(4), picture.View(0.4, 0.8, 3.2))
    (bars,) = drawn.collections
    starts = [path.vertices[:, 0].min() for path in bars.get_paths()]
    np.testing.assert_allclose(starts, [0.32, 0.48, 0.64], atol=1e-9)
    assert [text.get_text() for text in drawn.texts] == ["4", "4", "4"]


def test_five_minutes_are_drawn_with_few_artists(tmp_path, monkeypatch):
    """The time of a picture is that of its artists: bars are one artist for each panel, and labels are few."""
    made = []
    monkeypatch.setattr(Axes, "text", lambda self, *a, _text=Axes.text, **k: made.append(a) or _text(self, *a, **k))
    words = tuple(Word("word", at, at + 6) for at in range(0, 7500 - 8, 8))
    long = Utterance("long", np.zeros(7500, np.uint16), words, None, None)
    picture.draw(tmp_path / "p.png", long, 25.0)
    assert len(made) <= len(words)  # no unit and no patch has room for its number


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--from", "1"], "--from: belongs to a picture"),
        (["--picture", "tone01", "--from", "2", "--to", "1"], "--from 2 --to .*: must be a part of tone01's"),
        (["--picture", "nobody"], "nobody: no utterance has this id"),
        (["--out", "x.png"], "--out: belongs to a picture"),
        (["--picture", "tone01", "--wav", "x.wav"], "--wav: units are made audible by their tokenizer"),
        (["--picture", "tone01", "--audio", "other.jsonl"], "tone01: no item has this id"),
        (["--picture", "tone01", "--units", "other.safetensors"], "other.safetensors: has fingerprint"),
    ],
)
def test_mistakes_are_one_line(speech, unit_file, tmp_path, monkeypatch, arguments, part):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.jsonl").write_text('{"audio": "x.wav", "text": "a"}\n')
    fit.fit_units(manifest.read_items("tones.jsonl", {}), "other.safetensors", 5, 0)
    with pytest.raises(DataError, match=part) as caught:
        lst("inspect", speech, *arguments)
    assert "\n" not in str(caught.value)


def test_the_commands_from_manifest_to_records(prompts, tmp_path, capsys):
    lines = [
        json.dumps({"id": p.id, "audio": str(p.audio), "text": p.text, "split": s})
        for p, s in zip(prompts, ("train", "train", "test"), strict=True)
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    (tmp_path / "words.txt").write_text("prepend P R IY P EH N D\n")
    files = ["--manifest", tmp_path / "m.jsonl", "--where", "split=train"]
    assert lst("prepare", "units-fit", *files, "--k", 20, "--out", tmp_path / "u.safetensors", "--workers", 1) == 0
    assert (
        lst(
            "prepare",
            "speech",
            *files,
            "--units",
            tmp_path / "u.safetensors",
            "--out",
            tmp_path / "s",
            "--workers",
            1,
            "--pronunciations",
            tmp_path / "words.txt",
            "--source",
            "asterisk",
        )
        == 0
    )
    assert lst("prepare", "tokenizer", *files, "--out", tmp_path / "t.model", "--size", 300) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "20 units at 25 Hz" in printed[0] and "2 prepared, 0 rejected" in printed[1] and "300 pieces" in printed[2]
    with pytest.raises(DataError, match="--where split: must be FIELD=VALUE"):
        lst("prepare", "text", "--manifest", "x", "--where", "split", "--out", "y")
    with pytest.raises(DataError, match="--workers 0: must be at least 1"):
        lst("prepare", "units-fit", *files, "--out", tmp_path / "v.safetensors", "--workers", 0)
    with pytest.raises(DataError, match="conf-full: the id is there twice"):
        lst("prepare", "units-fit", *files, *files[:2], "--out", tmp_path / "v.safetensors")
