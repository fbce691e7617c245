"""Products of operands in 8 bits: how far they may be from float32, and which of a step's products they are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lst_jax.model import eight_bits

N, D, F = 24, 96, 40
LARGEST = {"int8": 127, "fp8": 448}
each_type = pytest.mark.parametrize("name", LARGEST)


def operands(dtype="float32"):
    """Rows and columns of very different sizes, and an incoming gradient."""
    rng = np.random.default_rng(0)
    x_ND = rng.standard_normal((N, D)) * 10.0 ** rng.uniform(-6, 2, (N, 1))
    w_DF = rng.standard_normal((D, F)) * 10.0 ** rng.uniform(-2, 2, (1, F))
    change_NF = rng.standard_normal((N, F)) * 10.0 ** rng.uniform(-9, -3, (N, 1))
    return tuple(jnp.asarray(a, dtype) for a in (x_ND, w_DF, change_NF))


def most_wrong(name, a, axis):
    """By how much rounding may change each value of `a`: half a step of int8; of e4m3, 3 bits after the first."""
    scale = np.abs(a).max(axis, keepdims=True) / LARGEST[name]
    return 0.5 * scale if name == "int8" else np.maximum(2.0**-4 * np.abs(a), 2.0**-10 * scale)


def most_wrong_product(a, wrong_a, b, wrong_b):
    return np.abs(a) @ wrong_b + wrong_a @ (np.abs(b) + wrong_b)


@functools.partial(jax.jit, static_argnums=(0, 4))
def computed(name, x_ND, w_DF, change_NF, dtype="float32"):
    """The product and its two gradients."""
    out_NF, pull = jax.vjp(lambda x, w: eight_bits.product(x, w, dtype, name), x_ND, w_DF)
    return out_NF, *pull(change_NF)


@each_type
def test_products_and_gradients_are_those_of_float32_within_what_rounding_can_do(name):
    given = operands()
    out_NF, of_x_ND, of_w_DF = computed(name, *given)
    x, w, g = (np.asarray(a, np.float64) for a in given)
    wrong_w = np.broadcast_to(most_wrong(name, w, 0), w.shape)
    bound_NF = most_wrong_product(x, np.broadcast_to(most_wrong(name, x, 1), x.shape), w, wrong_w)
    assert np.all(np.abs(out_NF - x @ w) <= 1.001 * bound_NF)
    assert np.abs(out_NF - x @ w).max() > 0
    scale_1F = np.abs(w).max(0, keepdims=True) / LARGEST[name]
    wrong_g = np.broadcast_to(most_wrong(name, g * scale_1F, 1), g.shape) / scale_1F
    assert np.all(np.abs(of_x_ND - g @ w.T) <= 1.001 * most_wrong_product(g, wrong_g, w.T, wrong_w.T))
    np.testing.assert_allclose(of_w_DF, x.T @ g, rtol=1e-4, atol=1e-5 * np.abs(x.T @ g).max())


@each_type
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_results_have_the_types_of_plain_products(name, dtype):
    out_NF, of_x_ND, of_w_DF = computed(name, *operands(dtype), dtype)
    assert {a.dtype for a in (out_NF, of_x_ND, of_w_DF)} == {jnp.dtype(dtype)}
    assert (out_NF.shape, of_x_ND.shape, of_w_DF.shape) == ((N, F), (N, D), (D, F))


def test_int8_products_are_exact_sums_of_the_rounded_integers():
    x_ND, w_DF, _ = operands()
    x, w = (np.asarray(a, np.float64) for a in (x_ND, w_DF))
    a_N1, b_1F = np.abs(x).max(1, keepdims=True) / 127, np.abs(w).max(0, keepdims=True) / 127
    sums_NF = np.rint(x / a_N1).astype(int) @ np.rint(w / b_1F).astype(int)
    np.testing.assert_allclose(eight_bits.product(x_ND, w_DF, "float32", "int8"), sums_NF * a_N1 * b_1F, rtol=1e-5)


@each_type
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_seen_where_it_was_and_nowhere_else(name, bad):
    x_ND, w_DF, change_NF = operands()
    out_NF, of_x_ND, _ = computed(name, x_ND.at[3, 5].set(bad), w_DF, change_NF.at[7, 1].set(bad))
    for found, row in ((out_NF, 3), (of_x_ND, 7)):
        assert not np.isfinite(found[row]).any()
        assert np.isfinite(np.delete(found, row, 0)).all()


@each_type
def test_rows_of_zeros_give_zeros(name):
    x_ND, w_DF, change_NF = operands()
    out_NF, of_x_ND, _ = computed(name, x_ND.at[2].set(0), w_DF.at[:, 4].set(0), change_NF.at[2].set(0))
    assert not out_NF[2].any() and not out_NF[:, 4].any() and not of_x_ND[2].any()
    assert np.isfinite(out_NF).all() and np.isfinite(of_x_ND).all()
