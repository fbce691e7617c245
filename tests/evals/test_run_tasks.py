"""`lst evaluate --tasks` on a run directory: every direction, what is kept, what the report shows, what is refused."""

import dataclasses
import json
import types

import numpy as np
import pytest
import saved_run
import synthetic_data

from lst_jax.cli import main
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.data.pipeline import open_source
from lst_jax.data.tasks import completion, items
from lst_jax.data.tasks.items import Item, Part
from lst_jax.evals import evaluator, scorer, tasks
from lst_jax.evals.records import store
from lst_jax.evals.scorer import Amount
from lst_jax.parallel import sharding
from lst_jax.runs.directory import RunDirectory
from lst_jax.step import update


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
    assert result["rules"]["sum"]["by_group"] == pytest.approx(list(by_id.values()))
    assert kept["digest"] == items.digest(found)
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


def test_tasks_given_in_any_way_are_all_scored_and_what_no_training_row_holds_is_counted_in_one_line(
    run, tmp_path, capsys
):
    rng = np.random.default_rng(3)
    texts = [Item(str(n), None, (Part("the river"), Part("river the")), 0) for n in range(3)]
    units = [rng.integers(0, 501, length).astype(np.uint16) for length in (5, 300, 9, 280)]
    long = [Item(str(n), None, (Part(None, units[2 * n]), Part(None, units[2 * n + 1])), 0) for n in range(2)]
    asked = (("one", texts), ("two", texts), ("three", texts), ("long", long))
    one, two, three, four = (f"{name}={write_task(tmp_path / f'{name}.jsonl', found)}" for name, found in asked)
    arguments = ["--tasks", f"{one},{two}", "--task", three, "--tasks", four, "--json"]
    assert main.main(["evaluate", str(run.path), *arguments]) == 0
    shown = capsys.readouterr()
    kept = json.loads(shown.out)
    assert [record["task"] for record in kept] == ["one", "two", "three", "long"]
    assert kept[0]["results"] == kept[1]["results"] == kept[2]["results"]
    (line,) = [line for line in shown.err.splitlines() if "training row" in line]
    data = run.load_config().data
    assert line == (
        f"long S→S: 2 of 4 sequences are longer than a training row (data.row_tokens={data.row_tokens}, "
        f"data.row_patches={data.row_patches}; the longest has 303 tokens); they are scored whole, at positions that "
        "training did not reach"
    )
    (record,) = [found for found in store.read(run.path).records if found.KIND == "choices" and found.task == "long"]
    assert record.results[0].beyond_training_rows == 2 and record.results[0].fill.longest == 303
    assert "2 of 4 sequences longer than a training row" in record.rows()[0][2]


def test_two_tasks_of_one_name_are_refused(run, tmp_path, capsys):
    path = write_task(tmp_path / "one.jsonl", [Item("a", None, (Part("a"), Part("b")), 0)])
    assert main.main(["evaluate", str(run.path), "--tasks", f"x={path}", "--tasks", f"x={path}"]) == 2
    assert "is the second task called x, and results are kept by name; run the" in capsys.readouterr().err


def test_completions_that_are_cut_to_a_training_row_are_counted_in_one_line(run, tmp_path, monkeypatch, capsys):
    """Of `lst evaluate RUN`, whose rows are those of training."""
    config, mesh = run.load_config(), sharding.make_mesh(run.load_config().mesh)
    data = dataclasses.replace(config.data, row_tokens=24, row_patches=24)
    config = dataclasses.replace(config, data=data, eval=dataclasses.replace(config.eval, completion_items=6))
    heldout = evaluator.Evaluator(config, update.build_model(config, mesh), mesh)
    monkeypatch.setattr(
        scorer,
        "packed_values",
        lambda step, params, some, *rest: ([[np.zeros(len(c.example.token)) for c in some]], None),
    )
    monkeypatch.setattr(evaluator, "Evaluator", lambda *arguments: heldout)
    monkeypatch.setattr(evaluator, "load_trained_model", lambda *arguments, **options: opened)
    monkeypatch.setattr(heldout, "run", heldout._completion)
    monkeypatch.setattr(heldout, "text_figures", lambda params: {})
    opened = types.SimpleNamespace(config=config, model=None, mesh=mesh, params=None, step=0)
    assert evaluator.evaluate_run(RunDirectory(tmp_path), True) == 0
    shown = capsys.readouterr().err.splitlines()
    utterances = [u for s in config.eval.sources if s.kind == "utterance" for u in open_source(s, config)]
    found = completion.make_items(utterances, 6)
    frames = [len(item.prompt.units) + len(choice.units) for item in found for choice in item.choices]
    long = sum(n + 3 > 24 for n in frames)  # BOS, marker, EOS
    assert 0 < long
    assert (
        f"completion choice S→S: {long} of {len(frames)} sequences are longer than a training row and were cut to it; "
        "lst evaluate --tasks completion scores them whole"
    ) in shown


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


def test_directions_asked_one_after_the_other_are_kept_while_the_items_are_the_same(run, tmp_path, capsys):
    rng = np.random.default_rng(3)

    def ask(directions):
        words = [
            "evaluate",
            str(run.path),
            "--tasks",
            f"two={tmp_path / 'two.jsonl'}",
            "--directions",
            directions,
            "--json",
        ]
        assert main.main(words) == 0
        printed = [result["direction"] for result in json.loads(capsys.readouterr().out)[0]["results"]]
        (kept,) = run.path.glob("evaluations/two-*.json")
        return printed, [result["direction"] for result in json.loads(kept.read_text())["results"]]

    write_task(tmp_path / "two.jsonl", [Item("a", random_part(rng), (random_part(rng), random_part(rng)), 0)])
    assert ask("s2t") == (["s2t"], ["s2t"])
    assert ask("t2t") == (["t2t"], ["t2t", "s2t"])
    write_task(tmp_path / "two.jsonl", [Item("b", random_part(rng), (random_part(rng), random_part(rng)), 0)])
    assert ask("t2t") == (["t2t"], ["t2t"])


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "b"},
        {"label": 1},
        {"group": "g"},
        {"bands": {"x": "y"}},
        {"prompt": None},
        {"choices": (Part("x"), Part("z"))},
        {"choices": (Part("x"), Part("y", np.array([2], np.uint16)))},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_digest_tells_items_apart(changed):
    item = Item("a", Part("p"), (Part("x"), Part("y", np.array([1], np.uint16))), 0)
    assert items.digest([item]) != items.digest([dataclasses.replace(item, **changed)])
    assert items.digest([item]) == items.digest([dataclasses.replace(item)]) != items.digest([item, item])


def test_a_tie_counts_half_and_rules_can_disagree():
    item = Item("a", None, (Part("x"), Part("y")), 0)
    found = tasks.judge([item], [[Amount(4.0, 4, 2, None), Amount(4.0, 2, 2, None)]])["rules"]
    accuracies = {rule: share["accuracy"] for rule, share in found.items()}
    assert accuracies == {"sum": 0.5, "per_token": 1.0, "per_patch": 0.5}
