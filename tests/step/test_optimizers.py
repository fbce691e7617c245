"""AdamW and Muon are optax's own, though all of their numbers are arguments."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from lst_jax.config import MeshConfig, MuonConfig, OptimConfig
from lst_jax.parallel import sharding
from lst_jax.step.optimizers.muon import Muon, is_hidden_matrix
from lst_jax.step.optimizers.optimizer import Optimizer
from lst_jax.step.optimizers.registry import make_optimizer, register
from lst_jax.step.schedules.registry import schedule_of

ADAMW = OptimConfig(1e-2, 5, 0.1, 0.9, 0.95, 1e-8, 0.3, 0.5, 0.0, 0.0)
MUON = dataclasses.replace(ADAMW, optimizer="muon", muon=MuonConfig(0.9, 5, 0.2))
SHAPES = {
    "tok_embeddings": (24, 16),
    "wq": (16, 32),
    "wo": (32, 16),
    "w1": (16, 48),
    "w2": (48, 16),
    "output": (16, 24),
    "norm": (16,),
}


def drawn(seed, scale=1.0):
    rng = np.random.default_rng(seed)
    return {
        "layers_0": {
            name: {"embedding" if "emb" in name else "kernel": jnp.asarray(scale * rng.normal(size=shape), jnp.float32)}
            for name, shape in SHAPES.items()
        }
    }


def followed(config, mesh, oracle, steps=6, params=None):
    """Ours and the oracle's parameters after some updates of the same gradients, the rate as the schedule says."""
    optimizer, schedule = make_optimizer(config, mesh), schedule_of(config)
    ours = theirs = drawn(0)
    ours = jax.device_put(ours, sharding.parameter_shardings(mesh, ours))
    state, oracle_state = jax.jit(optimizer.init)(ours), oracle.init(theirs)
    numbers, schedule_numbers = optimizer.numbers(config), schedule.numbers(config, steps)
    update = jax.jit(optimizer.update)
    for done in range(steps):
        grads = drawn(done + 1, 3.0)
        rate = schedule.rate(schedule_numbers, jnp.int32(done))
        placed = jax.device_put(grads, sharding.parameter_shardings(mesh, grads))
        ours, state = update(numbers, rate, placed, state, ours)
        changes, oracle_state = oracle.update(grads, oracle_state, theirs)
        theirs = optax.apply_updates(theirs, changes)
    return jax.device_get(ours), theirs, state


def rates(config, steps=6):
    schedule = schedule_of(config)
    return lambda count: schedule.rate(schedule.numbers(config, steps), count)


def assert_close(ours, theirs, tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), ours, theirs)


def test_adamw_is_optax_s():
    oracle = optax.adamw(rates(ADAMW), b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.3)
    ours, theirs, _ = followed(ADAMW, sharding.one_device(), oracle)
    assert_close(ours, theirs, 1e-5)


@pytest.fixture(scope="module")
def optax_muon():
    hidden = {"wq", "wo", "w1", "w2"}
    dims = {
        "layers_0": {
            name: {k: optax.contrib.MuonDimensionNumbers() if name in hidden else None for k in leaf}
            for name, leaf in drawn(0)["layers_0"].items()
        }
    }
    return optax.contrib.muon(
        rates(MUON),
        beta=0.9,
        weight_decay=0.3,
        consistent_rms=0.2,
        adam_b1=0.9,
        adam_b2=0.95,
        adam_weight_decay=0.3,
        muon_weight_dimension_numbers=dims,
        # its AdamW is a Nesterov one, ours is the paper's
    )


@pytest.mark.parametrize("sizes", [pytest.param((1, 1, 1), marks=pytest.mark.slow), (1, 2, 2)])
def test_muon_is_optax_s_on_hidden_matrices_whatever_the_mesh(optax_muon, sizes):
    mesh = sharding.make_mesh(MeshConfig(*sizes), jax.devices()[: int(np.prod(sizes))])
    ours, theirs, state = followed(MUON, mesh, optax_muon)
    for name in ("wq", "wo", "w1", "w2"):
        assert_close(ours["layers_0"][name], theirs["layers_0"][name], 2e-4)


def test_muon_updates_all_else_as_adamw_does():
    oracle = optax.adamw(rates(MUON), b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.3)
    ours, theirs, _ = followed(MUON, sharding.one_device(), oracle)
    for name in ("tok_embeddings", "output", "norm"):
        assert_close(ours["layers_0"][name], theirs["layers_0"][name], 1e-5)
    assert np.abs(ours["layers_0"]["wq"]["kernel"] - theirs["layers_0"]["wq"]["kernel"]).max() > 1e-3


def test_a_hidden_matrix_is_one_without_a_vocabulary_side():
    hidden = {
        path[-2].key
        for path, x in jax.tree_util.tree_flatten_with_path(drawn(0))[0]
        if is_hidden_matrix(tuple(key.key for key in path), x)
    }
    assert hidden == {"wq", "wo", "w1", "w2"}


def test_a_state_s_bytes_are_two_moments_of_adamw_and_fewer_of_muon():
    params, mesh = drawn(0), sharding.one_device()
    sizes = {name: int(np.prod(shape)) for name, shape in SHAPES.items()}
    others = sum(sizes[name] for name in ("tok_embeddings", "output", "norm"))
    assert make_optimizer(ADAMW, mesh).state_bytes(params) == 4 + 8 * sum(sizes.values())
    assert make_optimizer(MUON, mesh).state_bytes(params) == 4 + 4 * (sum(sizes.values()) + others)


def test_each_device_holds_its_part_of_the_momentum():
    mesh = sharding.make_mesh(MeshConfig(1, 2, 2), jax.devices()[:4])
    optimizer = make_optimizer(MUON, mesh)
    shape = jax.eval_shape(optimizer.init, drawn(0))
    found = optimizer.state_sharding(shape)
    assert found.mu["layers_0"]["wq"]["kernel"].spec == PartitionSpec("data", "tensor")
    assert found.nu["layers_0"]["output"]["kernel"].spec == PartitionSpec("data", None)
    assert found.count.is_fully_replicated


def test_each_device_orthogonalises_matrices_of_its_own():
    mesh = sharding.make_mesh(MeshConfig(1, 2, 1), jax.devices()[:2])
    optimizer = make_optimizer(MUON, mesh)
    params = drawn(0)
    shardings = sharding.parameter_shardings(mesh, params)
    state = jax.eval_shape(optimizer.init, params)
    update = jax.jit(optimizer.update, in_shardings=(None, None, shardings, optimizer.state_sharding(state), shardings))
    text = update.lower(optimizer.numbers(MUON), jnp.float32(1), params, state, params).compile().as_text()
    # of 16x32 there are two matrices and of 16x48 two: products of single ones, never of both
    products = [line.split("=")[1].split("{")[0].strip() for line in text.splitlines() if " dot(" in line]
    assert products and not any(product.startswith("f32[2,") for product in products), products


def test_an_incomplete_optimizer_or_a_taken_name_is_refused_when_it_is_registered():
    class Half(Optimizer):
        def init(self, params):
            return ()

    with pytest.raises(TypeError, match="optimizer 'half': Half lacks numbers, update"):
        register("half", Half)
    with pytest.raises(TypeError, match="optimizer 'muon': is Muon already"):
        register("muon", Muon)
