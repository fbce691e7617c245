"""`lst evaluate --tasks` on a run directory: every direction, what is kept, what the report shows, what is refused."""

import json

import numpy as np
import pytest
import saved_run
import synthetic_data

from lst_jax.cli import main
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.data.tasks import items
from lst_jax.data.tasks.items import Item, Part
from lst_jax.evals import tasks
from lst_jax.evals.records import store
from lst_jax.evals.scorer import Amount


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return saved_run.make(tmp_path_factory.mktemp("run"))


def random_part(rng, name=None):
    return Part(
        " ".join(rng.choice(synthetic_data.WORDS, int(rng.integers(1, 5)))),
        rng.integers(0, 501, int(rng.integers(3, 20))).astype(np.uint16),
        None,
        name,
    )


def write_task(path, found, unit_rate=25.0):
    path.write_text("".join(f"{json.dumps(items.line(item, unit_rate, None))}\n" for item in found))
    return path


def test_pairs_are_averaged_over_voices_and_submitted_by_name(run, tmp_path, capsys):
    rng = np.random.default_rng(0)
    found = [
        Item(
            f"{n}-{voice}",
            None,
            tuple(random_part(rng, f"f{n}{voice}{i}") for i in range(2)),
            0,
            str(n),
            {"frequency": "oov" if n % 2 else ">100"},
        )
        for n in range(5)
        for voice in ("a", "b")
    ]
    path = write_task(tmp_path / "swuggy.jsonl", found)
    assert main.main(["evaluate", str(run.path), "--tasks", f"swuggy={path}", "--directions", "s2s", "--json"]) == 0
    (kept,) = json.loads(capsys.readouterr().out)
    (result,) = kept["results"]
    assert (result["scored"], result["patches"], result["patching"]) == ("response", "restart", "static patches of 4")
    (submitted,) = run.path.glob("evaluations/swuggy-*-restart-response-s2s-sum.txt")
    score = {name: float(value) for name, value in map(str.split, submitted.read_text().splitlines())}
    assert len(score) == 20
    by_id = {}
    for n in range(5):  # as the challenge's program does: right or wrong by voice, mean by id, mean of all
        by_id[n] = np.mean([score[f"f{n}{v}0"] > score[f"f{n}{v}1"] for v in "ab"])
    assert result["rules"]["sum"]["accuracy"] == pytest.approx(np.mean(list(by_id.values())))
    assert result["rules"]["sum"]["groups"] == 5
    oov = result["bands"]["frequency"]["oov"]["sum"]
    assert oov["accuracy"] == pytest.approx(np.mean([by_id[1], by_id[3]])) and oov["groups"] == 2
    rows = [row for record in store.read(run.path).records for row in record.rows()]
    (row, *_) = [row for row in rows if row[0] == "swuggy S→S"]
    assert row[2].startswith("sum; 95% interval") and "static patches of 4; step" in row[2]
    assert "the response given the prompt; the response's first patch starts with it" in row[2]


def test_a_task_with_both_modalities_has_four_directions_and_says_how_it_was_scored(run, tmp_path, capsys):
    rng = np.random.default_rng(1)
    found = [Item(str(n), random_part(rng), tuple(random_part(rng) for _ in range(3)), n % 3) for n in range(6)]
    path = write_task(tmp_path / "mine.jsonl", found)
    assert tasks.available(found) == ["s2s", "t2t", "s2t", "t2s"]
    assert (
        main.main(
            [
                "evaluate",
                str(run.path),
                "--tasks",
                f"mine={path}",
                "--patches",
                "continue",
                "--score",
                "whole",
                "--directions",
                "t2s,s2t",
            ]
        )
        == 0
    )
    shown = capsys.readouterr().out
    for arrow in ("S→T", "T→S"):
        assert f"mine {arrow}" in shown
    assert "prompt and response; the response goes on in the prompt's patches" in shown and "chance 33%" in shown
    assert (run.path / "evaluations").joinpath("mine-00000000-continue-whole.json").is_file()


def test_held_out_text_has_perplexity_and_bits_per_character(run, capsys):
    assert main.main(["evaluate", str(run.path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    texts = [document.text for document in synthetic_data.texts(20)]
    tokens = [len(synthetic_data.tokenizer().encode(text)) + 1 for text in texts]  # and EOS
    kept = [i for i, count in enumerate(tokens) if count + 2 <= 128]  # a row's unit positions
    ratio = sum(tokens[i] for i in kept) / sum(len(texts[i]) for i in kept)
    perplexity = found["heldout/text/perplexity_per_text_token"]
    assert found["heldout/text/bits_per_character"] == pytest.approx(np.log2(perplexity) * ratio, rel=1e-6)


@pytest.mark.parametrize(
    "arguments, error, said",
    [
        (["--tasks", "mine"], ConfigError, "must be NAME=PATH"),
        (["--tasks", "mine=no.jsonl"], DataError, "no.jsonl: no such file"),
        (["--tasks", "completion", "--directions", "x2y"], ConfigError, "--directions x2y: must be some of"),
        (["--patches", "continue"], ConfigError, "--patches: belongs to tasks"),
    ],
)
def test_a_mistake_is_one_line(run, capsys, arguments, error, said):
    assert main.main(["evaluate", str(run.path), *arguments]) == error.exit_code
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1


def test_units_of_another_rate_or_codebook_and_missing_ones_are_refused(run, tmp_path, capsys):
    rng = np.random.default_rng(2)
    found = [Item("a", random_part(rng), (random_part(rng), random_part(rng)), 0)]
    outside = Item("a", None, (Part(None, np.array([600], np.uint16)),) * 2, 0)
    for path, said in (
        (write_task(tmp_path / "rate.jsonl", found, 50.0), "unit_rate=50.0, the run has"),
        (write_task(tmp_path / "units.jsonl", [outside]), "outside the codebook"),
    ):
        assert main.main(["evaluate", str(run.path), "--tasks", f"x={path}"]) == DataError.exit_code
        assert said in capsys.readouterr().err
    path = tmp_path / "text.jsonl"
    path.write_text('{"choices": ["a", "b"], "label": 0}\n')
    arguments = ["evaluate", str(run.path), "--tasks", f"x={path}", "--directions", "s2s"]
    assert main.main(arguments) == DataError.exit_code
    assert "task x: item text.jsonl:1: s2s: a prompt or choice has no units" in capsys.readouterr().err


def test_a_tie_counts_half_and_rules_can_disagree():
    item = Item("a", None, (Part("x"), Part("y")), 0)
    found = tasks.judge([item], [[Amount(4.0, 4, 2, None), Amount(4.0, 2, 2, None)]])["rules"]
    accuracies = {rule: share["accuracy"] for rule, share in found.items()}
    assert accuracies == {"sum": 0.5, "per_token": 1.0, "per_patch": 0.5}
