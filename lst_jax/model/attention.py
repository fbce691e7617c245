"""Attention under the one mask rule of the model, computed in blocks with plain XLA operations.

Key j is visible to query i if and only if both are in the same document (`doc_q[i] == doc_k[j] != 0`) and
`0 <= q_id[i] - k_id[j] < window`; a branch of a document also sees what it branches from (`model.branches`). The four
attentions of the model differ only in their ids:

    attention                q_id                                     k_id
    self                     position in the row                      position in the row
    encoder cross            index of the query's patch               index of the token's patch
    decoder cross            latest complete patch of the token       index of the key's patch

A query that sees no key gives zeros. A block of queries is computed with those blocks of keys that can hold a visible
pair, so the cost grows with S·window. No array has the size [S, R], unless one block covers both. The backward pass
recomputes the scores in the same blocks from the saved output and log-sum-exp (Dao et al., arXiv 2205.14135).
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from lst_jax.core.shapes import Array, Float, Int

MASKED = -1e30  # below every real score; finite, so that max and exp give no NaN
SAVED_ATTENTION = "attention"  # the name by which a remat policy keeps the output and log-sum-exp
NO_ID = 2**30  # beyond every position and document number
BRANCH = 2**16  # branch b of document d is document d + b·BRANCH; beyond every document of a row


def blocked_attention(
    q_BSHK: Float[Array, "B S H K"],
    k_BRHK: Float[Array, "B R H K"],
    v_BRHK: Float[Array, "B R H K"],
    q_id_BS: Int[Array, "B S"],
    k_id_BR: Int[Array, "B R"],
    q_doc_BS: Int[Array, "B S"],
    k_doc_BR: Int[Array, "B R"],
    window: int | None,
    block: int,
) -> Float[Array, "B S H K"]:
    """Softmax attention scaled by K^-½ over the visible keys; float32 inside, the dtype of `q` outside.

    The result is right for any ids. It is cheap where ids do not decrease along a row and documents are contiguous.
    Args: `window` in units of the ids, None = unbounded; `block` positions per block of queries and of keys.
    """
    window = NO_ID if window is None else window
    q_block, k_block = min(block, q_BSHK.shape[1]), min(block, k_BRHK.shape[1])
    q_NBHSK, q_id_NBS, q_doc_NBS = _split(q_BSHK, q_id_BS, q_doc_BS, q_block)
    k_NBHRK, k_id_NBR, k_doc_NBR = _split(k_BRHK, k_id_BR, k_doc_BR, k_block)
    v_NBHRK, _, _ = _split(v_BRHK, k_id_BR, k_doc_BR, k_block)
    bounds_N2 = _active_key_blocks(q_id_NBS, k_id_NBR, q_doc_NBS, k_doc_NBR, window)
    out_NBHSK = _attend(q_NBHSK, k_NBHRK, v_NBHRK, (q_id_NBS, k_id_NBR, q_doc_NBS, k_doc_NBR, bounds_N2), window)
    return _join(out_NBHSK, q_BSHK.shape[1])


def _split(x_BSHK, id_BS, doc_BS, block):
    """Pads the positions to whole blocks, as document 0, and puts the blocks first: x_NBHSK, id_NBS, doc_NBS."""
    b, s, h, k = x_BSHK.shape
    n = -(-s // block)
    pad = n * block - s
    x_BSHK = jnp.pad(x_BSHK, ((0, 0), (0, pad), (0, 0), (0, 0)))
    id_BS, doc_BS = (jnp.pad(a, ((0, 0), (0, pad))) for a in (id_BS, doc_BS))
    id_NBS, doc_NBS = (a.reshape(b, n, block).swapaxes(0, 1) for a in (id_BS, doc_BS))
    return x_BSHK.reshape(b, n, block, h, k).transpose(1, 0, 3, 2, 4), id_NBS, doc_NBS


def _join(x_NBHSK, length):
    n, b, h, s, k = x_NBHSK.shape
    return x_NBHSK.transpose(1, 0, 3, 2, 4).reshape(b, n * s, h, k)[:, :length]


def _active_key_blocks(q_id_NBS, k_id_MBR, q_doc_NBS, k_doc_MBR, window):
    """For each query block, the range [first, last + 1) of key blocks that may hold a pair visible in any row.

    A pair of blocks is left out only where their ranges of documents or of ids do not meet, so no visible pair is lost.
    """

    def extent(x, doc):  # least and greatest value over the real positions of each block and row
        low = jnp.where(doc != 0, x, NO_ID).min(-1)
        high = jnp.where(doc != 0, x, -NO_ID).max(-1)
        return low, high

    q_low, q_high = (a[:, None] for a in extent(q_id_NBS, q_doc_NBS))
    k_low, k_high = extent(k_id_MBR, k_doc_MBR)
    q_doc_low, _ = (a[:, None] for a in extent(q_doc_NBS % BRANCH, q_doc_NBS))  # a branch counts as its trunk
    _, q_doc_high = (a[:, None] for a in extent(q_doc_NBS, q_doc_NBS))
    k_doc_low, k_doc_high = extent(k_doc_MBR, k_doc_MBR)
    active_NMB = (k_low <= q_high) & (q_low - k_high < window) & (k_doc_low <= q_doc_high) & (q_doc_low <= k_doc_high)
    active_NM = active_NMB.any(-1)
    count = active_NM.shape[1]
    first = jnp.argmax(active_NM, 1)
    end = jnp.where(active_NM.any(1), count - jnp.argmax(active_NM[:, ::-1], 1), first)
    return jnp.stack([first, end], 1).astype(jnp.int32)


def _scores(q_BHSK, k_BHRK, q_id, k_id, q_doc, k_doc, window):
    """Scaled float32 scores of one pair of blocks, and which of them are visible ([B, 1, S, R])."""
    s_BHSR = jnp.einsum("bhsk,bhrk->bhsr", q_BHSK, k_BHRK, preferred_element_type=jnp.float32)
    gap = q_id[:, None, :, None] - k_id[:, None, None, :]
    q_doc, k_doc = q_doc[:, None, :, None], k_doc[:, None, None, :]
    same = ((q_doc == k_doc) | (q_doc % BRANCH == k_doc)) & (k_doc != 0)
    return s_BHSR * q_BHSK.shape[-1] ** -0.5, same & (gap >= 0) & (gap < window)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attend(q_NBHSK, k_MBHRK, v_MBHRK, rule, window):
    return _forward(q_NBHSK, k_MBHRK, v_MBHRK, rule, window)[0]


def _forward(q_NBHSK, k_MBHRK, v_MBHRK, rule, window):
    """Online softmax: each query block keeps a running maximum, sum and weighted values over its active key blocks."""
    q_id_NBS, k_id_MBR, q_doc_NBS, k_doc_MBR, bounds_N2 = rule

    def query_block(_, xs):
        q_BHSK, q_id_BS, q_doc_BS, bounds = xs

        def key_block(j, carry):
            max_BHS, sum_BHS, acc_BHSK = carry
            k_BHRK, v_BHRK, k_id_BR, k_doc_BR = (_block(a, j) for a in (k_MBHRK, v_MBHRK, k_id_MBR, k_doc_MBR))
            s_BHSR, visible = _scores(q_BHSK, k_BHRK, q_id_BS, k_id_BR, q_doc_BS, k_doc_BR, window)
            new_BHS = jnp.maximum(max_BHS, jnp.where(visible, s_BHSR, MASKED).max(-1))
            p_BHSR = jnp.where(visible, jnp.exp(s_BHSR - new_BHS[..., None]), 0)
            decay_BHS = jnp.exp(max_BHS - new_BHS)
            pv_BHSK = jnp.einsum(
                "bhsr,bhrk->bhsk", p_BHSR.astype(v_BHRK.dtype), v_BHRK, preferred_element_type=jnp.float32
            )
            return new_BHS, sum_BHS * decay_BHS + p_BHSR.sum(-1), acc_BHSK * decay_BHS[..., None] + pv_BHSK

        start = (jnp.full(q_BHSK.shape[:3], MASKED), jnp.zeros(q_BHSK.shape[:3]), jnp.zeros(q_BHSK.shape))
        max_BHS, sum_BHS, acc_BHSK = _loop(bounds, key_block, start, k_MBHRK.shape[0])
        safe_BHS = jnp.where(sum_BHS == 0, 1, sum_BHS)  # no visible key: 0 / 1
        return None, ((acc_BHSK / safe_BHS[..., None]).astype(q_BHSK.dtype), max_BHS + jnp.log(safe_BHS))

    _, (out_NBHSK, lse_NBHS) = lax.scan(query_block, None, (q_NBHSK, q_id_NBS, q_doc_NBS, bounds_N2))
    out_NBHSK, lse_NBHS = (checkpoint_name(a, SAVED_ATTENTION) for a in (out_NBHSK, lse_NBHS))
    return out_NBHSK, (q_NBHSK, k_MBHRK, v_MBHRK, rule, out_NBHSK, lse_NBHS)


def _backward(window, saved, dout_NBHSK):
    """One pass: each active pair of blocks adds to the gradients of its queries, keys and values."""
    q_NBHSK, k_MBHRK, v_MBHRK, rule, out_NBHSK, lse_NBHS = saved
    q_id_NBS, k_id_MBR, q_doc_NBS, k_doc_MBR, bounds_N2 = rule
    scale = q_NBHSK.shape[-1] ** -0.5
    delta_NBHS = jnp.sum(dout_NBHSK.astype(jnp.float32) * out_NBHSK.astype(jnp.float32), -1)

    def query_block(dkv, xs):
        q_BHSK, dout_BHSK, lse_BHS, delta_BHS, q_id_BS, q_doc_BS, bounds = xs

        def key_block(j, carry):
            dq_BHSK, dk_MBHRK, dv_MBHRK = carry
            k_BHRK, v_BHRK, k_id_BR, k_doc_BR = (_block(a, j) for a in (k_MBHRK, v_MBHRK, k_id_MBR, k_doc_MBR))
            s_BHSR, visible = _scores(q_BHSK, k_BHRK, q_id_BS, k_id_BR, q_doc_BS, k_doc_BR, window)
            p_BHSR = jnp.where(visible, jnp.exp(s_BHSR - lse_BHS[..., None]), 0)
            dp_BHSR = jnp.einsum("bhsk,bhrk->bhsr", dout_BHSK, v_BHRK, preferred_element_type=jnp.float32)
            ds_BHSR = (p_BHSR * (dp_BHSR - delta_BHS[..., None]) * scale).astype(q_BHSK.dtype)
            p_BHSR = p_BHSR.astype(q_BHSK.dtype)
            product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
            return (
                dq_BHSK + product("bhsr,bhrk->bhsk", ds_BHSR, k_BHRK),
                _add_block(dk_MBHRK, product("bhsr,bhsk->bhrk", ds_BHSR, q_BHSK), j),
                _add_block(dv_MBHRK, product("bhsr,bhsk->bhrk", p_BHSR, dout_BHSK), j),
            )

        dq_BHSK, *dkv = _loop(bounds, key_block, (jnp.zeros(q_BHSK.shape), *dkv), k_MBHRK.shape[0])
        return tuple(dkv), dq_BHSK.astype(q_BHSK.dtype)

    zeros = (jnp.zeros(k_MBHRK.shape), jnp.zeros(v_MBHRK.shape))
    xs = (q_NBHSK, dout_NBHSK, lse_NBHS, delta_NBHS, q_id_NBS, q_doc_NBS, bounds_N2)
    (dk_MBHRK, dv_MBHRK), dq_NBHSK = lax.scan(query_block, zeros, xs)
    return dq_NBHSK, dk_MBHRK.astype(k_MBHRK.dtype), dv_MBHRK.astype(v_MBHRK.dtype), None


def _block(x_M, j):
    return lax.dynamic_index_in_dim(x_M, j, keepdims=False)


def _add_block(x_M, change, j):
    return lax.dynamic_update_index_in_dim(x_M, _block(x_M, j) + change, j, 0)


def _loop(bounds, body, start, count):
    """Runs `body` over the key blocks in `bounds`, without a loop where there is only one block."""
    return body(0, start) if count == 1 else lax.fori_loop(bounds[0], bounds[1], body, start)


_attend.defvjp(_forward, _backward)
