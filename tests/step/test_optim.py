"""The update is optax's own, though all of its numbers are arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lst_jax.config import OptimConfig
from lst_jax.step import optim


@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_parameters_follow_optax_adamw_over_a_whole_schedule(warmup):
    steps, config = 12, OptimConfig(1e-2, warmup, 0.1, 0.9, 0.95, 1e-8, 0.3, 0.5, 0.0, 0.0)
    schedule = optax.warmup_cosine_decay_schedule(0.0, 1e-2, warmup, steps, end_value=1e-3)
    oracle = optax.chain(
        optax.clip_by_global_norm(0.5),
        optax.adamw(lambda count: schedule(count + 1), b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.3),
    )
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


def test_spikes_are_told_by_the_running_mean_and_a_lasting_rise_is_taken_in():
    hyper = optim.hyper_of(OptimConfig(1e-2, 0, 0.1, 0.9, 0.95, 1e-8, 0.3, 0.5, 0.0, 3.0), 10)
    norms = [1.0] * 10 + [50.0] + [1.0] * 30 + [50.0, float("nan"), 1.0] + [50.0] * 400
    watch, mean, verdicts = optim.init_watch(), 0.0, []
    judge = jax.jit(optim.judge)
    for n, norm in enumerate(norms):
        seen = n - (n > 42)  # without the NaN
        limit = 3.0 * mean if seen >= optim.SPIKE_AFTER else float("inf")
        good, watch = judge(hyper, watch, jnp.float32(0), jnp.float32(norm))
        verdicts.append(bool(good))
        if np.isfinite(norm):
            mean += (min(norm, limit) - mean) / min(seen + 1, optim.NORM_SPAN)
        np.testing.assert_allclose(watch.norm_mean, mean, rtol=1e-3)
    assert all(verdicts[:41])  # too early to tell at the 11th
    assert verdicts[41:44] == [False, False, True] and not verdicts[44] and verdicts[-1]
    assert int(watch.skipped) == verdicts.count(False)
