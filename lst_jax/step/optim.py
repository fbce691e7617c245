"""AdamW, warm-up, cosine and clipping (paper §6); all of their numbers are data of the compiled step.

A learning rate that is tried out, a longer run or another warm-up therefore needs no new compilation.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lst_jax.config import OptimConfig
from lst_jax.core.shapes import Array, Bool, Float, Int

NORM_SPAN = 100  # steps over which the running mean of gradient norms reaches back
SPIKE_AFTER = 20  # norms that must be in the mean before one is called a spike


class Hyper(NamedTuple):
    """The numbers of an update, each a float32 scalar; fields as in `OptimConfig`, and `steps` of the whole run."""

    peak_lr: Any
    warmup_steps: Any
    final_lr_ratio: Any
    beta1: Any
    beta2: Any
    eps: Any
    weight_decay: Any
    clip_norm: Any
    z_loss: Any
    spike_factor: Any
    steps: Any


def hyper_of(config: OptimConfig, steps: int) -> Hyper:
    """The numbers of a configuration, on the host."""
    return Hyper(*(np.float32(getattr(config, name)) for name in Hyper._fields[:-1]), steps=np.float32(steps))


def learning_rate(hyper: Hyper, done: Int[Array, ""]) -> Float[Array, ""]:
    """Linear warm-up from 0 over `warmup_steps`, then cosine to `final_lr_ratio` of the peak at `steps`.

    The update behind `done` others uses the value at done + 1, so the first update already moves.
    """
    at = done.astype(jnp.float32) + 1
    rising = at / jnp.maximum(hyper.warmup_steps, 1)
    progress = jnp.clip((at - hyper.warmup_steps) / jnp.maximum(hyper.steps - hyper.warmup_steps, 1), 0, 1)
    falling = hyper.final_lr_ratio + (1 - hyper.final_lr_ratio) * 0.5 * (1 + jnp.cos(jnp.pi * progress))
    return hyper.peak_lr * jnp.where(at < hyper.warmup_steps, rising, falling)


def init(params: Any) -> optax.ScaleByAdamState:
    """Both moments of every parameter at zero, and the count of updates."""
    return optax.scale_by_adam().init(params)


def update(
    hyper: Hyper, rate: Float[Array, ""], grads: Any, moments: optax.ScaleByAdamState, params: Any
) -> tuple[Any, optax.ScaleByAdamState]:
    """New parameters and moments: clip by global norm, then AdamW with the learning rate `rate`.

    Weight decay falls on every parameter, as in the released code.
    """
    nothing = optax.EmptyState()
    grads, _ = optax.clip_by_global_norm(hyper.clip_norm).update(grads, nothing)
    changes, moments = optax.scale_by_adam(b1=hyper.beta1, b2=hyper.beta2, eps=hyper.eps).update(grads, moments)
    changes, _ = optax.add_decayed_weights(hyper.weight_decay).update(changes, nothing, params)
    return jax.tree.map(lambda p, c: p - rate * c, params, changes), moments


class Watch(NamedTuple):
    """What tells a bad step: the running mean of gradient norms, how many are in it; and the bad steps so far."""

    norm_mean: jax.Array
    norm_count: jax.Array
    skipped: jax.Array


def init_watch() -> Watch:
    """Nothing seen yet."""
    return Watch(jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


def judge(hyper: Hyper, watch: Watch, loss: Float[Array, ""], norm: Float[Array, ""]) -> tuple[Bool[Array, ""], Watch]:
    """Whether an update of this loss and gradient norm is to be applied, and what is known after it.

    A spike enters the mean as the highest norm allowed, so that a lasting rise becomes the new level.
    """
    finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    watching = (hyper.spike_factor > 0) & (watch.norm_count >= SPIKE_AFTER)
    limit = jnp.where(watching, hyper.spike_factor * watch.norm_mean, jnp.inf)
    good = finite & (norm <= limit)
    change = (jnp.minimum(norm, limit) - watch.norm_mean) / jnp.minimum(watch.norm_count + 1, NORM_SPAN)
    return good, Watch(
        watch.norm_mean + jnp.where(finite, change, 0),
        watch.norm_count + finite.astype(jnp.int32),
        watch.skipped + (~good).astype(jnp.int32),
    )
