"""The recipes that adapt: each fits the run that it begins with, and adapts to what it says."""

import dataclasses
import shutil

import pytest
from quick_cost import full_rows

from lst_jax import config as cfg
from lst_jax.core.errors import ConfigError
from lst_jax.cost import budget
from lst_jax.jobs.sweeps.trials import make_sweep, read_sweep, write_sweep
from lst_jax.recipes.load import load_recipe


@pytest.mark.parametrize("documents", ["asr", "tts"])
@pytest.mark.parametrize(
    "arg, before",
    [
        ("demo", "demo.py"),
        ("demo,base", "demo.py:base"),
        ("demo,static6", "demo.py:static6"),
        ("demo,bypass", "demo.py:bypass"),
        ("1b,curriculum", "lst.py:1b,curriculum"),
        ("1b,base", "lst.py:1b,base"),
        ("1b,curriculum-to-mixed", "lst.py:1b,curriculum-to-mixed"),
        ("7b", "lst.py:7b"),
        ("1b,aligned", "lst.py:1b,aligned"),
        ("world-demo", "world.py:demo"),
        ("world-demo,base", "world.py:demo,base"),
        ("world-96,bypass-static8", "world.py:96,bypass-static8"),
    ],
)
def test_an_adapting_recipe_is_the_model_of_the_one_before_it(documents, arg, before):
    ours, theirs = load_recipe(f"configs/{documents}.py:{arg}"), load_recipe(f"configs/{before}")
    assert cfg.other_function(cfg.identity(ours), cfg.identity(theirs)) is None
    assert (ours.model, ours.vocab, ours.data.unit_rate) == (theirs.model, theirs.vocab, theirs.data.unit_rate)
    assert ours.data.tokenizer == theirs.data.tokenizer
    rows = 2 if arg.startswith("world") else 4
    assert ours.data.documents == documents and ours.data.rows == rows and ours.train.init_from
    assert ours.optim.peak_lr == theirs.optim.peak_lr / 4
    assert ours.name == f"{documents}-{theirs.name}"
    assert {source.kind for source in ours.data.sources} == {"utterance"}


def test_the_papers_batch_and_steps():
    asr, tts = (load_recipe(f"configs/{name}.py:1b,curriculum") for name in ("asr", "tts"))
    assert (asr.train.steps, tts.train.steps) == (4000, 20_000)
    assert asr.data.row_patches == load_recipe("configs/asr.py:1b,base").data.row_patches == 4096
    assert load_recipe("configs/asr.py:1b,curriculum", ("train.steps=1000",)).train.steps == 1000


def test_a_curriculum_goes_on_with_what_it_ended_in():
    from lst_jax.data.patching import strategy_of

    for arg, share in (("curriculum", 0.0), ("curriculum-to-mixed", 0.5), ("aligned", 1.0), ("static", 0.0)):
        config = load_recipe(f"configs/asr.py:demo,{arg}")
        assert strategy_of(config.data.patching).aligned_probability(0) == share


def test_another_size_is_refused_in_one_line():
    with pytest.raises(ConfigError, match="no such size; use one of 1b, 7b"):
        load_recipe("configs/asr.py:2b")


def test_rows_of_the_world_hold_the_same_tokens_for_every_system():
    systems = ("base", "bpe", "static", "bypass-static", "bypass-static1", "bypass-static8")
    rows = {name: load_recipe(f"configs/asr.py:world-demo,{name}").data for name in systems}
    assert len({data.row_tokens for data in rows.values()}) == 1
    patches = [rows[name].row_patches for name in ("base", "bypass-static1", "bypass-static", "bypass-static8")]
    assert patches[0] == patches[1] == rows["base"].row_tokens and patches[1] > 2 * patches[2] > 2 * patches[3]


