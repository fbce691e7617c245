"""Tables of other people's runs: read as they come, and every doubt said or refused in one line."""

import csv
import io
import json

import numpy as np
import pytest

from lst_jax.core.errors import ConfigError, DataError
from lst_jax.laws.columns import Columns
from lst_jax.laws.tables import read_runs

RUNS = [(7e7, 1.4e9, 3.5), (1.4e8, 2.8e9, 3.2), (2.8e8, 5.6e9, 3.0)]
PLAIN = "params,tokens,loss\n7e7,1.4e9,3.5\n1.4e8,2.8e9,3.2\n2.8e8,5.6e9,3.0\n"


def read(tmp_path, content, name="runs.csv", **columns):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_runs(path, Columns(**columns))


def triples(runs):
    return [(p.parameters, p.tokens, p.measures["loss"]) for p in runs.points]


def written(quoting=csv.QUOTE_MINIMAL, end="\r\n"):
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting, lineterminator=end)
    writer.writerows([("params", "tokens", "loss"), *RUNS])
    return text.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        "\ufeff" + PLAIN,
        PLAIN.encode("utf-16"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", ";").replace(".", ","),
        "sep=;\n" + PLAIN.replace(",", ";"),
        "\n\n" + PLAIN.replace("\n", "\n\n") + ",,\n",
        written(csv.QUOTE_ALL),
        written(csv.QUOTE_NONNUMERIC, "\n"),
        ",params,tokens,loss\n0,7e7,1.4e9,3.5\n1,1.4e8,2.8e9,3.2\n2,2.8e8,5.6e9,3.0\n",
        "Unnamed: 0,params,tokens,loss\n9,7e7,1.4e9,3.5\n8,1.4e8,2.8e9,3.2\n7,2.8e8,5.6e9,3.0\n",
        '"params" "tokens" "loss"\n"1" 7e7 1.4e9 3.5\n"2" 1.4e8 2.8e9 3.2\n"3" 2.8e8 5.6e9 3.0\n'.replace(" ", "\t"),
        "N_params,Training Tokens,Val Loss\n70M,1.4B,3.5\n140M,2.8 B,3.2\n0.28 billion,5.6B tokens,3.0\n",
        'params,tokens,loss\n"70,000,000","1,400,000,000",3.5\n1.4e8,2.8e9,3.2\n2.8e8,5.6e9,3.0\n',
        'params,tokens,loss\n7e7,"1,4e9","3,5"\n"1,4e8","2,8e9","3,2"\n"2,8e8","5,6e9","3,0"\n',
        "Params (M);tokens_B;Loss\n70;1.4;3.5\n140;2.8;3.2\n280;5.6;3.0\n",
        '"val\n loss",tokens,N\n3.5,1.4e9,7e7\n3.2,2.8e9,1.4e8\n3.0,5.6e9,2.8e8\n',
        "loss,note,D,N\n3.5,,1.4e9,7e7\n3.2,a,2.8e9,1.4e8\n3.0,nan,5.6e9,2.8e8\n",
    ],
)
def test_a_table_is_read_however_its_program_writes_it(tmp_path, content):
    runs = read(tmp_path, content)
    np.testing.assert_allclose(triples(runs), RUNS)
    assert not any("\n" in note or "ufeff" in note for note in runs.notes)
    assert runs.kinds == ("",) and len(runs.notes) == 2 and runs.notes[1] == "C = 6·N·D, as no column holds FLOPs."
    np.testing.assert_allclose([p.flops for p in runs.points], [6 * n * d for n, d, _ in RUNS])


@pytest.mark.parametrize("form", [json.dumps, lambda items: "\n".join(map(json.dumps, items)), "pretty"])
def test_json_is_read_as_a_list_or_line_by_line(tmp_path, form):
    items = [{"params": n, "tokens": f"{d / 1e9:g}B", "val_loss": loss} for n, d, loss in RUNS]
    items.insert(1, {"params": 7e7, "val_loss": float("nan")})
    content = json.dumps(items, indent=1) if form == "pretty" else form(items)
    runs = read(tmp_path, content, "runs.json")
    np.testing.assert_allclose(triples(runs), RUNS)
    where = "line 2" if content.startswith("{") else "run 2"
    assert runs.notes[-1] == f"1 of 4 rows are left out for an empty or nan cell: {where} (tokens)."
    assert [p.config_hash for p in runs.points] == [None] * 3


