"""Budgets: what a run costs, and how long it is for what it may cost."""

import dataclasses
import re

import numpy as np
import pytest

from lst_jax.cli import main
from lst_jax.core.errors import ConfigError
from lst_jax.cost import budget
from lst_jax.cost.parameters import parameters
from lst_jax.cost.plan import batch_holds
from lst_jax.data import made_up
from lst_jax.recipes.load import load_recipe

AWAY = "data.tokenizer=nowhere.model"  # so that records are made up, also where the demo's are at hand
LST, BASE = "configs/demo.py", "configs/demo.py:base"
FROM_MERGED = "configs/demo.py:curriculum-from-aligned-merged"  # patches of 9.4 units, then of 4
POINTS = budget.POINTS


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Fewer records; and fewer samples, where it does not matter how near they come."""
    monkeypatch.setattr(made_up, "UTTERANCES", 60)
    monkeypatch.setattr(made_up, "TEXTS", 20)
    monkeypatch.setattr(budget, "POINTS", 6)


@pytest.mark.parametrize("reference", [FROM_MERGED, BASE, "configs/demo.py:bypass"])
def test_the_cost_is_that_of_every_batch_of_the_run(reference, tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "POINTS", POINTS)
    config = made_up.over(
        load_recipe(reference, ["train.steps=90", "data.patching.tau1=15", "data.patching.tau2=40"]), tmp_path
    )
    found = budget.cost(config)
    assert found.flops == pytest.approx(budget.run_flops(config), rel=0.005)
    assert found.content == f"measured from {tmp_path / 'speech'}, {tmp_path / 'text'}"


def test_without_the_recipe_s_data_the_cost_is_that_of_made_up_records(tmp_path):
    config = load_recipe(LST, [AWAY])
    found, there = budget.cost(config), budget.cost(made_up.over(config, tmp_path))
    assert found.content == "made-up records"
    assert (found.tokens, found.units) == (there.tokens, there.units)
    assert found.flops == pytest.approx(sum(found.flops_by_module.values()))
    assert sum(found.tokens_by_source.values()) == pytest.approx(found.tokens)
    assert found.tokens_by_source["text"] / found.tokens_by_source["speech_text"] == pytest.approx(2, rel=0.05)


def test_sources_of_one_kind_share_its_made_up_tokens():
    config = load_recipe(LST, [AWAY])
    speech, text = config.data.sources
    sources = (text, dataclasses.replace(speech, share=0.25), dataclasses.replace(speech, name="more", share=0.75))
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, sources=sources))
    found = budget.cost(config).tokens_by_source
    assert [*found] == ["text", "speech_text", "more"]
    assert found["more"] == pytest.approx(3 * found["speech_text"])
    assert found["text"] == pytest.approx(2 * (found["speech_text"] + found["more"]), rel=0.05)


def test_a_plan_counts_the_first_batch_as_before():
    config = load_recipe(LST, [AWAY])
    stats = made_up.made_up_batches(config, 1)[0][1]
    assert batch_holds(config) == {key: int(value) for key, value in stats.items() if np.ndim(value) == 0}


@pytest.mark.parametrize("said, per_parameter", [("optimal", 30), ("tokens-per-parameter=2.5", 2.5)])
def test_tokens_go_by_parameters(said, per_parameter):
    config = budget.load(LST, [AWAY], said)
    wanted = per_parameter * parameters(config.model, config.joint_vocab)
    found = budget.cost(config)
    assert abs(found.tokens - wanted) <= 0.501 * found.tokens / found.steps and found.steps > 1000
    assert found.parameters * per_parameter == wanted


@pytest.mark.parametrize(
    "said, what, amount",
    [("tokens=2e6", "tokens", 2e6), ("tokens=2000000", "tokens", 2e6), ("flops=3e13", "flops", 3e13)],
)
@pytest.mark.parametrize("reference", [LST, BASE])
def test_an_amount_is_met_to_the_nearest_step(reference, said, what, amount):
    found = budget.cost(budget.load(reference, [AWAY], said))
    assert abs(getattr(found, what) - amount) <= 0.501 * getattr(found, what) / found.steps


@pytest.mark.parametrize("what", ["tokens", "flops"])
def test_another_recipe_s_amount_is_met_to_the_nearest_step(what):
    found = budget.cost(budget.load(LST, [], f"{what}-of={BASE}@tokens=2e6"))
    theirs = budget.cost(budget.load(BASE, [], "tokens=2e6"))
    assert abs(getattr(found, what) - getattr(theirs, what)) <= 0.501 * getattr(found, what) / found.steps
    assert found.steps != theirs.steps


def test_equal_steps_are_of_equal_unit_positions():
    found = budget.load("configs/lst.py:1b", [], "steps-of=configs/lst.py:1b,base@tokens=70e9")
    theirs = budget.load("configs/lst.py:1b,base", [], "tokens=70e9")
    assert found.train.steps == theirs.train.steps < 150_000
    assert (found.data.rows, found.data.row_patches) == (theirs.data.rows, theirs.data.row_patches)


@pytest.mark.parametrize("ours, theirs", [(LST, BASE), (BASE, LST)])
def test_steps_of_other_sizes_are_refused_with_changes_that_make_them_equal(ours, theirs):
    with pytest.raises(ConfigError, match="a step has 4 × .* patch positions, there 4 × ") as error:
        budget.load(ours, [], f"steps-of={theirs}")
    changes = re.findall(r"--set (\S+)", str(error.value))
    found = budget.load(ours, changes, f"steps-of={theirs}").data
    assert found.rows * found.row_patches == {LST: 4 * 512, BASE: 4 * 640}[theirs]
    assert found.row_tokens / found.row_patches == {LST: 1.25, BASE: 1}[ours]


def test_a_curriculum_keeps_its_shape_and_the_warm_up_its_steps():
    config = budget.load(LST, ["optim.warmup_steps=17"], "tokens=1e7")
    steps, patching = config.train.steps, config.data.patching
    assert abs(patching.tau1 - steps / 3) <= 1 and abs(patching.tau2 - 2 * steps / 3) <= 1 and steps > 3000
    assert config.optim.warmup_steps == 17 and config.eval == load_recipe(LST).eval


def test_what_a_budget_changes_can_be_written_out():
    config = budget.load(LST, [], "tokens=1e7")
    assert load_recipe(LST, budget.changes_of(config)) == config


def test_no_budget_is_the_recipe():
    assert budget.load(LST, ["train.accumulate=2"]) == load_recipe(LST, ["train.accumulate=2"])


@pytest.mark.parametrize(
    "said, message",
    [
        ("optimum", "must be one of optimal, .*; nearest: optimal$"),
        ("token=3", "nearest: tokens=70e9$"),
        ("tokens", "nearest: tokens=70e9$"),
        ("optimal=3", "nearest: optimal$"),
        ("", "must be one of optimal"),
        ("tokens=-3", "must be a positive number; write tokens=70e9"),
        ("tokens=0", "must be a positive number"),
        ("flops=many", "must be a positive number; write flops=1e21"),
        ("flops=inf", "must be a positive number"),
        ("tokens-per-parameter=nan", "must be a positive number; write tokens-per-parameter=30"),
        ("tokens=3", "is less than one step, which has [0-9]+ tokens; give more, or lower data.rows"),
        (
            "tokens=30000",
            "makes train.steps=12, which must be more than optim.warmup_steps=30; add --set "
            "optim.warmup_steps=1, or give a larger budget",
        ),
    ],
)
def test_what_cannot_be_a_budget_is_refused_in_one_line(said, message):
    with pytest.raises(ConfigError, match=message) as error:
        budget.load(LST, [AWAY], said)
    assert str(error.value).startswith(f"--budget {said}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "said, message",
    [
        ("steps-of=nothing.py", "nothing.py: no such recipe"),
        (f"tokens-of={BASE}@optimum", "--budget optimum: must be one of"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_refused(said, message):
    with pytest.raises(ConfigError, match=message):
        budget.load(LST, [], said)


@pytest.mark.parametrize(
    "change, field",
    [
        ("train.steps=9", "train.steps"),
        ("data.patching.tau2=9", "data.patching.tau2"),
        ('data.patching={"tau1": 3}', "data.patching.tau1"),
    ],
)
def test_a_budget_and_a_change_of_what_it_decides_are_refused(change, field):
    with pytest.raises(ConfigError) as error:
        budget.load(LST, [change], "optimal")
    assert str(error.value) == f"--set {change}: --budget optimal decides {field}; leave one of the two out"


def test_the_description_names_sources_flops_and_schedule():
    config = budget.load(LST, [AWAY], "tokens=1e7")
    first, second = budget.describe(config, "tokens=1e7").splitlines()
    assert first.startswith(f"demo-curriculum, tokens=1e7: {config.train.steps:,} steps, 10M tokens (")
    assert "M speech_text, 6.6" in first and first.endswith("3.13M parameters") and "FLOPs" in first
    assert f"aligned patches to step {config.data.patching.tau1:,}, from" in second and "made-up records" in second


def test_a_launched_job_derives_nothing(capsys):
    words = [
        "launch",
        "paper",
        "--config",
        "configs/lst.py:7b",
        "--cluster",
        "launch/v5p_gke.toml",
        "--to",
        "jobset",
        "--set",
        "train.accumulate=4",
        "--budget",
        "tokens=70e9",
    ]
    assert main.main(words) == 0
    said = capsys.readouterr()
    assert "--budget" not in said.out and said.err.startswith("lst-7b-curriculum, tokens=70e9: ")
    (command,) = {
        line.split("lst train", 1)[1]
        for line in said.out.splitlines()
        if line.startswith("# lst train ") and "--config" in line
    }
    changes = re.findall(r"--set (\S+)", command)
    assert changes[0] == "train.accumulate=4" and len(changes) == 4
    launched = load_recipe("configs/lst.py:7b", changes)
    assert launched == budget.load("configs/lst.py:7b", ["train.accumulate=4"], "tokens=70e9")


def test_training_takes_a_budget_of_a_recipe(capsys, tmp_path):
    assert main.main(["train", str(tmp_path / "run"), "--budget", "optimal"]) == 2
    assert capsys.readouterr().err == "lst train: --budget: changes a recipe; give --config beside it\n"
    assert main.main(["train", str(tmp_path / "run"), "--config", LST, "--set", AWAY, "--budget", "tokens=2e6"]) != 0
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith("demo-curriculum, tokens=2e6: 79") and second.startswith("warm-up 30 steps")
    assert third.startswith("lst train: ")  # there is no such tokenizer
