"""Rotary position embedding, as one function for every platform; `flat_attention` has its own inside its kernels."""

import jax.numpy as jnp
import numpy as np

from lst_jax.core.shapes import Array, Float, Int


def rope(
    x_BTHK: Float[Array, "B T H K"], theta: float, position: Int[Array, "*B T"] | None = None
) -> Float[Array, "B T H K"]:
    """Rotates the adjacent pairs (2i, 2i+1) of position t by t·theta^(-2i/K) (Su et al., arXiv 2104.09864).

    `position` None means positions in the row. Scores depend only on differences of positions, so documents need not
    begin at 0. A product with a constant matrix of 0 and ±1 swaps the pairs: it is exact, and faster than strided access
    on every platform.
    """
    t, k = x_BTHK.shape[1], x_BTHK.shape[3]
    frequency_K = np.repeat(theta ** (-np.arange(0, k, 2) / k), 2)
    position = jnp.arange(t) if position is None else position
    angle_T1K = position.astype(jnp.float32)[..., None, None] * frequency_K.astype(np.float32)
    swap_KK = np.kron(np.eye(k // 2), [[0, 1], [-1, 0]])  # (x0, x1) -> (-x1, x0)
    swapped_BTHK = jnp.dot(x_BTHK, jnp.asarray(swap_KK, x_BTHK.dtype), precision="highest")
    return (x_BTHK * jnp.cos(angle_T1K) + swapped_BTHK * jnp.sin(angle_T1K)).astype(x_BTHK.dtype)
