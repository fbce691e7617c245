"""Which updates are not applied: those whose loss or gradients are not finite, or whose gradient norm is a spike."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lst_jax.core.shapes import Array, Bool, Float

NORM_SPAN = 100  # steps over which the running mean of gradient norms reaches back
SPIKE_AFTER = 20  # norms that must be in the mean before one is called a spike


class Watch(NamedTuple):
    """The running mean of gradient norms, the number of norms in it, and the bad steps so far."""

    norm_mean: jax.Array
    norm_count: jax.Array
    skipped: jax.Array


def init_watch() -> Watch:
    """The watch before the first step."""
    return Watch(jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


def judge(
    spike_factor: Any, watch: Watch, loss: Float[Array, ""], norm: Float[Array, ""]
) -> tuple[Bool[Array, ""], Watch]:
    """Whether an update of this loss and gradient norm is applied, and the watch after it.

    A norm over `spike_factor` times the running mean is a spike; 0 = never. A spike enters the mean as the highest
    norm allowed, so that a lasting rise becomes the new level.
    """
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    watching = (spike_factor > 0) & (watch.norm_count >= SPIKE_AFTER)
    limit = jnp.where(watching, spike_factor * watch.norm_mean, jnp.inf)
    good = finite & (norm <= limit)
    change = (jnp.minimum(norm, limit) - watch.norm_mean) / jnp.minimum(watch.norm_count + 1, NORM_SPAN)
    return good, Watch(
        watch.norm_mean + jnp.where(finite, change, 0),
        watch.norm_count + finite.astype(jnp.int32),
        watch.skipped + (~good).astype(jnp.int32),
    )
