"""Rotary position embedding, as one function for every platform; `flat_attention` has its own inside its kernels."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from lst_jax.config import ModelConfig, StackConfig
from lst_jax.core.shapes import Array, Float, Int, ndarray


class Scaled(NamedTuple):
    """An angle base with the scaling of `lst_jax.config.RopeScalingConfig`."""

    theta: float
    factor: float
    low_turns: float
    high_turns: float
    positions: int


Theta = float | Scaled | None  # what kernels take to rotate by; None = no rotation


def theta_of(config: ModelConfig, stack: StackConfig) -> Theta:
    """The rotation of a stack."""
    scaling = stack.rope_scaling
    if scaling.factor == 1:
        return config.rope_theta
    return Scaled(config.rope_theta, scaling.factor, scaling.low_turns, scaling.high_turns, scaling.positions)


def frequencies(theta: Theta, width: int) -> Float[ndarray, "P"]:
    """Radians per position of each pair of a head: theta^(-2i/K), scaled as Llama 3.1 does (P = K/2, float64).

    Without a rotation they are 0.
    """
    if theta is None:
        return np.zeros(width // 2)
    base, scaling = (theta.theta, theta) if isinstance(theta, Scaled) else (theta, None)
    plain_P = base ** (-np.arange(0, width, 2) / width)
    if scaling is None:
        return plain_P
    turns_P = scaling.positions * plain_P / (2 * np.pi)
    kept_P = np.clip((turns_P - scaling.low_turns) / (scaling.high_turns - scaling.low_turns), 0, 1)
    return plain_P * (kept_P + (1 - kept_P) / scaling.factor)


def rope(
    x_BTHK: Float[Array, "B T H K"], theta: Theta, position: Int[Array, "*B T"] | None = None
) -> Float[Array, "B T H K"]:
    """Rotates the adjacent pairs (2i, 2i+1) of position t by t·`frequencies` (Su et al., arXiv 2104.09864).

    `position` None means positions in the row. Scores depend only on differences of positions, so documents need not
    begin at 0. A product with a constant matrix of 0 and ±1 swaps the pairs: it is exact, and faster than strided access
    on every platform.
    """
    if theta is None:
        return x_BTHK
    t, k = x_BTHK.shape[1], x_BTHK.shape[3]
    frequency_K = np.repeat(frequencies(theta, k), 2)
    position = jnp.arange(t) if position is None else position
    angle_T1K = position.astype(jnp.float32)[..., None, None] * frequency_K.astype(np.float32)
    swap_KK = np.kron(np.eye(k // 2), [[0, 1], [-1, 0]])  # (x0, x1) -> (-x1, x0)
    swapped_BTHK = jnp.dot(x_BTHK, jnp.asarray(swap_KK, x_BTHK.dtype), precision="highest")
    return (x_BTHK * jnp.cos(angle_T1K) + swapped_BTHK * jnp.sin(angle_T1K)).astype(x_BTHK.dtype)
