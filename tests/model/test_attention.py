"""Blocked attention and the own-patch form against a dense float64 oracle, on ragged documents and patches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lst_jax.model import patch_rows
from lst_jax.model.attention import _active_key_blocks, blocked_attention
from lst_jax.model.own_patch import patches_attend_own_tokens, tokens_attend_vectors, vectors_first


def dense_attention(q, k, v, q_id, k_id, q_doc, k_doc, window):
    """The mask rule as one [S, R] mask and one softmax; queries that see nothing give zeros."""
    gap = q_id[:, :, None] - k_id[:, None]
    seen = (q_doc[:, :, None] == k_doc[:, None]) & (q_doc != 0)[:, :, None] & (gap >= 0)
    seen = (seen & (gap < window))[:, None]
    s = jnp.einsum("bshk,brhk->bhsr", q, k) / np.sqrt(q.shape[-1])
    p = jnp.where(seen, jnp.exp(s), 0)
    return jnp.einsum("bhsr,brhk->bshk", p / jnp.where(p.sum(-1, keepdims=True) == 0, 1, p.sum(-1, keepdims=True)), v)


@jax.jit
def dense_values(arrays, rule, window, cotangent):
    """Compiled once for all windows."""
    out, pullback = jax.vjp(lambda *qkv: dense_attention(*qkv, *rule, window), *arrays)
    return out, pullback(cotangent)


def oracle(arrays, cotangent, *rule):
    """Dense values and gradients in float64, as numpy."""
    with jax.enable_x64(True):
        *arrays, cotangent = (jnp.asarray(a, jnp.float64) for a in (*arrays, cotangent))
        *rule, window = rule
        out, gradients = dense_values(arrays, tuple(rule), 2**30 if window is None else window, cotangent)
        return np.asarray(out), [np.asarray(g) for g in gradients]


def assert_equals_oracle(attend, arrays, rule, window):
    """Values and all three gradients agree, and queries that see nothing give exact zeros."""
    cotangent = np.random.default_rng(1).standard_normal(arrays[0].shape).astype(np.float32)
    expected, expected_gradients = oracle(arrays, cotangent, *rule, window)
    both = jax.jit(lambda *qkv: (attend(*qkv), jax.vjp(attend, *qkv)[1](jnp.asarray(cotangent))))
    out, gradients = both(*on_device(arrays))
    unseen = np.all(expected == 0, (2, 3))
    assert unseen.any() and not unseen.all()
    np.testing.assert_allclose(out, expected, atol=2e-6)
    for got, want in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5)
    assert np.all(np.asarray(out)[unseen] == 0) and np.all(np.asarray(gradients[0])[unseen] == 0)


def ragged_row(rng, tokens, units):
    """Documents (padding last) and patches of one row: doc_T, patch_T (units where padding), doc_U."""
    doc_T, patch_T, doc_U = np.zeros(tokens, int), np.full(tokens, units), np.zeros(units, int)
    t, doc, patch = 0, 0, -1
    end = tokens - int(rng.integers(0, 5))
    while t < end and patch < units - 2:
        doc += 1
        for _ in range(int(rng.integers(1, 9))):
            length = int(rng.integers(1, 6))
            if t < end and patch < units - 1:
                patch += 1
                doc_T[t : min(t + length, end)], patch_T[t : min(t + length, end)], doc_U[patch] = doc, patch, doc
                t = min(t + length, end)
    return doc_T, patch_T, doc_U


def on_device(arrays):
    """JAX arrays of numpy ones."""
    return tuple(map(jnp.asarray, arrays))


def case(kind, queries, seed=0, rows=3, tokens=45, units=21):
    """Arguments of one of the three attentions: q, k, v and the ids and documents of both sides."""
    rng = np.random.default_rng(seed)
    doc_BT, patch_BT, doc_BU = (
        np.stack(a) for a in zip(*(ragged_row(rng, tokens, units) for _ in range(rows)), strict=True)
    )
    visible_BT = np.maximum(patch_BT - rng.integers(0, 2, patch_BT.shape), 0)
    units_id_BR, units_doc_BR = np.repeat(np.arange(units)[None], rows, 0).repeat(queries, 1), doc_BU.repeat(queries, 1)
    position_BT = np.broadcast_to(np.arange(tokens), (rows, tokens))
    sides = {
        "self": ((position_BT, doc_BT), (position_BT, doc_BT)),
        "encoder": ((units_id_BR, units_doc_BR), (patch_BT, doc_BT)),
        "decoder": ((visible_BT, doc_BT), (units_id_BR, units_doc_BR)),
    }
    (q_id, q_doc), (k_id, k_doc) = sides[kind]
    shapes = [(rows, q_id.shape[1], 2, 8)] + [(rows, k_id.shape[1], 2, 8)] * 2
    q, k, v = (rng.standard_normal(s).astype(np.float32) for s in shapes)
    return (q, k, v), tuple(a.astype(np.int32) for a in (q_id, k_id, q_doc, k_doc))


@pytest.mark.parametrize(
    ("block", "window", "queries"),
    [(8, 1, 2), (8, 3, 4), (8, None, 2), (64, 3, 2), pytest.param(8, 512, 1, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("kind", ["self", "encoder", "decoder"])
def test_blocked_values_and_gradients_equal_the_dense_oracle(kind, queries, window, block):
    arrays, rule = case(kind, queries)
    assert_equals_oracle(lambda *qkv: blocked_attention(*qkv, *on_device(rule), window, block), arrays, rule, window)


@pytest.mark.parametrize("form", ["gathers", "products"])
@pytest.mark.parametrize("queries", [1, pytest.param(2, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_the_own_patch_form_is_the_window_of_one(monkeypatch, kind, queries, form):
    if form == "products":
        monkeypatch.setattr(patch_rows, "MATRIX_UNIT_PLATFORMS", ("cpu",))
    arrays, rule = case(kind, queries, seed=3)
    q_id, k_id, q_doc, k_doc = rule

    def flat(x, positions):
        return x.reshape(3, positions, -1)

    def own_patch(q, k, v):
        if kind == "encoder":
            each = jnp.split(flat(q, 21), queries, -1)
            out = jnp.concatenate(patches_attend_own_tokens(each, flat(k, 45), flat(v, 45), jnp.asarray(k_id), 2), -1)
        else:
            seen = (q_doc != 0) & (np.take_along_axis(k_doc[:, ::queries], np.minimum(q_id, 20), 1) == q_doc)
            visible = jnp.asarray(np.where(seen, q_id, 21))
            k, v = (vectors_first(patch_rows.to_tokens(flat(x, 21), visible), 16) for x in (k, v))
            out = tokens_attend_vectors(flat(q, 45), k, v, 2)
        return out.reshape(q.shape)

    assert_equals_oracle(own_patch, arrays, rule, 1)


def test_a_row_of_padding_only_gives_zeros_and_no_nan():
    (q, k, v), (q_id, k_id, q_doc, k_doc) = case("self", 1)
    rule = on_device((q_id, k_id, np.zeros_like(q_doc), np.zeros_like(k_doc)))
    out, gradients = values_and_gradients(rule)(*on_device((q, k, v)))
    for a in (out, *gradients):
        assert np.all(np.asarray(a) == 0)


def values_and_gradients(rule):
    """Of blocked self-attention; the cotangent is 1 everywhere."""

    @jax.jit
    def both(*qkv):
        out, pullback = jax.vjp(lambda *a: blocked_attention(*a, *rule, None, 16), *qkv)
        return out, pullback(jnp.ones_like(out))

    return both


def test_huge_scores_stay_finite():
    (q, k, v), rule = case("self", 1)
    q, k, v = on_device(a * 1e3 for a in (q, k, v))
    out, gradients = values_and_gradients(on_device(rule))(q, k, v)
    assert all(np.isfinite(a).all() for a in (out, *gradients))


def test_bfloat16_operands_keep_float32_sums():
    arrays, rule = case("self", 1)
    half = [jnp.asarray(a, jnp.bfloat16) for a in arrays]
    out = jax.jit(lambda *qkv: blocked_attention(*qkv, *on_device(rule), None, 16))(*half)
    assert out.dtype == jnp.bfloat16
    expected, _ = oracle([np.asarray(a, np.float32) for a in half], arrays[0], *rule, None)
    np.testing.assert_allclose(np.asarray(out, np.float32), expected, atol=0.03)  # 2^-8 relative, values below 4


def test_rows_may_be_split_over_devices():
    arrays, rule = map(on_device, case("self", 1, rows=8))
    mesh = Mesh(np.asarray(jax.devices()), "data")
    split = jax.device_put((arrays, rule), NamedSharding(mesh, PartitionSpec("data")))
    attend = jax.jit(lambda qkv, rule: blocked_attention(*qkv, *rule, 7, 16))
    np.testing.assert_allclose(attend(*split), attend(arrays, rule), atol=1e-6)


def test_a_window_visits_few_blocks():
    """The loop bounds of 64 query blocks under window 20 name at most 3 key blocks of 16 each, not all 64."""
    position_NBS = np.arange(1024, dtype=np.int32).reshape(64, 1, 16)
    document_NBS = np.ones_like(position_NBS)
    bounds = np.asarray(_active_key_blocks(*on_device([position_NBS] * 2 + [document_NBS] * 2), 20))
    assert (bounds[:, 1] == np.arange(64) + 1).all() and (bounds[:, 1] - bounds[:, 0]).max() == 3
