"""An architecture from outside the package: registered, validated, run, costed, and stepped with a cache."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import linen as nn
from generate_cases import forced_logits, rows_of
from model_cases import VOCAB, random_params, small_config

from lst_jax.convert import hf
from lst_jax.convert.source import Source
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.core.vocab import BOS_ID
from lst_jax.cost.flops import model_flops
from lst_jax.cost.parameters import parameters
from lst_jax.jobs.sweeps.trials import label_of
from lst_jax.model.architectures.architecture import Architecture, Conversions
from lst_jax.model.architectures.base import Base
from lst_jax.model.architectures.registry import ARCHITECTURES, build, register
from lst_jax.model.cached_model import cached_model
from lst_jax.recipes.load import load_recipe
from lst_jax.recipes.validate import validate

LENGTH = 12


class ScaledBase(Base):
    """Base whose embeddings enter the residual stream times a learned number."""

    config_name = "scaled_base"
    conversions = Conversions(transformers=None, ancestor=False, warm_start=None)

    def setup(self):
        super().setup()
        self.input_scale = self.param("input_scale", nn.initializers.constant(0.5), ())

    def global_inputs(self, token_BT):
        return self.tok_embeddings(token_BT) * self.input_scale

    @classmethod
    def parameter_counts(cls, config, vocab):
        return super().parameter_counts(config, vocab) | {"input_scale": 1}

    @classmethod
    def sweep_label(cls, patching_label, has_unit_pieces):
        return f"scaled-{super().sweep_label(patching_label, has_unit_pieces)}"


@pytest.fixture(autouse=True)
def registered():
    register(ScaledBase)
    yield
    del ARCHITECTURES["scaled_base"]


def named(config, name):
    return dataclasses.replace(config, architecture=name)


def test_a_recipe_may_name_it_and_its_costs_are_reported():
    base = load_recipe("configs/demo.py:base")
    config = load_recipe("configs/demo.py:base", ["model.architecture=scaled_base"])
    shapes = jax.eval_shape(lambda: build(config.model, config.joint_vocab, 8).init_params(jax.random.key(0)))
    assert parameters(config.model, config.joint_vocab) == sum(x.size for x in jax.tree.leaves(shapes))
    counts = {"tokens": 8, "units": 8, "local_tokens": 0, "local_units": 0, "global_pairs": 36}
    flops = [model_flops(one.model, one.joint_vocab, counts) for one in (config, base)]
    assert flops[0] == flops[1] and flops[0]["output"] > 0
    assert label_of(config) == "scaled-base"


def test_its_forward_pass_is_its_own():
    """That of Base with the same embeddings, scaled."""
    model, plain = (build(named(small_config("base"), name), VOCAB, LENGTH) for name in ("scaled_base", "base"))
    params = random_params(model) | {"input_scale": np.float32(0.3)}
    rows = rows_of([np.arange(2, LENGTH, dtype=np.int32)], 1, LENGTH)
    table = params["tok_embeddings"]["embedding"]
    scaled = {k: v for k, v in params.items() if k != "input_scale"} | {"tok_embeddings": {"embedding": table * 0.3}}
    found, wanted = jax.jit(model)(params, *rows), jax.jit(plain)(scaled, *rows)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(found - plain({**scaled, "tok_embeddings": {"embedding": table}}, *rows)).max() > 1e-2


def test_its_cached_steps_give_the_logits_of_the_forward_pass():
    model = build(named(small_config("base"), "scaled_base"), VOCAB, LENGTH)
    params = random_params(model) | {"input_scale": np.float32(0.3)}
    document = np.array([BOS_ID, VOCAB.text_marker, 5, 6, 7, VOCAB.speech_marker, VOCAB.unit_offset], np.int32)
    whole, prompt = rows_of([document], 1, LENGTH), rows_of([document[:3]], 1, LENGTH)
    length = np.array([len(document)])
    got, _ = forced_logits(cached_model(model, 1), LENGTH, params, tuple(prompt), whole[0], length)
    wanted = jax.jit(model)(params, *whole)
    np.testing.assert_allclose(got[0, 2 : len(document) - 1], wanted[0, 2 : len(document) - 1], atol=1e-4)


def test_a_format_that_cannot_hold_it_refuses_it(tmp_path):
    config = load_recipe("configs/demo.py:base", ["model.architecture=scaled_base"])
    with pytest.raises(DataError, match="^model.architecture='scaled_base': has no form for transformers; convert it"):
        hf.write(Source(config, {}, {}), tmp_path)


def test_a_name_that_is_not_registered_is_one_line_with_the_nearest_one():
    config = load_recipe("configs/demo.py:base")
    with pytest.raises(ConfigError) as error:
        validate(dataclasses.replace(config, model=named(config.model, "scaled_bass")))
    assert str(error.value) == (
        "model.architecture='scaled_bass': must be one of lst, lst_bypass, base, scaled_base; nearest: scaled_base"
    )


class Nameless(Base):
    """Says nothing of its own."""


class Unfinished(Architecture):
    """Has a name and formats, and no methods."""

    config_name = "unfinished"
    conversions = Conversions(None, False, None)


class SecondBase(Base):
    """Has the name of another architecture."""

    config_name = "base"
    conversions = Conversions(None, False, None)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (Nameless, "^architecture Nameless: lacks config_name, conversions; define them in the class$"),
        (Unfinished, "^architecture Unfinished: lacks patches_speech, .*advance, after_global, .*read_logits"),
        (SecondBase, "^architecture SecondBase: config_name='base' is the name of Base; choose another name$"),
    ],
)
def test_what_is_not_complete_is_refused_when_it_is_registered(architecture, message):
    before = dict(ARCHITECTURES)
    with pytest.raises(ConfigError, match=message):
        register(architecture)
    assert before == ARCHITECTURES