@pytest.fixture
def world_sweep(tmp_path, monkeypatch):
    """A sweep of two runs of Base and one of the bypass in the small world, and of a branch of a trunk of Base."""
    monkeypatch.setattr(budget, "cost", full_rows)
    trunk = {"recipe": "demo-16,base", "optim.schedule": "wsd", "train.steps": 200, "train.checkpoint_every": 200}
    overlays = [
        {"recipe": "demo-16,base", "seed": 3, "optim.peak_lr": 8e-3, "model.ffn_multiple": 32, "train.steps": 300},
        {"recipe": "demo-16,base", "seed": 4, "train.steps": 300},
        {"recipe": "demo-16,bypass-static", "train.steps": 300, "label": "bypass short"},
        {"branch": trunk, "train.steps": 250, "optim.wsd.decay_steps": 50},
    ]
    shutil.copytree("configs", tmp_path / "configs")
    with (tmp_path / "configs" / "world.py").open("a") as file:
        file.write(f"\n\nSWEEPS = {{'few': lambda: {overlays!r}}}\n")
    write_sweep(tmp_path / "pre", make_sweep(f"{tmp_path}/configs/world.py:few"))
    return tmp_path / "pre"


def test_each_run_of_a_sweep_is_adapted_over_four_lengths(world_sweep):
    before = [trial for trial in read_sweep(world_sweep).trials if trial.steps != 200]  # all but the trunk
    trials = make_sweep(f"configs/asr.py:{world_sweep}").trials
    assert [trial.steps for trial in trials] == [50, 100, 200, 400] * 4
    for ours, theirs in zip(trials[3::4], before, strict=True):
        config, old = ours.config(), theirs.config()
        assert config.train.init_from == str(world_sweep / "runs" / theirs.name) and ours.label == theirs.label
        assert (config.seed, config.model) == (old.seed, old.model)
        assert config.optim.peak_lr == old.optim.peak_lr / 4
        assert config.data.documents == "asr"
    assert {trial.label for trial in trials} == {"base", "bypass short"}


def test_some_runs_of_a_sweep_are_adapted_by_label_or_name(world_sweep):
    second = read_sweep(world_sweep).trials[1]
    trials = make_sweep(f"configs/asr.py:{world_sweep},bypass short,{second.name}").trials
    assert [trial.label for trial in trials] == ["base"] * 4 + ["bypass short"] * 4
    assert {trial.config().seed for trial in trials[:4]} == {second.config().seed} == {4}


def test_a_run_that_a_sweep_lacks_is_refused_with_those_that_it_has(world_sweep):
    with pytest.raises(ConfigError, match="has no run 'bse'; use a name of one, or of base, bypass short$"):
        make_sweep(f"configs/asr.py:{world_sweep},base,bse")
    with pytest.raises(ConfigError, match="no such sweep; make it"):
        make_sweep("configs/asr.py:nowhere")


@pytest.mark.parametrize(
    "arg, before",
    [
        ("demo", "demo.py"),
        ("demo-8k,base", "demo.py:base"),
        ("1b-32k,curriculum", "lst.py:1b,curriculum"),
        ("7b-16k,bypass", "lst.py:7b,bypass"),
        ("420m,aligned", "lst.py:420m,aligned"),
    ],
)
def test_long_rows_are_of_the_model_before_them_and_have_its_patch_positions(arg, before):
    ours, theirs = load_recipe(f"configs/long.py:{arg}"), load_recipe(f"configs/{before}")
    assert cfg.other_function(cfg.identity(ours), cfg.identity(theirs)) is None
    assert (ours.vocab, ours.data.unit_rate) == (theirs.vocab, theirs.data.unit_rate)
    for_length = dict(attention_block=ours.model.attention_block, remat=ours.model.remat)
    assert ours.model == dataclasses.replace(theirs.model, **for_length)
    assert ours.train.init_from == f"runs/{arg.split(',')[0].split('-')[0]}"
    if not arg.startswith("demo"):
        assert ours.data.rows * ours.data.row_patches == theirs.data.rows * theirs.data.row_patches


def test_a_row_of_32k_holds_an_hour_in_the_share_of_recordings():
    data = load_recipe("configs/long.py:1b-32k").data
    assert (data.row_patches, data.row_tokens, data.rows) == (32_768, 55_296, 16) and data.whole_utterances
    shares = [source.share for source in data.sources]
    assert data.row_tokens * shares[0] / sum(shares) >= 38_000


def test_another_length_of_rows_is_refused_in_one_line():
    with pytest.raises(ConfigError, match="no such length of rows; use one of 2k, 8k, 16k, 32k"):
        load_recipe("configs/long.py:1b-64k")
    with pytest.raises(ConfigError, match="no such size; use one of 1b, 7b"):
        load_recipe("configs/long.py:2b-32k")
