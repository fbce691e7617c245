"""`--dry-run` counts what a corpus holds from its metadata, opens no sound, and writes nothing."""

import json

import pytest

from lst_jax.cli import main
from lst_jax.core.errors import DataError


def prepare(*words):
    return main.main(["prepare", *map(str, words)])


@pytest.fixture
def manifest(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no sound at all")
    good = [{"id": f"u{i}", "audio": "a.wav", "text": "one two", "duration": 1800} for i in range(5)]
    bad = [
        {"id": "gone", "audio": "gone.wav", "text": "one", "duration": 3600},
        {"id": "empty", "audio": "a.wav", "text": " [laughter] ", "duration": 3600},
        {"id": "short", "audio": "a.wav", "text": "one", "duration": 0.01},
        {"id": "unknown", "audio": "a.wav", "text": "one <unk>"},
        {"id": "none", "audio": "a.wav"},
        {"id": "u1", "audio": "a.wav", "text": "again"},
    ]
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in [*good, *bad]) + "{\n")
    return path


def test_speech_is_counted(manifest, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    words = ("speech", "--manifest", manifest, "--units", "none", "--out", tmp_path / "out", "--dry-run")
    assert prepare(*words) == 0
    said = capsys.readouterr()
    *printed, last = said.out.splitlines()
    assert said.err.splitlines()[-1] == f"{manifest}: without --skip-bad, the first of 2 bad lines ends the command"
    assert last.startswith(f"    1 not JSON: {manifest}: line 12: is not JSON")
    assert printed == [
        f"{manifest}: 12 items in 1 file; nothing was written",
        "  hours        4.50 of 8 items; 4 items do not say how long they are",
        "  shards       about 1",
        "  refused      7 from the metadata alone",
        f"    1 missing audio: {manifest}: line 6: {tmp_path / 'gone.wav'}: no such audio file; correct the path",
        f"    1 empty transcript: {manifest}: line 7: its text is empty; add the words or leave it out",
        f"    1 too short: {manifest}: line 8: is 0.01 s long, shorter than one frame of 0.04 s; leave it out",
        f"    1 unknown word: {manifest}: line 9: its text has <unk> for a word that is spoken; write the word, or "
        "leave the item out",
        f"    1 missing field: {manifest}: line 10: has no 'text'; it needs audio and text for speech, text for text",
        f"    1 id is there twice: {manifest}: line 11: u1: the id is there twice, which ends the command; give every "
        "item its own",
    ]
    assert sorted(tmp_path.rglob("*")) == before
    assert prepare(*words, "--shard-records", 5, "--skip-bad") == 0
    said = capsys.readouterr()
    assert "shards       about 3" in said.out and "ends the command" not in said.err


def test_text_is_counted_and_wrong_settings_are_refused(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("one\ntwo three\n\n")
    (tmp_path / "b.jsonl").write_text('{"text": " "}\n')
    words = ("text", "--manifest", tmp_path / "a.txt", "--manifest", tmp_path / "b.jsonl", "--out", tmp_path / "out")
    assert prepare(*words, "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "3 items in 2 files" in printed and "13 characters" in printed and "1 empty document" in printed
    assert not (tmp_path / "out").exists()
    assert prepare(*words, "--dry-run", "--shard-records", 0) == DataError.exit_code
    assert prepare(*words, "--dry-run", "--shard-mb", 0) == DataError.exit_code
    assert capsys.readouterr().err.count("must be") == 2
