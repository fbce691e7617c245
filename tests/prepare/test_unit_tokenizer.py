"""`lst prepare unit-tokenizer`: from records to pieces of units, in whole or not at all."""

import json

import numpy as np
import pytest
import synthetic_data

from lst_jax.cli.main import main
from lst_jax.data.records import Utterance
from lst_jax.data.unit_pieces import Codebook, UnitPieces
from lst_jax.prepare import unit_tokenizer


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Two directories of one codebook: 5 and 3 utterances."""
    root = tmp_path_factory.mktemp("speech")
    every = synthetic_data.utterances(9)[1:]
    synthetic_data.write_directory(root / "a", [every[:2], every[2:5]], codebook_fingerprint="abc")
    synthetic_data.write_directory(root / "b", [every[5:]], codebook_fingerprint="abc")
    return root


def lst(*arguments):
    return main(["prepare", "unit-tokenizer", *map(str, arguments)])


def test_a_unit_tokenizer_is_made_once_from_several_directories(speech, tmp_path, capsys):
    out = tmp_path / "new" / "u.model"
    arguments = ["--data", speech / "a", "--data", speech / "b", "--size", 600, "--out", out]
    assert lst(*arguments) == 0
    pieces = UnitPieces(out)
    units = [u.units for u in synthetic_data.utterances(9)[1:]]
    mean = sum(map(len, units)) / sum(len(pieces.encode(u)) for u in units)
    assert capsys.readouterr().out == (
        f"{out}: 600 pieces of 501 units (abc), trained on 8 of 8 utterances; there a "
        f"piece stands for {mean:.2f} frames on average\n"
    )
    assert pieces.codebook == Codebook(501, "abc") and len(pieces) == 600
    before = out.read_bytes(), out.stat().st_mtime_ns
    assert lst(*arguments) == 0
    assert "was made from the same records and settings; nothing to do" in capsys.readouterr().out
    assert (out.read_bytes(), out.stat().st_mtime_ns) == before
    out.unlink()  # killed before it was written: the note is there, the file is not
    assert lst(*arguments) == 0
    assert out.read_bytes() == before[0]
    assert lst(*arguments, "--seed", 1) == 3 and "(seed differ)" in capsys.readouterr().err
    assert lst(*arguments, "--seed", 1, "--overwrite") == 0


def test_the_sample_is_the_same_for_a_seed_and_another_for_another(speech, monkeypatch):
    seen = []
    monkeypatch.setattr(unit_tokenizer, "train_unit_pieces", lambda units, *_: seen.append([len(u) for u in units]))
    monkeypatch.setattr(unit_tokenizer, "UnitPieces", lambda path: type("", (), {"encode": lambda self, u: u})())
    directories, codebook = unit_tokenizer.open_speech([str(speech / "a"), str(speech / "b")])
    for seed, sequences in ((0, 4), (0, 4), (1, 4), (0, 8), (0, 99), (0, 6)):
        unit_tokenizer.train(directories, codebook, "unused", 600, sequences, seed)
    lengths = [len(u.units) for u in synthetic_data.utterances(9)[1:]]
    assert seen[0] == seen[1] != seen[2] and seen[3] == seen[4] == lengths
    assert len(seen[0]) == 4 and set(seen[0]) < set(seen[5]) < set(lengths)  # a larger sample holds the smaller


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["--size", 500],
            "--size 500: is less than the codebook's 501 units, each of which is a piece; use at least 501",
        ),
        (["--size", 99999], "no unit tokenizer of 99999 pieces can be trained on these sequences (at most "),
        (["--sequences", 0], "--sequences 0: must be at least 1; use 100000"),
        (
            ["--data", "other"],
            "other/metadata.json: has a codebook of 501 units (xyz), another --data has 501 units (abc)",
        ),
        (["--data", "larger"], "larger/metadata.json: has a codebook of 502 units (abc), another --data has 501 units"),
        (["--data", "text"], "holds records of kind 'text', the run wants 'utterance'"),
        (["--data", "nowhere"], "nowhere: no such directory"),
        (["--data", "broken"], "broken: record 1: bad: unit 501 is outside the codebook of 501"),
    ],
)
def test_a_mistake_is_one_line_and_makes_no_file(speech, tmp_path, capsys, arguments, message):
    some = synthetic_data.utterances(2)[1:]
    synthetic_data.write_directory(tmp_path / "other", [some], codebook_fingerprint="xyz")
    synthetic_data.write_directory(tmp_path / "larger", [some], codebook_size=502, codebook_fingerprint="abc")
    synthetic_data.write_directory(tmp_path / "text", [synthetic_data.texts(2)], "text")
    broken = [*some, Utterance("bad", np.array([501], np.uint16), (), None, None)]
    synthetic_data.write_directory(tmp_path / "broken", [broken], codebook_fingerprint="abc")
    if arguments[0] == "--data":
        arguments = ["--data", tmp_path / arguments[1]]
    assert lst("--data", speech / "a", "--out", tmp_path / "u.model", *arguments) == 3
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("lst prepare: ") and message in said
    assert not (tmp_path / "u.model").exists()


def test_directories_without_records_are_refused(tmp_path, capsys):
    synthetic_data.write_directory(tmp_path / "none", [])
    assert lst("--data", tmp_path / "none", "--out", tmp_path / "u.model") == 3
    assert "none: no records; give directories with utterances" in capsys.readouterr().err


def test_inspect_says_how_many_frames_a_piece_stands_for(speech, tmp_path, capsys):
    assert lst("--data", speech / "a", "--size", 600, "--out", tmp_path / "u.model") == 0
    capsys.readouterr()
    look = ["inspect", str(speech / "b"), "--unit-tokenizer", str(tmp_path / "u.model")]
    assert main([*look, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["patch_frames"]["unit pieces 600"]
    pieces = UnitPieces(tmp_path / "u.model")
    units = [u.units for u in synthetic_data.utterances(9)[6:]]
    assert found["count"] == sum(len(pieces.encode(u)) for u in units)
    assert found["mean"] == pytest.approx(sum(map(len, units)) / found["count"])
    assert main(look) == 0 and "patches      unit pieces 600: " in capsys.readouterr().out
    synthetic_data.write_directory(tmp_path / "c", [synthetic_data.utterances(2)], codebook_fingerprint="xyz")
    assert main(["inspect", str(tmp_path / "c"), *look[2:]]) == 3
    assert "c/metadata.json: has a codebook of 501 units (xyz), the unit tokenizer" in capsys.readouterr().err
    synthetic_data.write_directory(tmp_path / "text", [synthetic_data.texts(2)], "text")
    assert main(["inspect", str(tmp_path / "text"), *look[2:]]) == 3
