"""Cross-attention with a window of one patch. Results equal `blocked_attention` with window 1.

Every token belongs to at most one patch, so each pair of a token and a vector of its patch is listed directly, and no
pair is masked away. The cost is T·Q, whatever the lengths of patches. A token whose index is no patch (outside 0..U-1)
gives zeros, and no gradient flows back through it.

Features stay flat, [.., E] with the heads side by side. The Q vectors of a patch are the first axis, or arrays of
their own. Arrays whose last axes are heads and their widths leave lanes of a TPU empty, and products over them miss its
matrix unit. Products with a constant matrix of 0 and 1 sum over each head, and spread one value over each head.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lst_jax.core.shapes import Array, Float, Int
from lst_jax.model.patch_rows import exact_product, patch_maxima, to_patches, to_tokens


def patches_attend_own_tokens(
    queries: Sequence[Float[Array, "B U E"]],
    k_BTE: Float[Array, "B T E"],
    v_BTE: Float[Array, "B T E"],
    patch_BT: Int[Array, "B T"],
    heads: int,
) -> tuple[Float[Array, "B U E"], ...]:
    """Encoder cross-attention: each of the Q queries of a patch over the patch's own tokens (softmax per patch).

    Queries are arrays of their own, as slices of a common one are copies on a TPU. What is as wide as heads is common.
    """
    u, e = queries[0].shape[1:]
    scores = [head_sums(to_tokens(q_BUE, patch_BT) * k_BTE, heads) for q_BUE in queries]
    s_BTG = jnp.concatenate(scores, -1) * (e // heads) ** -0.5
    near_max_BTG = to_tokens(patch_maxima(jax.lax.stop_gradient(s_BTG).astype(k_BTE.dtype), patch_BT, u), patch_BT)
    weight_BTG = jnp.exp(s_BTG - near_max_BTG.astype(jnp.float32))
    sum_BTG = to_tokens(to_patches(weight_BTG, patch_BT, u), patch_BT)
    p_BTG = (weight_BTG / jnp.where(sum_BTG == 0, 1, sum_BTG)).astype(v_BTE.dtype)
    each = jnp.split(p_BTG, len(queries), -1)
    return tuple(to_patches(over_heads(p_BTH, e) * v_BTE, patch_BT, u) for p_BTH in each)


def tokens_attend_vectors(
    q_BTE: Float[Array, "B T E"], k_QBTE: Float[Array, "Q B T E"], v_QBTE: Float[Array, "Q B T E"], heads: int
) -> Float[Array, "B T E"]:
    """Decoder cross-attention: each token over the Q vectors of the one patch that it sees.

    Weighted values are rounded to their own dtype before they are added: in float32 they would be written to memory.
    """
    e = q_BTE.shape[2]
    s_QBTH = head_sums(_for_each(q_BTE, len(k_QBTE)) * k_QBTE, heads) * (e // heads) ** -0.5
    p_QBTE = over_heads(jax.nn.softmax(s_QBTH, axis=0).astype(v_QBTE.dtype), e)
    return _summed(p_QBTE * v_QBTE).astype(q_BTE.dtype)


def vectors_first(x_BTC: Float[Array, "B T C"], width: int) -> Float[Array, "Q B T E"]:
    """Vectors of `width` that lie side by side as the first axis."""
    return jnp.stack([x_BTC[..., at : at + width] for at in range(0, x_BTC.shape[2], width)])


def head_sums(x_E: Float[Array, "*batch E"], heads: int) -> Float[Array, "*batch H"]:
    """Sums over the width of each head, in float32."""
    return exact_product("...e,eh->...h", x_E, _heads(x_E.shape[-1], heads), jnp.float32)


def over_heads(x_H: Float[Array, "*batch H"], width: int) -> Float[Array, "*batch E"]:
    """The value of each head at every feature of the head."""
    return exact_product("...h,eh->...e", x_H, _heads(width, x_H.shape[-1]), x_H.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _for_each(x_BTE: Float[Array, "B T E"], vectors: int) -> Float[Array, "Q B T E"]:
    """The same for each of the vectors."""
    return jnp.broadcast_to(x_BTE, (vectors, *x_BTE.shape))


@jax.custom_vjp
def _summed(x_QBTE: Float[Array, "Q B T E"]) -> Float[Array, "B T E"]:
    """The sum over the vectors, term by term: a sum over an axis takes XLA eight times as long on a TPU."""
    return functools.reduce(jnp.add, [x_QBTE[i] for i in range(len(x_QBTE))])


_for_each.defvjp(lambda x_BTE, n: (_for_each(x_BTE, n), None), lambda n, _, change_QBTE: (_summed(change_QBTE),))
_summed.defvjp(
    lambda x_QBTE: (_summed(x_QBTE), (None,) * len(x_QBTE)),
    lambda each, change_BTE: (_for_each(change_BTE, len(each)),),
)


def _heads(width: int, heads: int) -> np.ndarray:
    return np.repeat(np.eye(heads, dtype=np.float32), width // heads, 0)
