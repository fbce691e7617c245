"""The update is optax's own, though all of its numbers are arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lst_jax import optim
from lst_jax.config import OptimConfig


@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_parameters_follow_optax_adamw_over_a_whole_schedule(warmup):
    steps, config = 12, OptimConfig(1e-2, warmup, 0.1, 0.9, 0.95, 1e-8, 0.3, 0.5)
    schedule = optax.warmup_cosine_decay_schedule(0.0, 1e-2, warmup, steps, end_value=1e-3)
    oracle = optax.chain(optax.clip_by_global_norm(0.5),
                         optax.adamw(lambda count: schedule(count + 1), b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.3))
    rng = np.random.default_rng(0)
    ours = theirs = {"a": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32), "b": jnp.ones(5)}
    moments, oracle_state, hyper = optim.init(ours), oracle.init(ours), optim.hyper_of(config, steps)
    update = jax.jit(optim.update)
    for done in range(steps):
        grads = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), ours)
        rate = optim.learning_rate(hyper, jnp.int32(done))
        np.testing.assert_allclose(rate, schedule(done + 1), rtol=1e-5)
        ours, moments = update(hyper, rate, grads, moments, ours)
        changes, oracle_state = oracle.update(grads, oracle_state, theirs)
        theirs = optax.apply_updates(theirs, changes)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), ours, theirs)
