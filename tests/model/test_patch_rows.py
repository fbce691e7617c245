"""From patches to tokens and back: the form for matrix units equals gathers and scatters, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lst_jax.model import patch_rows
from lst_jax.model.patch_rows import patch_maxima, to_patches, to_tokens

TOKENS, PATCHES, FEATURES = 401, 300, 3


def row_of_patches(rng, longest, holes):
    """The patch of each token of a row: more tokens than patches hold, padding, and tokens without a patch."""
    patch_T = np.repeat(np.arange(TOKENS), rng.integers(1, longest + 1, TOKENS))[:TOKENS]
    patch_T[rng.integers(TOKENS - 30, TOKENS) :] = PATCHES
    if holes:
        patch_T[rng.integers(0, TOKENS, 25)] = rng.choice([-1, PATCHES, PATCHES + 7], 25)
    return np.minimum(patch_T, PATCHES + 7)


def rows(longest, holes):
    """A batch of such rows, features of patches, features of tokens."""
    rng = np.random.default_rng(longest)
    patch_BT = np.stack([row_of_patches(rng, longest, holes) for _ in range(2)]).astype(np.int32)
    x_BUC, x_BTC = (rng.standard_normal((2, n, FEATURES)).astype(np.float32) for n in (PATCHES, TOKENS))
    return jnp.asarray(patch_BT), jnp.asarray(x_BUC), jnp.asarray(x_BTC)


def both_forms(monkeypatch, function, x):
    """Values and the gradient at a random cotangent, in the form for CPUs and in that for TPUs."""
    found = []
    for platforms in ((), ("cpu",)):
        monkeypatch.setattr(patch_rows, "MATRIX_UNIT_PLATFORMS", platforms)
        out, pullback = jax.vjp(lambda x: function(x), x)
        cotangent = np.random.default_rng(1).standard_normal(out.shape).astype(np.float32)
        found.append((out, *pullback(jnp.asarray(cotangent))))
    return zip(*found, strict=True)


@pytest.mark.parametrize(("longest", "holes"), [(1, False), (4, True), (4, False), (250, True)])
def test_products_equal_gathers_and_scatters(monkeypatch, longest, holes):
    patch_BT, x_BUC, x_BTC = rows(longest, holes)
    for function, x in (
        (lambda x: to_tokens(x, patch_BT), x_BUC),
        (lambda x: to_patches(x, patch_BT, PATCHES), x_BTC),
    ):
        for plain, product in both_forms(monkeypatch, function, x):
            assert np.abs(plain).max() > 0
            np.testing.assert_allclose(product, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("longest", [1, 4, 250])
def test_maxima_by_product_equal_those_by_scatter(monkeypatch, longest):
    patch_BT, _, x_BTC = rows(longest, holes=False)
    for plain, product in both_forms(monkeypatch, lambda x: patch_maxima(x, patch_BT, PATCHES), x_BTC):
        np.testing.assert_allclose(product, plain, rtol=1e-6)


def test_selecting_is_exact_in_bfloat16(monkeypatch):
    patch_BT, x_BUC, _ = rows(4, holes=True)
    x_BUC = x_BUC.astype(jnp.bfloat16)
    monkeypatch.setattr(patch_rows, "MATRIX_UNIT_PLATFORMS", ("cpu",))
    np.testing.assert_array_equal(to_tokens(x_BUC, patch_BT), patch_rows.gather(x_BUC, patch_BT))


def test_equal_maxima_share_the_gradient():
    x_BTC = jnp.asarray([[[3.0], [1.0], [3.0], [2.0]]])
    pullback = jax.vjp(lambda x: patch_maxima(x, jnp.asarray([[0, 0, 0, 1]]), 2), x_BTC)[1]
    assert pullback(jnp.asarray([[[1.0], [5.0]]]))[0].tolist() == [[[0.5], [0.0], [0.5], [5.0]]]
