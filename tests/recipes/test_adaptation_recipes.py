"""The recipes that adapt: each fits the run that it begins with, and adapts to what it says."""

import pytest

from lst_jax import config as cfg
from lst_jax.config import ALIKE
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
    alike = [{k: v for k, v in cfg.identity(config).items() if k.startswith(ALIKE)} for config in (ours, theirs)]
    assert alike[0] == alike[1] and ours.data.tokenizer == theirs.data.tokenizer
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
