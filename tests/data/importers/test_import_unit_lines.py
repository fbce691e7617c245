import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from import_samples import RATES, built, utterance_parts

from lst_jax.core.errors import DataError
from lst_jax.data.importers import unit_lines

NAMES = st.none() | st.text(max_size=4)


@given(utterance_parts(ids=st.text(min_size=1, max_size=8)), st.sampled_from(RATES), NAMES, NAMES)
def test_nothing_is_lost_on_the_way_out_and_in(parts, rate, speaker, source):
    utterance = built(parts)
    utterance = dataclasses.replace(utterance, speaker=speaker, source=source)
    assert unit_lines.parse_line(json.loads(unit_lines.format_line(utterance, rate)), rate, 501, None) == utterance


def test_units_alone_are_enough(tmp_path):
    path = tmp_path / "u.jsonl"
    path.write_text('{"id": "a", "units": [1, 2]}\n{"id": "b", "units": [3], "source": "own"}\n')
    found = list(unit_lines.read(path, 50.0, 4, source="given"))
    assert [(u.id, u.units.tolist(), u.words, u.source) for u in found] == [
        ("a", [1, 2], (), "given"),
        ("b", [3], (), "own"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"id": "a", "units": [1], "unit_rate": 50}, "unit_rate is 50, asked for 25"),
        ({"id": "a", "units": [1], "word": []}, "unknown fields word"),
        ({"id": "a", "units": [1], "speaker": 3}, "speaker must not be a int"),
        ({"id": "a", "units": "1 2"}, "units must not be a str"),
        ({"id": "a", "units": [1], "words": [["a", 0.5, 0.1]]}, "ends before it starts"),
        ({"id": "a", "units": [1], "words": [["a", 0, 10**400]]}, r"words\[0\]"),
    ],
)
def test_bad_lines_name_the_rule(line, message):
    with pytest.raises(DataError, match=message):
        unit_lines.parse_line(line, 25.0, 501, None)


def test_the_rate_is_taken_from_the_first_line(tmp_path):
    path = tmp_path / "u.jsonl"
    path.write_text('{"id": "a", "units": [1], "unit_rate": 50}\n')
    assert unit_lines.first_rate(path) == 50.0
    path.write_text('{"id": "a", "units": [1]}\n')
    assert unit_lines.first_rate(path) is None
