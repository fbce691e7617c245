"""Strict JSON: what is refused, in one line, and what our own records may hold."""

import json
import math

import pytest

from lst_jax.core import json_files
from lst_jax.core.errors import DataError


@pytest.mark.parametrize(
    "content, rule",
    [
        (b"{", "is not JSON \\(Expecting"),
        (b"", "is not JSON"),
        (b'{"a": "\xff"}', "is not JSON: byte 7 is not UTF-8"),
        (b"[" * 100_000, "is nested more than 64 deep"),
        (b"[" * 70 + b"]" * 70, "is nested more than 64 deep"),
        (b'{"a": 1' + b"0" * 400 + b"}", "the whole number 1000.* has more than 64 bits"),
        (b'{"a": -36893488147419103232}', "has more than 64 bits"),
        (b'{"a": 1e999}', "the number 1e999 is too large"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b'{"a": "\\ud800"}', "it has half a surrogate pair"),
        (b"[1]", "must be a JSON object, not \\[1\\]"),
        (b"null", "must be a JSON object, not null"),
    ],
)
def test_what_is_no_strict_json_is_refused_in_one_line(tmp_path, content, rule):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rule) as error:
        json_files.read(path, "write it again")
    message = str(error.value)
    assert message.startswith(f"{path}: ") and message.endswith("; write it again") and "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize(
    "value", [{}, {"a": [1, 2.5, "ü\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")]}, {"n": 2**64 - 1}]
)
def test_what_is_json_comes_back(tmp_path, value):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(value))
    assert json_files.read(path, "fix") == value
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # a byte order mark is no content
    assert json_files.read(path, "fix") == value


def test_wide_values_are_not_deep():
    assert json_files.decode("[" + "[]," * 1000 + "[]]", list) == [[]] * 1001


def test_our_own_records_and_models_of_others_may_hold_any_number(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"loss": NaN}\n{"n": 1' + "0" * 30 + "}\n")
    first, second = json_files.read_lines(tmp_path / "m.jsonl")
    assert math.isnan(first["loss"]) and second["n"] == 10**30
    (tmp_path / "tokenizer_config.json").write_text(f'{{"model_max_length": {10**30}}}')
    assert json_files.read_model_file(tmp_path / "tokenizer_config.json")["model_max_length"] == 10**30


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="a.json: no such file; write it"):
        json_files.read(tmp_path / "a.json", "write it")
