"""A product of a single row, as generation of one prompt has them, is one of the matrix unit on TPUs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from lst_jax.cost import hlo, topology
from lst_jax.cost.accelerators.registry import tpu_of_device
from lst_jax.cost.estimate import estimate
from lst_jax.cost.kinds import PRODUCTS
from lst_jax.model.placement import among_others, product


def test_empty_rows_change_nothing():
    x_1D, matrix_DF = (
        jax.random.normal(jax.random.key(seed), shape, jnp.bfloat16) for seed, shape in enumerate([(1, 32), (32, 48)])
    )
    expected = np.asarray(x_1D, np.float32) @ np.asarray(matrix_DF, np.float32)
    for function in (product, among_others):
        np.testing.assert_allclose(function(x_1D, matrix_DF, "float32"), expected, atol=1e-4)


def test_it_takes_little_longer_than_reading_the_matrix():
    pytest.importorskip("libtpu")
    device = topology.devices("v6e:2x2")[0]
    tpu = tpu_of_device(device.device_kind)
    shapes = [(1, 2048), (2048, 8192)]
    placed = [jax.ShapeDtypeStruct(s, jnp.bfloat16, sharding=SingleDeviceSharding(device)) for s in shapes]
    compiled = jax.jit(functools.partial(product, dtype="bfloat16")).lower(*placed).compile()
    found = estimate(hlo.parse(hlo.serialized(compiled)), tpu, {}, lambda axes: float("inf"))
    assert found.kind_sec(PRODUCTS) > 0
    assert found.step_sec < 2 * 2048 * 8192 * 2 / tpu.device_hbm_bytes_per_sec
