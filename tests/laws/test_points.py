"""Files of runs are read strictly: every mistake is one line that names the line, the field and the fix."""

import json

import numpy as np
import pytest

from lst_jax.core.errors import DataError
from lst_jax.laws.points import at_cost_of_time, groups, read_points, spaced

RUN = {
    "run": "a",
    "system": "lst",
    "parameters": 1e6,
    "text_tokens": 2e7,
    "speech_tokens": 1e7,
    "flops": 1.8e14,
    "loss_text": 3.5,
    "loss_speech": 2.5,
    "config_hash": "0123",
    "commit": None,
}


def file(tmp_path, *runs):
    path = tmp_path / "points.jsonl"
    path.write_text("\n".join(run if isinstance(run, str) else json.dumps(run) for run in runs))
    return path


def test_tokens_are_the_sum_of_both_kinds_unless_given(tmp_path):
    alone = {k: v for k, v in RUN.items() if "_tokens" not in k} | {"run": "b", "tokens": 4e7, "commit": "0f" * 20}
    first, second = read_points(file(tmp_path, RUN, "", alone))
    assert (first.tokens, second.tokens) == (3e7, 4e7)
    assert first.measures == {"loss_text": 3.5, "loss_speech": 2.5} and second.commit == "0f" * 20


def test_the_time_of_training_may_stand_for_flops(tmp_path):
    (point,) = read_points(file(tmp_path, RUN | {"seconds": 900.0}))
    assert point.flops == 1.8e14 and at_cost_of_time([point], "f")[0].flops == 900.0
    (untimed,) = read_points(file(tmp_path, RUN))
    with pytest.raises(DataError, match="f: run='a': has no seconds"):
        at_cost_of_time([point, untimed], "f")


def test_a_measure_that_was_not_taken_may_be_null_or_left_out(tmp_path):
    (point,) = read_points(file(tmp_path, RUN | {"loss_speech": None}))
    assert point.measures == {"loss_text": 3.5}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"loss": 3}, "line 2: loss: unknown field; the fields are run, system, parameters"),
        ({"flops": ...}, "line 2: flops: missing; every run has run, system, parameters, flops, config_hash, commit"),
        ({"flops": None}, "line 2: flops=None: must be a number"),
        ({"parameters": "1e6"}, "line 2: parameters='1e6': must be a number above 0"),
        ({"parameters": 0}, "line 2: parameters=0: must be a number above 0"),
        (
            {"loss_text": float("nan")},
            "line 2: is not JSON .NaN is no JSON number.; write one JSON object per line",
        ),
        ({"loss_text": True}, "line 2: loss_text=True: must be a number"),
        ({"config_hash": 5}, "line 2: config_hash=5: must be a string"),
        ({"speech_tokens": ...}, "line 2: tokens: missing; give tokens, or text_tokens and speech_tokens"),
        ({"tokens": 4e7}, r"line 2: tokens=4e\+07: is not text_tokens \+ speech_tokens = 3e\+07; leave tokens out"),
        (
            {"loss_text": None, "loss_speech": ...},
            "line 2: has no measure; give at least one of loss_text, loss_speech",
        ),
        ({"accuracy_text": 45.5}, "line 2: accuracy_text=45.5: must be at most 1; write 0.455 for 45.5%"),
        ({"run": "a"}, "line 2: run='a': is there twice; keep one of its lines"),
    ],
)
def test_a_broken_run_is_one_line_that_names_it(tmp_path, changes, message):
    run = {k: v for k, v in (RUN | {"run": "b"} | changes).items() if v is not ...}
    with pytest.raises(DataError, match=f"points.jsonl: {message}"):
        read_points(file(tmp_path, RUN, run))


@pytest.mark.parametrize(
    "lines, message",
    [
        (["{"], "points.jsonl: line 1: is not JSON .*; write one JSON object per line"),
        (["[1]"], "points.jsonl: line 1: must be a JSON object, not .1.; write one"),
        ([], "points.jsonl: holds no runs"),
    ],
)
def test_a_broken_file_is_one_line_that_names_it(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        read_points(file(tmp_path, *lines))


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(DataError, match="none.jsonl: cannot be read .No such file or directory.; give a file of JSON"):
        read_points(tmp_path / "none.jsonl")


def test_sizes_of_a_dense_row_are_told_apart():
    assert [g.tolist() for g in spaced(np.array([1.08, 3.0, 1.04, 1.0, 1.12]))] == [[3, 2], [0, 4], [1]]


def test_values_are_grouped_along_chains_of_small_gaps():
    assert [g.tolist() for g in groups(np.array([1.0, 3.0, 1.04, 1.08, 3.2]))] == [[0, 2, 3], [1], [4]]
