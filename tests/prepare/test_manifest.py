"""Manifests and trees become items; every mistake is one line that names file and line."""

import json
import pathlib

import pytest

from lst_jax.core.errors import DataError
from lst_jax.prepare import manifest
from lst_jax.prepare.corpora import choose
from lst_jax.prepare.corpora.registry import Settings


def write(path: pathlib.Path, *lines) -> pathlib.Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines), "utf-8")
    return path


def test_manifest_lines_become_items(tmp_path):
    path = write(
        tmp_path / "m.jsonl",
        {"audio": "a/x.wav", "text": " Hello  there ", "split": "train"},
        "",
        {"id": "y", "audio": "/abs/y.flac", "text": "", "speaker": "s1", "split": "test"},
    )
    assert manifest.read_items(path, {}) == [
        manifest.Item("a/x", tmp_path / "a/x.wav", "Hello there", None),
        manifest.Item("y", pathlib.Path("/abs/y.flac"), "", "s1"),
    ]
    assert [i.id for i in manifest.read_items(path, {"split": "test"})] == ["y"]


@pytest.mark.parametrize(
    ("lines", "where", "part"),
    [
        (['{"audio": "x.wav"'], {}, "line 1: is not JSON"),
        ([{"audio": "x.wav", "text": "a"}, "[1]"], {}, "line 2: must be a JSON object"),
        ([{"audio": "x.wav"}], {}, "line 1: has no 'text'"),
        ([{"audio": 3, "text": "a"}], {}, "line 1: audio must be a string, not int"),
        ([{"audio": "x.wav", "text": "a", "speaker": 3}], {}, "speaker must be a string"),
        ([{"audio": "x.wav", "text": "a"}] * 2, {}, "x: the id is there twice"),
        ([{"audio": "x.wav", "text": "a"}], {"split": "train"}, "line 1: has no field 'split'"),
        ([{"audio": "x.wav", "text": "a", "split": "b"}], {"split": "train"}, "has no items with {'split': 'train'}"),
        ([], {}, "has no items"),
    ],
)
def test_a_bad_manifest_is_one_line_with_its_place(tmp_path, lines, where, part):
    path = write(tmp_path / "m.jsonl", *lines)
    with pytest.raises(DataError) as caught:
        manifest.read_items(path, where)
    message = str(caught.value)
    assert message.startswith(str(path)) and part in message and "; " in message and "\n" not in message


def test_a_missing_manifest_and_one_that_is_not_text_are_named(tmp_path):
    with pytest.raises(DataError, match="nothing.jsonl: no such file"):
        manifest.read_items(tmp_path / "nothing.jsonl", {})
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="binary.jsonl: line 1: is not UTF-8"):
        manifest.read_items(tmp_path / "binary.jsonl", {})


def test_librispeech_tree(tmp_path):
    folder = tmp_path / "84" / "121123"
    folder.mkdir(parents=True)
    write(folder / "84-121123.trans.txt", "84-121123-0000 GO DO YOU HEAR", "84-121123-0001 BUT IN LESS")
    assert manifest.read_items(tmp_path, {}) == [
        manifest.Item("84-121123-0000", folder / "84-121123-0000.flac", "go do you hear", "84"),
        manifest.Item("84-121123-0001", folder / "84-121123-0001.flac", "but in less", "84"),
    ]
    with pytest.raises(DataError, match="has no fields to select by"):
        manifest.read_items(tmp_path, {"split": "train"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no \*.trans.txt"):
        manifest.read_items(tmp_path / "empty", {})


def test_text_documents_from_json_lines_and_plain_text(tmp_path):
    lines = write(tmp_path / "t.jsonl", {"id": "d1", "text": "one\ntwo"}, {"text": "three"})
    assert list(choose.open_corpus([lines], "text").items()) == [
        manifest.TextItem("d1", "one\ntwo"),
        manifest.TextItem("t.jsonl:2", "three"),
    ]
    plain = write(tmp_path / "t.txt", "first one", "", "  second\u2028half ")
    assert list(choose.open_corpus([plain], "text").items()) == [
        manifest.TextItem("t.txt:1", "first one"),
        manifest.TextItem("t.txt:3", "second\u2028half"),
    ]
    with pytest.raises(DataError, match="t.txt: plain text has no fields"):
        choose.open_corpus([plain], "text", Settings({"split": "train"}))
