"""The cache of self-attention: keys and values of earlier positions in R slots, extended by one position per step.

Position p lies in slot p mod R. With R = window, the slots are a ring that holds exactly the positions of the window.
With R beyond the last position, no slot is ever overwritten. When `last` is the newest position, slot r holds position
`last - (last - r) mod R`; a negative number means that the slot is still empty.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lst_jax.core.shapes import Array, Bool, Float, Int
from lst_jax.model.attention import MASKED
from lst_jax.model.patch_rows import gather

UNROLLED_ROWS = 8  # rows that are written without a loop over them


class Cache(NamedTuple):
    """Rotated keys, and values, of one layer in R slots; N are the heads of all rows, those of a row side by side."""

    k_NRK: Float[Array, "N R K"]
    v_NRK: Float[Array, "N R K"]


def held_positions(last_B: Int[Array, "B"], slots: int) -> Int[Array, "B R"]:
    """The position in each slot when `last` is the newest position; negative where the slot is empty.

    Example: held_positions([4, 1], 3) -> [[3, 4, 2], [0, 1, -1]]
    """
    last_B1 = last_B[:, None]
    return last_B1 - (last_B1 - jnp.arange(slots)) % slots


def keep(
    k_BTHK: Float[Array, "B T H K"], v_BTHK: Float[Array, "B T H K"], length_B: Int[Array, "B"], slots: int
) -> Cache:
    """The cache after the first `length` positions of each row."""
    held_BR = held_positions(length_B - 1, slots)
    kept = (gather(x_BTHK, held_BR).swapaxes(1, 2) for x_BTHK in (k_BTHK, v_BTHK))
    return Cache(*(x_BHRK.reshape(-1, *x_BHRK.shape[2:]) for x_BHRK in kept))


def extend(
    cache: Cache,
    k_B1HK: Float[Array, "B 1 H K"],
    v_B1HK: Float[Array, "B 1 H K"],
    position_B: Int[Array, "B"],
    on_B: Bool[Array, "B"],
) -> Cache:
    """The cache with one position more in rows that are on; other rows write back what their slot holds.

    So every write is a slice within the cache, which XLA does in place. A scatter that drops rows, or a cache of another
    shape than the one that attention multiplies, would be copied as a whole for each token.
    """
    slot_B = position_B % cache.k_NRK.shape[1]

    def written(old_NRK, new_B1HK):
        new_BH1K = new_B1HK.swapaxes(1, 2).astype(old_NRK.dtype)

        def write(b, x_NRK):
            place = b * new_BH1K.shape[1], slot_B[b], 0
            old_H1K = jax.lax.dynamic_slice(x_NRK, place, new_BH1K.shape[1:])
            return jax.lax.dynamic_update_slice(x_NRK, jnp.where(on_B[b], new_BH1K[b], old_H1K), place)

        return jax.lax.fori_loop(0, len(new_BH1K), write, old_NRK, unroll=len(new_BH1K) <= UNROLLED_ROWS)

    return Cache(*(written(old, new) for old, new in zip(cache, (k_B1HK, v_B1HK), strict=True)))


def attend(q_B1HK: Float[Array, "B 1 H K"], cache: Cache, position_B: Int[Array, "B"]) -> Float[Array, "B 1 H K"]:
    """Attention of the query at `position`, the newest one in the cache, as `attention.blocked_attention` computes it."""
    b, _, h, k = q_B1HK.shape
    held_BR = held_positions(position_B, cache.k_NRK.shape[1])
    q_NK = q_B1HK.reshape(b * h, k)
    s_NR = jnp.einsum("nk,nrk->nr", q_NK, cache.k_NRK, preferred_element_type=jnp.float32)
    s_BHR = jnp.where((held_BR >= 0)[:, None], s_NR.reshape(b, h, -1) * k**-0.5, MASKED)
    p_NR = jax.nn.softmax(s_BHR, -1).astype(cache.v_NRK.dtype).reshape(s_NR.shape)
    out_NK = jnp.einsum("nr,nrk->nk", p_NR, cache.v_NRK, preferred_element_type=jnp.float32)
    return out_NK.reshape(b, 1, h, k).astype(q_B1HK.dtype)


def at_position(x_BT: Array, position_B: Array) -> Array:
    """`x[b, position[b]]` as rows of one position; zeros where the position is negative."""
    return gather(x_BT, position_B[:, None])


def where_on(on_B: Bool[Array, "B"], new, old):
    """Trees of arrays [B, ...]: the new ones in rows that are on, else the old ones."""
    return jax.tree.map(lambda a, b: jnp.where(on_B.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, old)
