import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from import_samples import RATES, built, utterance_parts

from lst_jax.core.errors import DataError
from lst_jax.data.importers import slamkit
from lst_jax.data.records import Utterance, Word


def fields(**changes):
    return {
        "units": [5, 9, 3],
        "duration": [2, 1, 3],
        "file_name": "audio/u1.flac",
        "aligned_text": [["in", 0.0, 0.08], [" the", 0.12, 0.2]],
        **changes,
    }


def test_run_lengths_are_restored_and_words_placed():
    assert slamkit.parse_line(fields(), 25.0, 501, "s") == Utterance(
        "audio/u1", np.array([5, 5, 9, 3, 3, 3], np.uint16), (Word("in", 0, 2), Word("the", 3, 5)), None, "s"
    )


@given(utterance_parts(), st.sampled_from(RATES))
def test_lines_round_trip_through_run_lengths(parts, rate):
    utterance = built(parts)
    line = json.loads(slamkit.format_line(utterance, rate))
    assert all(a != b for a, b in itertools.pairwise(line["units"])) and min(line["duration"]) > 0
    assert slamkit.parse_line(line, rate, 501, None) == utterance


def test_words_are_written_as_slamkit_joins_them():
    utterance = slamkit.parse_line(fields(), 25.0, 501, None)
    line = json.loads(slamkit.format_line(utterance, 25.0))
    assert "".join(word for word, *_ in line["aligned_text"]) == "in the"
    assert (line["units"], line["duration"], line["file_name"]) == ([5, 9, 3], [2, 1, 3], "audio/u1.wav")


def test_words_come_from_the_file_of_the_recording_where_a_folder_is_given(tmp_path):
    path = tmp_path / "features.jsonl"
    lines = [{"units": [5, 9], "duration": [2, 1], "file_name": name} for name in ("x/a.wav", "x/b.wav")]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert [u.words for u in slamkit.read(path, 25.0, 501)] == [(), ()]
    (tmp_path / "a.json").write_text(json.dumps({"text": "in", "aligned_text": [["in", 0.04, 0.08]]}))
    bad = []
    assert [u.words for u in slamkit.read(path, 25.0, 501, meta=tmp_path, on_bad=bad.append)] == [(Word("in", 1, 2),)]
    assert [e.reason for e in bad] == ["no alignment"] and "line 2" in str(bad[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"duration": [2, 1]}, "3 units have 2 durations"),
        ({"duration": [2, 0, 1]}, "duration has 0"),
        ({"duration": [2, True, 1]}, "duration has True"),
        ({"units": []}, "units is empty"),
        ({"units": [1, 2, 65536]}, "units has 65536"),
        ({"units": [1, 2, 501]}, "outside the codebook"),
        ({"units": [1, 2.0, 3]}, "units has 2.0"),
        ({"aligned_text": [["a", 0.0]]}, r"aligned_text\[0\]"),
        ({"aligned_text": [["a", 0.0, 9.0]]}, "check the unit rate"),
        ({"aligned_text": "a"}, "must be a list"),
        ({"aligned_text": [["a", 0.0, float("nan")]]}, r"aligned_text\[0\]"),
        ({"file_name": 3}, "must not be a int"),
    ],
)
def test_bad_lines_name_the_rule(changes, message):
    with pytest.raises(DataError, match=message):
        slamkit.parse_line(fields(**changes), 25.0, 501, None)