def test_columns_of_any_name_are_taken_by_the_user_s_word_and_said(tmp_path):
    content = PLAIN.replace("params", "width").replace("tokens", "steps").replace("loss", "c4 bpb")
    content = content.replace("1.4e9", "1000").replace("2.8e9", "2000").replace("5.6e9", "4000")
    runs = read(tmp_path, content, params="width", tokens="Steps ", loss="c4 bpb", tokens_unit=1.4e6)
    np.testing.assert_allclose(triples(runs), RUNS)
    assert runs.notes[0] == (
        "3 runs of runs.csv: N is 'width' (7e+07 to 2.8e+08), D is 'steps' × 1.4e+06 (1.4e+09 to 5.6e+09), L is "
        "'c4 bpb' (3 to 3.5)."
    )


def test_tokens_follow_from_flops_where_no_column_holds_them(tmp_path):
    content = "N,C,L\n" + "".join(f"{n},{6 * n * d / 1e18},{loss}\n" for n, d, loss in RUNS)
    runs = read(tmp_path, content, flops_unit=1e18)
    np.testing.assert_allclose(triples(runs), RUNS)
    assert "D = C / (6·N), as no column holds tokens." in runs.notes


def test_flops_of_a_column_are_taken_and_odd_ones_are_said(tmp_path):
    content = "N,D,EFLOPs,loss\n" + "".join(f"{n},{d},{30 * n * d / 1e18},{loss}\n" for n, d, loss in RUNS)
    runs = read(tmp_path, content)
    np.testing.assert_allclose([p.flops for p in runs.points], [30 * n * d for n, d, _ in RUNS])
    assert "C is 5 times 6·N·D in the median run: check the units." in runs.notes
    with pytest.raises(DataError, match=r"FLOPs are 5e-18 times 6·N·D in the median run; give the right --params-unit"):
        read(tmp_path, content.replace("EFLOPs", "FLOPs"))


def test_rows_without_a_number_are_named_once_with_their_count(tmp_path):
    bad = "nan,1e9,3\n7e7,,3\n7e7,1e9,NaN\n7e7,1e9,inf\n7e7,1e9\n-,1e9,3\n"
    runs = read(tmp_path, PLAIN + bad)
    assert len(runs.points) == 3
    assert runs.notes[-1] == (
        "6 of 9 rows are left out for an empty or nan cell: line 5 (params), line 6 (tokens), line 7 (loss), "
        "line 8 (loss), line 9 (loss), …."
    )


def test_runs_are_named_by_the_table_or_by_their_lines(tmp_path):
    assert [p.run for p in read(tmp_path, PLAIN).points] == ["line 2", "line 3", "line 4"]
    named = "run," + PLAIN.replace("\n7", "\na,7").replace("\n1", "\nb,1").replace("\n2", "\na,2")
    runs = read(tmp_path, named)
    assert [p.run for p in runs.points] == ["a (line 2)", "b", "a (line 4)"]
    assert runs.notes[-1].startswith("'run' names 2 runs on 3 rows: each row counts as a run")
    assert {p.system for p in runs.points} == {"runs"}


def test_systems_are_those_of_a_column(tmp_path):
    content = "arch," + PLAIN.replace("\n7", "\nmoe,7").replace("\n1", "\ndense,1").replace("\n2", "\nmoe,2")
    assert [p.system for p in read(tmp_path, content, system="arch").points] == ["moe", "dense", "moe"]
    many = "system,N,D,loss\n" + "".join(f"s{i},1e8,{i + 1}e9,3\n" for i in range(13))
    with pytest.raises(DataError, match="system: names 13 systems, over 12; say with --system-column which"):
        read(tmp_path, many)


def test_repeated_rows_are_counted_and_said(tmp_path):
    assert read(tmp_path, PLAIN + "7e7,1.4e9,3.5\n").notes[-1] == (
        "1 rows repeat the numbers of another one, and count again."
    )


def test_our_own_points_are_still_read_strictly_unless_a_column_is_named(tmp_path):
    own = {"run": "a", "system": "lst", "parameters": 7e7, "tokens": 1.4e9, "flops": 5.88e17, "loss_text": 3.5}
    own |= {"config_hash": "0", "commit": None}
    runs = read(tmp_path, json.dumps(own), "points.jsonl")
    assert (runs.kinds, runs.notes, runs.points[0].measures) == (None, (), {"loss_text": 3.5})
    with pytest.raises(DataError, match="line 1: loss: unknown field"):
        read(tmp_path, json.dumps(own | {"loss": 3}), "points.jsonl")
    runs = read(tmp_path, json.dumps(own), "points.jsonl", loss="loss_text")
    assert runs.kinds == ("",) and runs.points[0].measures == {"loss": 3.5} and runs.points[0].system == "lst"


