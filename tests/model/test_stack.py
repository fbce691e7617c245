"""How layers run changes neither what they compute nor what is stored."""

import dataclasses
import functools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_cases import VOCAB, random_batch, random_params, small_config

from lst_jax.config import ModelConfig, StackConfig
from lst_jax.model.architectures.registry import build
from lst_jax.model.stack import REMAT

UNITS = 50


def layers(encoder, wide, decoder):
    """Layers of the three networks: at least two in each run of equal ones, so that all of them are scanned."""
    return {
        "patch_encoder": StackConfig(encoder, 16, 2, 4),
        "global_transformer": StackConfig(wide, 24, 2, None),
        "patch_decoder": StackConfig(decoder, 16, 2, 4),
    }


SYSTEMS = {
    "base": small_config("base", global_transformer=StackConfig(3, 24, 2, None)),
    "cross_in_few": small_config(**layers(2, 2, 3), encoder_cross_all_layers=False, decoder_cross_all_layers=False),
    "cross_in_all": small_config(**layers(2, 2, 2), encoder_cross_all_layers=True, decoder_cross_all_layers=True),
}
UNROTATED = dataclasses.replace(SYSTEMS["base"].global_transformer, layers=5, unrotated_every=2)
# two periods and a layer behind them
PERIODIC = dataclasses.replace(SYSTEMS["base"], global_transformer=UNROTATED)


def systems(*slow):
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in slow)) for name in SYSTEMS]
    )


def loss_function(config, batch):
    """A loss that reads every logit differently."""
    model = build(config, VOCAB, UNITS)
    reading_V = jax.random.normal(jax.random.key(5), (VOCAB.size,))
    return model, lambda params: jnp.sum(jax.nn.log_softmax(model(params, *batch.inputs)) * reading_V)


@systems("base", "cross_in_few")
def test_scanned_layers_have_the_same_parameters_losses_and_gradients(name):
    configs = [dataclasses.replace(SYSTEMS[name], scan_layers=scan) for scan in (False, True)]
    models = [build(config, VOCAB, UNITS) for config in configs]
    drawn, also_drawn = (jax.jit(model.init_params).lower(jax.random.key(0)) for model in models)
    assert drawn.as_text() == also_drawn.as_text() and drawn.out_info == also_drawn.out_info
    (loss, gradients), (other_loss, others) = map(loss_and_gradients, configs)
    np.testing.assert_allclose(other_loss, loss, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max() + 1e-7), others, gradients)


@systems("cross_in_all", "cross_in_few")
def test_scanned_layers_are_compiled_once(name):
    """The size of the program does not grow with the layers."""

    def lines(layers, scan):
        changes = {
            s: dataclasses.replace(getattr(SYSTEMS[name], s), layers=layers)
            for s in ("patch_encoder", "global_transformer", "patch_decoder")
            if getattr(SYSTEMS[name], s)
        }
        model, loss = loss_function(dataclasses.replace(SYSTEMS[name], scan_layers=scan, **changes), random_batch(3))
        params = jax.eval_shape(model.init_params, jax.random.key(0))
        return jax.jit(loss).lower(params).as_text().count("dot_general")

    assert lines(6, scan=True) == lines(3, scan=True) < lines(3, scan=False) < lines(6, scan=False)


def test_layers_that_differ_within_a_period_are_scanned_by_periods():
    """With the same numbers as one by one; of 4 or 8 periods, each layer of one is compiled once."""
    config = dataclasses.replace(PERIODIC, remat="attention", scan_layers=True)
    (loss, gradients), (other_loss, others) = (
        loss_and_gradients(dataclasses.replace(config, scan_layers=scan)) for scan in (True, False)
    )
    np.testing.assert_allclose(other_loss, loss, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max() + 1e-7), others, gradients)

    def products(layers):
        stack = dataclasses.replace(UNROTATED, layers=layers)
        model, loss = loss_function(dataclasses.replace(config, global_transformer=stack), random_batch(3))
        params = jax.eval_shape(model.init_params, jax.random.key(0))
        return jax.jit(loss).lower(params).as_text().count("dot_general")

    assert products(16) == products(8) < products(9) == products(17)


def saved_bytes(remat, scan):
    """Bytes that the backward pass of a deep Base is handed; short blocks of attention."""
    config = dataclasses.replace(SYSTEMS["base"], remat=remat, scan_layers=scan, attention_block=16)
    model, loss = loss_function(config, random_batch(3))
    params = jax.eval_shape(model.init_params, jax.random.key(0))
    backward = jax.eval_shape(lambda params: jax.vjp(loss, params)[1], params)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(backward))


@pytest.mark.parametrize("scan", [False, True])
def test_each_policy_keeps_less_than_the_one_before(scan):
    none, dots, attention, full = (saved_bytes(remat, scan) for remat in ("none", "dots", "attention", "full"))
    assert full < attention < dots < none
    layer_input = 2 * 61 * 24 * 4  # [B, T, D] in float32
    output = layer_input + 2 * 2 * 64 * 4  # and the log-sum-exp of padded rows
    assert 3 * output <= attention - full <= 3 * 1.2 * output


# each policy, and each way to run the layers, in `make test`
@pytest.mark.parametrize(
    "remat, scan",
    [
        ("full", False),
        pytest.param("full", True, marks=pytest.mark.slow),
        pytest.param("attention", False, marks=pytest.mark.slow),
        ("attention", True),
        pytest.param("dots", False, marks=pytest.mark.slow),
        ("dots", True),
    ],
)
def test_recomputing_changes_no_gradient(remat, scan):
    config = dataclasses.replace(SYSTEMS["cross_in_all"], remat=remat, scan_layers=scan)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max() + 1e-7),
        loss_and_gradients(config)[1],
        loss_and_gradients(SYSTEMS["cross_in_all"])[1],
    )


@functools.cache
def loss_and_gradients(config):
    """The same loss at the same parameters for every way to run the layers."""
    model, loss = loss_function(config, random_batch(3))
    return jax.jit(jax.value_and_grad(loss))(random_params(model))


def test_every_policy_of_the_configuration_is_in_the_table():
    assert set(REMAT) == set(get_args(ModelConfig.__annotations__["remat"]))
