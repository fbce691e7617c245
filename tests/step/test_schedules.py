"""Learning-rate schedules against optax's, and what a branch needs of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lst_jax.config import OptimConfig, WsdConfig
from lst_jax.step.schedules import registry as schedules
from lst_jax.step.schedules.cosine import Cosine

COSINE = OptimConfig(1e-2, 5, 0.1, 0.9, 0.95, 1e-8, 0.3, 0.5, 0.0, 0.0)


def wsd(decay_steps, shape="1-sqrt", **changes):
    return dataclasses.replace(COSINE, schedule="wsd", wsd=WsdConfig(decay_steps, shape), **changes)


def rates(config, steps):
    schedule = schedules.schedule_of(config)
    rate, numbers = jax.jit(schedule.rate), schedule.numbers(config, steps)
    return np.asarray([rate(numbers, jnp.int32(done)) for done in range(steps)])


@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_cosine_is_optax_s(warmup):
    oracle = optax.warmup_cosine_decay_schedule(0.0, 1e-2, warmup, 12, end_value=1e-3)
    found = rates(dataclasses.replace(COSINE, warmup_steps=warmup), 12)
    np.testing.assert_allclose(found, [oracle(done + 1) for done in range(12)], rtol=1e-5)


def test_wsd_rises_stays_and_falls_in_its_shape():
    for shape, fall in (("linear", [0.75, 0.5, 0.25, 0.0]), ("1-sqrt", 1 - np.sqrt([0.25, 0.5, 0.75, 1.0]))):
        expected = [0.2, 0.4, 0.6, 0.8] + [1.0] * 8 + [0.1 + 0.9 * left for left in fall]
        np.testing.assert_allclose(rates(wsd(4, shape), 16), 1e-2 * np.asarray(expected), rtol=1e-5)


def test_a_longer_run_has_the_same_rates_to_the_last_bit_until_the_decay_of_the_shorter():
    trunk = rates(wsd(0), 40)
    for steps, decay in ((16, 4), (30, 10)):
        np.testing.assert_array_equal(rates(wsd(decay), steps)[: steps - decay], trunk[: steps - decay])
    assert np.all(trunk[4:] == np.float32(1e-2))


def test_a_branch_may_begin_where_the_rate_has_stayed_at_its_peak():
    schedule = schedules.schedule_of(wsd(4))
    assert schedule.stable(wsd(4), 16) == range(5, 13)
    assert rates(wsd(4), 16)[11] == np.float32(1e-2) > rates(wsd(4), 16)[12]
    assert not schedules.schedule_of(COSINE).stable(COSINE, 16)


def test_a_taken_name_is_refused():
    with pytest.raises(TypeError, match="schedule 'cosine': is Cosine already"):
        schedules.register("cosine", Cosine())
