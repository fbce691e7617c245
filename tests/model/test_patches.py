"""What is derived from boundaries, against the facts that the rows were built from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_cases import random_batch

from lst_jax.model.patch_rows import patch_maxima
from lst_jax.model.patches import derive_patches, gather_local

UNITS = 50


def test_the_documented_example():
    row = [np.asarray([a]) for a in ([1, 1, 1, 2, 0], [1, 1, 0, 1, 0], [1, 0, 1, 1, 0])]
    patches = derive_patches(jnp.asarray(row[0]), *(jnp.asarray(a, bool) for a in row[1:]), 4)
    assert patches.patch_id_BT.tolist() == [[0, 1, 1, 2, 4]]
    assert patches.visible_patch_BT.tolist() == [[0, 0, 1, 2, 4]]
    assert patches.doc_id_BU.tolist() == [[1, 1, 2, 0]]


def test_the_documented_example_of_local_rows():
    token = jnp.asarray([[1, 14, 5, 15, 23, 23]])
    start, end = (jnp.asarray([a], bool) for a in ([1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 1]))
    row = derive_patches(jnp.ones_like(token), start, end, 6)
    local = gather_local(token >= 15, token, jnp.ones_like(token), start, end, row, 4)
    assert local.position_BS.tolist() == [[3, 4, 5, 6]] and local.token_BS.tolist() == [[15, 23, 23, 0]]
    assert local.doc_id_BS.tolist() == [[1, 1, 1, 0]] and local.fits_B.tolist() == [True]
    assert local.patches.patch_id_BT.tolist() == [[0, 1, 1, 4]]
    assert local.patches.visible_patch_BT.tolist() == [[0, 0, 1, 4]]
    assert local.row_patch_BP.tolist() == [[3, 4, 6, 6]]


@pytest.mark.parametrize("seed", range(5))
def test_indices_lag_and_documents_are_those_the_rows_were_built_from(seed):
    batch = random_batch(seed)
    _, *boundaries = map(jnp.asarray, batch.inputs)
    patches = jax.jit(derive_patches, static_argnums=3)(*boundaries, UNITS)
    np.testing.assert_array_equal(patches.patch_id_BT, np.where(batch.patch < 0, UNITS, batch.patch))
    np.testing.assert_array_equal(patches.visible_patch_BT, np.where(batch.visible < 0, UNITS, batch.visible))
    for row, patch, doc in zip(patches.doc_id_BU, batch.patch, batch.doc_id, strict=True):
        documents = {int(p): int(d) for p, d in zip(patch, doc, strict=True) if p >= 0}
        assert row.tolist() == [documents[u] if u in documents else 0 for u in range(UNITS)]


def test_a_token_without_a_complete_patch_in_its_document_sees_none():
    doc_id, start, end = jnp.asarray([[1, 2, 2, 2]]), jnp.asarray([[True, True, False, True]]), jnp.zeros((1, 4), bool)
    assert derive_patches(doc_id, start, end, 4).visible_patch_BT.tolist() == [[4, 4, 4, 1]]


def test_max_pool_and_its_gradient():
    batch = random_batch(0)
    h = np.random.default_rng(0).standard_normal((*batch.token.shape, 3)).astype(np.float32)
    index = jnp.asarray(np.where(batch.patch < 0, UNITS, batch.patch))
    pooled, pullback = jax.vjp(lambda h: patch_maxima(h, index, UNITS), jnp.asarray(h))
    gradient = np.asarray(pullback(jnp.ones_like(pooled))[0])
    for b in range(len(h)):
        for u in range(UNITS):
            members = np.flatnonzero(batch.patch[b] == u)
            np.testing.assert_array_equal(pooled[b, u], h[b, members].max(0) if len(members) else np.zeros(3))
            if len(members):
                np.testing.assert_array_equal(gradient[b, members], h[b, members] == h[b, members].max(0))
        assert (gradient[b, batch.patch[b] < 0] == 0).all()
