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


class Cache(NamedTuple):
    """Rotated keys, and values, of one layer in R slots."""

    k_BHRK: Float[Array, "B H R K"]
    v_BHRK: Float[Array, "B H R K"]


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
    return Cache(*(gather(x_BTHK, held_BR).swapaxes(1, 2) for x_BTHK in (k_BTHK, v_BTHK)))


def extend(
    cache: Cache,
    k_B1HK: Float[Array, "B 1 H K"],
    v_B1HK: Float[Array, "B 1 H K"],
    position_B: Int[Array, "B"],
    on_B: Bool[Array, "B"],
) -> Cache:
    """The cache with one position more in rows that are on; other rows stay as they are."""
    slots = cache.k_BHRK.shape[2]
    slot_B = jnp.where(on_B, position_B % slots, slots)  # a slot beyond the last one is dropped
    rows_B = jnp.arange(len(position_B))
    return Cache(
        *(
            old_BHRK.at[rows_B, :, slot_B].set(new_B1HK[:, 0], mode="drop")
            for old_BHRK, new_B1HK in zip(cache, (k_B1HK, v_B1HK), strict=True)
        )
    )


def attend(q_B1HK: Float[Array, "B 1 H K"], cache: Cache, position_B: Int[Array, "B"]) -> Float[Array, "B 1 H K"]:
    """Attention of the query at `position`, the newest one in the cache, as `attention.blocked_attention` computes it."""
    held_BR = held_positions(position_B, cache.k_BHRK.shape[2])
    s_BHR = jnp.einsum("bhk,bhrk->bhr", q_B1HK[:, 0], cache.k_BHRK, preferred_element_type=jnp.float32)
    s_BHR = jnp.where((held_BR >= 0)[:, None], s_BHR * q_B1HK.shape[-1] ** -0.5, MASKED)
    p_BHR = jax.nn.softmax(s_BHR, -1).astype(cache.v_BHRK.dtype)
    out_BHK = jnp.einsum("bhr,bhrk->bhk", p_BHR, cache.v_BHRK, preferred_element_type=jnp.float32)
    return out_BHK[:, None].astype(q_B1HK.dtype)


def at_position(x_BT: Array, position_B: Array) -> Array:
    """`x[b, position[b]]` as rows of one position; zeros where the position is negative."""
    return gather(x_BT, position_B[:, None])


def where_on(on_B: Bool[Array, "B"], new, old):
    """Trees of arrays [B, ...]: the new ones in rows that are on, else the old ones."""
    return jax.tree.map(lambda a, b: jnp.where(on_B.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, old)
