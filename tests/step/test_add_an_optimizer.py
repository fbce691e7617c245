"""A toy optimizer and a toy schedule from outside the package train a few steps, as CONTRIBUTING shows."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_step import MESH, make_batch, make_config

from lst_jax.core.errors import ConfigError
from lst_jax.recipes.validate import validate
from lst_jax.step import update
from lst_jax.step.optimizers import registry as optimizers
from lst_jax.step.optimizers.optimizer import Optimizer
from lst_jax.step.schedules import registry as schedules
from lst_jax.step.schedules.schedule import Schedule


class SignState(NamedTuple):
    momentum: object


class SignDescent(Optimizer):
    """Every parameter moves by the rate against the sign of its momentum."""

    @classmethod
    def numbers(cls, config):
        return np.float32(config.beta1)

    def init(self, params):
        return SignState(jax.tree.map(jnp.zeros_like, params))

    def update(self, numbers, rate, grads, state, params):
        momentum = jax.tree.map(lambda m, g: numbers * m + (1 - numbers) * g, state.momentum, grads)
        return jax.tree.map(lambda p, m: p - rate * jnp.sign(m), params, momentum), SignState(momentum)


class Constant(Schedule):
    """The peak, always."""

    def numbers(self, config, steps):
        return np.float32(config.peak_lr)

    def rate(self, numbers, done):
        return numbers

    def describe(self, config):
        return "constant"


@pytest.fixture
def registered(monkeypatch):
    """Both members, as long as the test runs."""
    for registry in (optimizers, schedules):
        monkeypatch.setattr(registry, "_MEMBERS", dict(registry._MEMBERS))
    optimizers.register("sign", SignDescent)
    schedules.register("constant", Constant())


def test_a_toy_optimizer_and_schedule_train_a_few_steps(registered):
    config = make_config(optim=dict(optimizer="sign", schedule="constant", peak_lr=1e-3, weight_decay=0.0))
    model = update.build_model(config, MESH)
    state = update.init_state(config, model, MESH)
    before = jax.device_get(state.params)
    train_step, numbers, losses = update.make_train_step(config, model, MESH), update.numbers_of(config), []
    for _ in range(3):
        state, metrics, _ = train_step(state, make_batch(0, config), numbers)
        losses.append(float(metrics["nll_text"]))
    assert losses[2] < losses[0] and float(metrics["learning_rate"]) == np.float32(1e-3)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), jax.device_get(state.params), before)
    assert max(jax.tree.leaves(moved)) <= 3.01e-3
    alike = jax.tree.map(lambda m, p: m.sharding == p.sharding, state.opt_state.momentum, state.params)
    assert all(jax.tree.leaves(alike))


def test_a_name_that_nobody_registered_is_refused():
    config = make_config()
    with pytest.raises(ConfigError, match="optim.optimizer='sign': must be one of adamw, muon; nearest: "):
        validate(dataclasses.replace(config, optim=dataclasses.replace(config.optim, optimizer="sign")))
