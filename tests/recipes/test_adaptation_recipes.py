"""The recipes that adapt: each fits the run that it begins with, and adapts to what it says."""

import dataclasses

import pytest

from lst_jax import config as cfg
from lst_jax.core.errors import ConfigError
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
    ],
)
def test_an_adapting_recipe_is_the_model_of_the_one_before_it(documents, arg, before):
    ours, theirs = load_recipe(f"configs/{documents}.py:{arg}"), load_recipe(f"configs/{before}")
    assert cfg.other_function(cfg.identity(ours), cfg.identity(theirs)) is None
    assert (ours.model, ours.vocab, ours.data.unit_rate) == (theirs.model, theirs.vocab, theirs.data.unit_rate)
    assert ours.data.tokenizer == theirs.data.tokenizer
    assert ours.data.documents == documents and ours.data.rows == 4 and ours.train.init_from
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