@pytest.mark.parametrize(
    "content, columns, message",
    [
        ("", {}, "runs.csv: holds no runs; write a line of names and one line per run"),
        ("params,tokens,loss\n", {}, "runs.csv: holds no runs"),
        ("7e7,1.4e9,3.5\n1.4e8,2.8e9,3.2\n", {}, "line 1: holds numbers where the columns' names should be; write"),
        ("params tokens loss\n7e7 1.4e9 3\n", {}, "no column of parameters among 'params tokens loss'; .*commas, semi"),
        ("params,tokens,bpb\n7e7,1e9,3\n", {}, "no column of losses among .*'bpb'; say which it is with --loss-column"),
        ("params,loss\n7e7,3\n", {}, "no column of tokens or FLOPs among 'params', 'loss'; say .* --tokens-column"),
        ("N,D,val_loss,train_loss\n7e7,1e9,3,3\n", {}, "loss may be 'val_loss' or 'train_loss'; say which with --loss"),
        ("N,D,loss,loss\n7e7,1e9,3,3\n", {}, "loss may be 'loss' or 'loss'"),
        ("N,D,loss,loss\n7e7,1e9,3,3\n", {"loss": "loss"}, "--loss-column loss: .* has 2 columns of this name"),
        (PLAIN, {"loss": "bpb"}, "--loss-column bpb: .*runs.csv has no such column; its columns are 'params', 'tok"),
        (PLAIN, {"loss": "tokens"}, "no column of tokens or FLOPs"),
        (PLAIN, {"loss": "loss", "run": "loss"}, "--run-column loss: is the column of loss already"),
        (PLAIN, {"flops_unit": 1e18}, "--flops-unit: .*runs.csv has no such column; add --flops-column NAME"),
        (PLAIN + "x,1e9,3\n", {}, "line 5: params='x': is no number; write a number above 0 such as 1.5e9 or 1.5B"),
        (PLAIN + "7e7,-1,3\n", {}, "line 5: tokens='-1': must be above 0 and below 1e.100"),
        (PLAIN + "7e7,1e999,3\n", {}, "line 5: tokens='1e999': must be above 0 and below 1e.100"),
        (PLAIN + "7e7,1e9,3B\n", {}, "line 5: loss='3B': has a unit, and should have none"),
        ("params_M,tokens,loss\n70M,1e9,3\n", {}, "line 2: params_M='70M': has a unit, and so has its column"),
        (
            "params_M,tokens,loss\n7e7,1e9,3\n",
            {},
            r"params_M: has 7e\+07 in a column of 1e\+06; say its unit with --pa",
        ),
        ("size,tokens,loss\n1.5,1e9,3\n7,1e9,2\n", {}, "size: is at most 7 params; say its unit, as --params-unit B"),
        ("params,tokens,loss\n7e7,1,4e9,3,5\n", {}, "line 2: has 5 cells, and the first line 3 names; put .*decimal c"),
        ("N,D,loss\n0,7e7,1e9,3\n2,7e7,1e9,3\n", {}, "line 2: has 4 cells, and the first line 3 names"),
        ('N,D,loss\n7e7,1e9,"3,123"\n', {}, "'3,123' may have a decimal comma or a comma between thousands; say --dec"),
        ("N;D;loss\n7e7;1e9;3,1\n7e7;1e9;3.1\n", {}, "'3.1' has a decimal dot and '3,1' a decimal comma"),
        ("N;D;loss\n7e7;1e9;3.1\n", {"decimal": ","}, "line 2: loss='3.1': is no number with a decimal comma"),
        ("N,D,loss\n,1e9,3\n7e7,nan,3\n", {}, "all 2 rows have an empty or nan cell, the first in 'N'"),
        (
            'N,D,loss\n7e7,"1e9,3\n7e7,1e9,3\n',
            {},
            "from here on it cannot be read as CSV .*; correct the quotation marks",
        ),
        (b"N,D,loss\n7e7,1e9,3\xe9\n", {}, "runs.csv: cannot be read .not UTF-8.; give a file of JSON lines or CSV"),
        (b"PK\x03\x04\xff\xfe", {}, "cannot be read .not UTF-8."),
        ("[1]", {}, "run 1: is no JSON object; write one JSON object per run"),
        ("[{", {}, "runs.csv: is not JSON"),
        ('[{"N": {"0": 7e7}, "D": {"0": 1e9}, "loss": {"0": 3}}]', {}, "run 1: N={'0': 70000000.0}: is no number"),
        ("N,D,loss\n" + "7e7,1e9,3\n" * 5001, {}, "holds 5,001 rows, over 5,000; keep one row per finished run"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_says_why(tmp_path, content, columns, message):
    with pytest.raises((DataError, ConfigError), match=message) as caught:
        read(tmp_path, content, **columns)
    assert "\n" not in str(caught.value)
