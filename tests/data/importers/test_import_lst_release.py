import json
import pathlib

import numpy as np
import pytest
from hypothesis import given
from import_samples import WORDS, built, utterance, utterance_parts

from lst_jax.cli import main
from lst_jax.core.errors import DataError
from lst_jax.data import shards
from lst_jax.data.importers import lst_release
from lst_jax.data.records import Utterance, Word

REAL = pathlib.Path(__file__).parents[3].parent / "shared" / "data" / "mls_5.on_the_fly"
SEP = "<LST MODE SEP>"


def line(*pairs, name="u1"):
    return json.dumps({"file_id": name, "interleaved": "".join(f"{SEP}TEXT {t} {SEP}HUBERT {u} " for t, u in pairs)})


def test_words_and_silences_become_units_and_frames(tmp_path):
    path = tmp_path / "a.on_the_fly"
    path.write_text(line(("[SIL]", "5 5"), ("in", "9"), ("[SIL]", ""), ("the", "7 7 7"), ("[SIL]", "1")) + "\n")
    assert list(lst_release.read(path, source="mls")) == [
        Utterance("u1", np.array([5, 5, 9, 7, 7, 7, 1], np.uint16), (Word("in", 2, 3), Word("the", 3, 6)), None, "mls")
    ]


@pytest.mark.parametrize(
    "before, after",
    [
        # the silence before, else the one behind, else a neighbour of two frames
        ([("[SIL]", "5 6"), ("a", ""), ("[SIL]", "7")], [("[SIL]", "5"), ("a", "6"), ("[SIL]", "7")]),
        ([("[SIL]", ""), ("a", ""), ("[SIL]", "7 8")], [("[SIL]", ""), ("a", "7"), ("[SIL]", "8")]),
        ([("x", "1 2"), ("[SIL]", ""), ("a", ""), ("[SIL]", ""), ("y", "3")], [("x", "1"), ("a", "2"), ("y", "3")]),
        ([("x", "1"), ("[SIL]", ""), ("a", ""), ("[SIL]", ""), ("y", "3 4")], [("x", "1"), ("a", "3"), ("y", "4")]),
        # two in a row, of the same silence
        ([("x", "1"), ("a", ""), ("b", ""), ("[SIL]", "2 3 4")], [("x", "1"), ("a", "2"), ("b", "3"), ("[SIL]", "4")]),
        ([("[SIL]", "2 3"), ("a", ""), ("b", ""), ("y", "4 5")], [("[SIL]", "2"), ("a", "3"), ("b", "4"), ("y", "5")]),
    ],
)
def test_a_word_without_units_takes_a_frame_beside_it_and_is_counted(before, after):
    notes = []
    found = lst_release.parse_line(json.loads(line(*before)), 501, None, notes.append)
    assert found == lst_release.parse_line(json.loads(line(*after)), 501, None)
    assert notes == [lst_release.TOOK_FRAME] * sum(not u and t != "[SIL]" for t, u in before)


def test_a_folder_of_chunks_is_read_whole_and_its_report_counts_such_words(tmp_path, capsys):
    for number in range(3):
        text = line(("[SIL]", "5 5"), ("a", ""), ("b", "7"), name=f"u{number}")
        (tmp_path / f"mls.chunk.{number:02d}.on_the_fly").write_text(text + "\n")
    assert main.main(["import", "lst", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert f"0 rejected, 3 {lst_release.TOOK_FRAME}" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "report.json").read_text())["notes"] == {lst_release.TOOK_FRAME: 3}
    found = list(shards.RecordDirectory(tmp_path / "out", "utterance"))
    assert [(u.id, u.words[0]) for u in found] == [(f"u{n}", Word("a", 1, 2)) for n in range(3)]


@given(utterance_parts(words=WORDS.filter(lambda text: SEP not in text and text != lst_release.SILENCE)))
def test_lines_round_trip(parts):
    utterance = built(parts)
    text = lst_release.format_line(utterance)
    assert lst_release.parse_line(json.loads(text), 501, None) == utterance


@pytest.mark.skipif(not REAL.is_file(), reason="the released sample is not beside the checkout")
def test_released_lines_come_back_byte_for_byte():
    utterances = list(lst_release.read(REAL))
    assert "".join(lst_release.format_line(u) + "\n" for u in utterances) == REAL.read_text(encoding="utf-8")
    assert [(len(u.units), len(u.words)) for u in utterances] == [(374, 35), (407, 38), (413, 41), (406, 41), (417, 39)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "must be a JSON object"),
        ('{"file_id": "u"}', "has no 'interleaved'"),
        ('{"file_id": "", "interleaved": ""}', "file_id is empty"),
        ('{"file_id": "u\\ud800", "interleaved": ""}', "is not JSON"),
        (json.dumps({"file_id": "u", "interleaved": f"{SEP}TEXT a"}), "must be pairs"),
        (json.dumps({"file_id": "u", "interleaved": f"x {SEP}TEXT a {SEP}HUBERT 1"}), "must be pairs"),
        (json.dumps({"file_id": "u", "interleaved": f"{SEP}HUBERT 1 {SEP}TEXT a"}), "has mode 'HUBERT'"),
        (line(("a", ""), ("b", "1")), "word 'a' has no units, and nothing beside it"),
        (line(("", "1")), "without a word"),
        (line(("[SIL]", "")), "has no units"),
        (line(("a", "")), "has no units"),
        (line(("a", "1 x")), "'x' is not a unit"),
        (line(("a", "-1")), "'-1' is not a unit"),
        (line(("a", "²")), "is not a unit"),
        (line(("a", "70000")), "is not a unit"),
        (line(("a", "501")), "unit 501 is outside the codebook of 501"),
    ],
)
def test_a_bad_line_is_one_line_naming_file_line_rule_and_fix(tmp_path, text, message):
    path = tmp_path / "a.on_the_fly"
    path.write_text(f"{line(('a', '1'), name='ok')}\n\n{text}\n", encoding="utf-8")
    items = lst_release.read(path)
    assert next(items).id == "ok"
    with pytest.raises(DataError) as error:
        next(items)
    text = str(error.value)
    assert text.startswith(f"{path}: line 3: ") and message in text and "; " in text and "\n" not in text


def test_bad_lines_are_handed_over_and_the_others_go_on(tmp_path):
    path, bad = tmp_path / "a.on_the_fly", []
    path.write_text(
        "\n".join([line(("a", "1")), "{", line(("a", ""), ("b", "1")), line(("a", "2")), line(("b", "3"), name="u2")])
    )
    assert [u.id for u in lst_release.read(path, on_bad=bad.append)] == ["u1", "u2"]
    assert [e.reason for e in bad] == ["not JSON", "word without units", "the id is there twice"]


@pytest.mark.parametrize("text", ["[SIL]", f"a{SEP}b"])
def test_words_that_would_be_read_as_something_else_are_not_written(text):
    item = utterance()
    bad = Utterance(item.id, item.units, (Word(text, 0, 1),), None, None)
    with pytest.raises(DataError, match="cannot hold|means silence"):
        lst_release.format_line(bad)


def test_a_file_that_is_missing_or_not_utf8_says_so(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        list(lst_release.read(tmp_path / "none"))
    (tmp_path / "latin").write_bytes(b"\n\xe4\n{}\n")
    with pytest.raises(DataError, match="line 2: is not UTF-8"):
        list(lst_release.read(tmp_path / "latin"))
    bad = []
    assert list(lst_release.read(tmp_path / "latin", on_bad=bad.append)) == []
    assert [error.reason for error in bad] == ["not UTF-8", "missing field"]
