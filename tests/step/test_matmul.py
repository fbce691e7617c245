"""Which products of a step `train.matmul` changes, and that it is of training alone."""

import dataclasses
import re

import jax
import pytest

from lst_jax import config as cfg
from lst_jax.core.errors import ConfigError
from lst_jax.data.rows import BATCH_TYPES, Batch
from lst_jax.parallel.sharding import one_device
from lst_jax.recipes.load import load_recipe
from lst_jax.step import update

SYSTEMS = {"curriculum": "lst", "base": "base", "bypass": "lst_bypass"}
IN_8_BITS = {"int8": "xi8>", "fp8": "xf8E4M3FN>"}


def make_config(system="base", matmul="int8", **model):
    """The demo's model with short rows."""
    config = load_recipe(f"configs/demo.py:{system}", ["data.rows=2"])
    return dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, matmul=matmul),
        model=dataclasses.replace(config.model, **model),
    )


def batch_shape(config):
    shape = config.data.rows, config.data.row_tokens
    return Batch(*(jax.ShapeDtypeStruct(shape, kind) for kind in BATCH_TYPES))


def state_shape(config):
    return update.state_shape(config, update.build_model(config, one_device(), training_rows=True), one_device())


def lowered_step(config):
    model = update.build_model(config, one_device(), training_rows=True)
    step = update.make_train_step(config, model, one_device())
    return step.lower(state_shape(config), batch_shape(config), update.numbers_of(config)).as_text()


def products_in_8_bits(text, matmul):
    """How many products a lowered program has whose operands are both in 8 bits."""
    operands = re.findall(r"dot_general.* : \(tensor<\S+, tensor<\S+\) ->", text)
    return sum(line.count(IN_8_BITS[matmul]) == 2 for line in operands)


def products_of_layers(config):
    """How many forward products there are with matrices other than the output: one with each.

    The encoder's cross-attention multiplies each of the Q vectors of a patch by itself with two of its four matrices.
    """
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(state_shape(config).params)[0]]
    matrices = sum(path[-1].key == "kernel" and path[-2].key != "output" for path in paths)
    return matrices if config.model.patch_encoder is None else matrices + 2 * (config.model.queries_per_patch - 1)


@pytest.mark.parametrize("system", SYSTEMS)
def test_two_of_the_three_products_of_each_matrix_of_a_layer_are_in_8_bits(system):
    config = make_config(system)
    assert config.model.architecture == SYSTEMS[system]
    assert products_in_8_bits(lowered_step(config), "int8") == 2 * products_of_layers(config) > 0


def test_a_plain_step_has_none_and_one_of_fp8_has_its_own():
    config = make_config(matmul="fp8")
    assert products_in_8_bits(lowered_step(config), "fp8") == 2 * products_of_layers(config)
    plain = lowered_step(make_config(matmul="plain"))
    assert not any(kind in plain for kind in IN_8_BITS.values())


@pytest.mark.parametrize("remat, again", [("dots", False), ("attention", True)])
def test_only_policies_that_keep_no_products_compute_them_again(remat, again):
    """All but the last one of each layer, whose result no gradient needs."""
    config = make_config(remat=remat)
    forward = products_of_layers(config)
    repeated = (forward - config.model.global_transformer.layers) * again
    assert products_in_8_bits(lowered_step(config), "int8") == 2 * forward + repeated


def test_evaluation_is_plain():
    config = make_config()
    text = update.make_eval_step(config, update.build_model(config, one_device()), one_device()).lower(
        state_shape(config).params, batch_shape(config)
    )
    assert IN_8_BITS["int8"] not in text.as_text()


def test_the_state_of_a_run_is_the_same_for_every_kind_of_product():
    plain, *others = (state_shape(make_config("curriculum", matmul)) for matmul in ("plain", "int8", "fp8"))
    assert all(
        jax.tree.map(lambda a, b: a == b, other, plain) == jax.tree.map(lambda _: True, plain) for other in others
    )


def test_a_run_goes_on_with_the_products_that_it_began_with():
    plain, rounded = make_config(matmul="plain"), make_config()
    assert cfg.config_hash(plain) != cfg.config_hash(rounded)
    for ours, theirs, asked, had in ((rounded, plain, "int8", "plain"), (plain, rounded, "plain", "int8")):
        with pytest.raises(ConfigError, match=f"train.matmul='{asked}': checkpoint 3 was made with '{had}'; use"):
            cfg.check_same_identity(ours, cfg.identity(theirs), "checkpoint 3")
