"""`lst fit`: what it prints, writes and refuses."""

import json
import re

import numpy as np
import points_file
import pytest
from test_gap import PAPER

from lst_jax import __version__
from lst_jax.bench import synthetic_runs as synthetic
from lst_jax.bench.synthetic_runs import HOFFMANN
from lst_jax.cli.main import main

N, D = synthetic.iso_flop(np.geomspace(6e18, 3e21, 4), 5, 6)
EDGE = 10  # sizes beyond the best at the first budget


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """Text of Base and LST, and of Base a first budget whose best size is beyond its sizes."""
    rng = np.random.default_rng(0)
    n = N * np.where(np.arange(len(N)) < 5, EDGE, 1)
    base = synthetic.points(n, N * D / n, synthetic.noisy(synthetic.loss(n, N * D / n, **HOFFMANN), 1e-3, rng))
    ours = synthetic.points(N, D, synthetic.noisy(synthetic.loss(1.4 * N, D, **HOFFMANN), 1e-3, rng), "lst")
    return points_file.write(tmp_path_factory.mktemp("points") / "points.jsonl", base + ours)


def fit(points, *options):
    return main(["fit", str(points), "--repeats", "100", *map(str, options)])


def test_everything_is_fitted_written_and_drawn(points, tmp_path, capsys):
    at = f"{N.max():.0f},{D.max():.0f}"
    assert fit(points, "--out", tmp_path, "--json", "--predict", at, "--far") == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((tmp_path / "fit.json").read_text())
    kinds = {(f["kind"], *f["systems"]): f for f in document["fits"]}
    assert set(kinds) == {
        ("law", "base"),
        ("law", "lst"),
        ("isoflop", "base"),
        ("isoflop", "lst"),
        ("joint", "base", "lst"),
        ("multiplier", "lst", "base"),
        ("gap", "lst", "base"),
    }
    law = kinds["law", "lst"]
    assert law["runs"][3] == {"run": "lst-3", "config_hash": "hash-lst-3", "commit": None}
    assert law["code"]["lst_jax"] == __version__ and "commit" in law["code"]
    assert law["numbers"]["alpha"]["value"] == pytest.approx(0.34, rel=0.05)
    assert law["predictions"][0]["value"] == pytest.approx(synthetic.loss(1.4 * N.max(), D.max(), **HOFFMANN), rel=0.01)
    multiplier = kinds["joint", "base", "lst"]["numbers"]["parameters_multiplier/lst"]
    assert multiplier["value"] == pytest.approx(1.4, rel=0.05)
    compute = kinds["multiplier", "lst", "base"]
    # the optimum's terms fall alike with C, so that 1.4 of each parameter is 1.4 of C at every loss
    assert (
        compute["numbers"]["multiplier_at_lowest_loss"]["low"]
        < 1.4
        < compute["numbers"]["multiplier_at_highest_loss"]["high"]
    )
    assert compute["grows"] is None and compute["curve"][0]["loss"] == compute["highest_loss"]
    budgets = kinds["isoflop", "base"]["budgets"]
    assert "at the edge" in budgets[0]["refused"] and "refused" not in budgets[1]
    assert not any(run["run"] in budgets[0]["runs"] for run in kinds["isoflop", "base"]["runs"])
    assert "do not move together" in kinds["gap", "lst", "base"]["refused"]
    text = (tmp_path / "fit.txt").read_text()
    assert "base: loss_text: L(N, D) = E + A·N^-alpha + B·D^-beta\n  20 runs, scatter 0." in text
    assert re.search(
        r"lst over base: loss_text: compute multiplier\n  40 runs; how much more compute base needs along "
        r"best N and D, at losses from [\d.]+ down to [\d.]+; may grow or shrink as losses fall\n",
        text,
    )
    assert "refused: the best N is at the edge, nearest to the smallest size; add smaller ones" in text
    for name in ("loss_flops", "multiplier", "isoflop_text"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (tmp_path / f"{name}.svg").read_text()


def test_at_equal_time_a_slower_system_saves_less(points, tmp_path, capsys):
    """Per FLOP the system takes a quarter longer than Base: of 1.4 times the compute, 1.4 / 1.25 is left."""
    runs = [json.loads(line) for line in points.read_text().splitlines()]
    timed = tmp_path / "points.jsonl"
    slower = {"base": 1e-9, "lst": 1.25e-9}
    timed.write_text("\n".join(json.dumps(r | {"seconds": r["flops"] * slower[r["system"]]}) for r in runs))
    assert fit(timed, "--out", tmp_path / "fit", "--json", "--cost", "seconds") == 0
    document = json.loads(capsys.readouterr().out)
    (multiplier,) = [f for f in document["fits"] if f["kind"] == "multiplier"]
    at_lowest = multiplier["numbers"]["multiplier_at_lowest_loss"]
    assert document["cost"] == "seconds" and at_lowest["low"] < 1.4 / 1.25 < at_lowest["high"] < 1.4
    assert "C is seconds of training" in (tmp_path / "fit" / "fit.txt").read_text()
    assert not list((tmp_path / "fit").glob("*.png"))


def test_runs_without_their_time_are_not_compared_at_equal_time(points, capsys):
    assert fit(points, "--cost", "seconds") == 3
    assert "run='base-0': has no seconds; collect the points again, or fit with --cost flops" in capsys.readouterr().err


def test_the_same_runs_give_the_same_numbers(points, capsys):
    outputs = []
    for _ in range(2):
        assert fit(points, "--system", "lst", "--loss", "text") == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] and "base" not in outputs[0]


def test_a_prediction_far_away_needs_a_flag(points, capsys):
    assert fit(points, "--predict", f"{10 * N.max()},{D.min()}") == 2
    error = capsys.readouterr().err
    assert "--predict" in error and "times the largest of" in error and "add --far" in error


def test_the_paper_s_pairs_have_gaps_and_no_laws(capsys):
    assert fit(PAPER) == 0
    printed = capsys.readouterr().out
    assert "lst over base: accuracy_speech: gap\n  2 pairs, gaps 0.008, 0.037 from the smallest" in printed
    assert "L(N, D)" not in printed


@pytest.mark.parametrize(
    "options, code, message",
    [
        (["--system", "bas"], 2, "--system bas: no run of .*points.jsonl is of it; its systems are base, lst"),
        (["--repeats", "10"], 2, "--repeats 10: must be at least 100"),
        (["--seed", "-1"], 2, "--seed -1: must not be"),
        (["--loss", "speech"], 3, "nothing could be fitted; the first reason: no run has a speech loss"),
    ],
)
def test_mistakes_are_one_line(points, capsys, options, code, message):
    assert fit(points, *options) == code
    assert re.fullmatch(f"lst fit: .*{message}.*\n", capsys.readouterr().err)


def test_runs_that_carry_nothing_fail_with_the_reason(tmp_path, capsys):
    few = points_file.write(tmp_path / "few.jsonl", synthetic.points(N[:3], D[:3], D[:3] * 0 + 3))
    assert fit(few) == 3
    streams = capsys.readouterr()
    assert "base: loss_text: law: refused: base has loss_text at" in streams.out
    assert streams.err.startswith(f"lst fit: {few}: nothing could be fitted; the first reason: base has loss_text at")


@pytest.mark.parametrize("text", ["1e9", "1e9,", "a,b", "0,5", "1e9,inf"])
def test_a_prediction_that_is_no_pair_of_numbers_is_refused(points, capsys, text):
    with pytest.raises(SystemExit):
        fit(points, "--predict", text)
    assert "must be two numbers above 0; write N,D such as 7e9,1.4e11" in capsys.readouterr().err
