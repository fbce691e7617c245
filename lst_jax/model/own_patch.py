"""Cross-attention with a window of one patch, by gather and scatter. Results equal `blocked_attention` with window 1.

Every token belongs to at most one patch, so each pair of a token and a query of its patch is listed directly, and no
pair is masked away. The cost is T·Q, whatever the lengths of patches. An index outside 0..U-1 means "no patch": it
gives zeros, and no gradient flows back through it.
"""

import jax
import jax.numpy as jnp

from lst_jax.core.shapes import Array, Float, Int


def patches_attend_own_tokens(
    q_BUQHK: Float[Array, "B U Q H K"],
    k_BTHK: Float[Array, "B T H K"],
    v_BTHK: Float[Array, "B T H K"],
    patch_BT: Int[Array, "B T"],
) -> Float[Array, "B U Q H K"]:
    """Encoder cross-attention: the Q queries of each patch over the patch's own tokens (softmax per patch)."""
    b, u, q, h, _ = q_BUQHK.shape
    rows_B1 = jnp.arange(b)[:, None]
    s_BTQH = jnp.einsum("btqhk,bthk->btqh", gather(q_BUQHK, patch_BT), k_BTHK, preferred_element_type=jnp.float32)
    s_BTQH = s_BTQH * q_BUQHK.shape[-1] ** -0.5
    low = jnp.finfo(jnp.float32).min
    max_BUQH = jnp.full((b, u, q, h), low).at[rows_B1, patch_BT].max(jax.lax.stop_gradient(s_BTQH), mode="drop")
    p_BTQH = jnp.exp(s_BTQH - gather(max_BUQH, patch_BT))
    sum_BUQH = scatter_sum(p_BTQH, patch_BT, u)
    p_BTQH = p_BTQH / jnp.where((patch_BT < u)[..., None, None], gather(sum_BUQH, patch_BT), 1)
    pv_BTQHK = p_BTQH[..., None] * v_BTHK[:, :, None].astype(jnp.float32)
    return scatter_sum(pv_BTQHK, patch_BT, u).astype(q_BUQHK.dtype)


def tokens_attend_patch(
    q_BTHK: Float[Array, "B T H K"],
    k_BUQHK: Float[Array, "B U Q H K"],
    v_BUQHK: Float[Array, "B U Q H K"],
    patch_BT: Int[Array, "B T"],
) -> Float[Array, "B T H K"]:
    """Decoder cross-attention: each token over the Q vectors of the one patch it may see."""
    k_BTQHK, v_BTQHK = gather(k_BUQHK, patch_BT), gather(v_BUQHK, patch_BT)
    s_BTQH = jnp.einsum("bthk,btqhk->btqh", q_BTHK, k_BTQHK, preferred_element_type=jnp.float32)
    p_BTQH = jax.nn.softmax(s_BTQH * q_BTHK.shape[-1] ** -0.5, axis=2)
    out_BTHK = jnp.einsum("btqh,btqhk->bthk", p_BTQH.astype(v_BTQHK.dtype), v_BTQHK, preferred_element_type=jnp.float32)
    return out_BTHK.astype(q_BTHK.dtype)


def gather(x_BU, patch_BT):
    """`x[b, patch[b, t]]` over any trailing dimensions; zeros where the index is no patch."""
    rows_B1 = jnp.arange(x_BU.shape[0])[:, None]
    return x_BU.at[rows_B1, patch_BT].get(mode="fill", fill_value=0, wrap_negative_indices=False)


def scatter_sum(x_BT, patch_BT, row_patches: int):
    """Sums `x[b, t]` into `out[b, patch[b, t]]` for `row_patches` patches; indices that are no patch are dropped."""
    rows_B1 = jnp.arange(x_BT.shape[0])[:, None]
    zeros_BU = jnp.zeros((x_BT.shape[0], row_patches, *x_BT.shape[2:]), x_BT.dtype)
    return zeros_BU.at[rows_B1, patch_BT].add(x_BT, mode="drop", wrap_negative_indices=False)
