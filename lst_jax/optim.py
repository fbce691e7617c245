"""AdamW, warm-up, cosine and clipping (paper §6); all of their numbers are data of the compiled step.

A learning rate that is tried out, a longer run or another warm-up therefore needs no new compilation.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lst_jax.config import OptimConfig
from lst_jax.shapes import Array, Float, Int


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


def update(hyper: Hyper, rate: Float[Array, ""], grads: Any, moments: optax.ScaleByAdamState,
           params: Any) -> tuple[Any, optax.ScaleByAdamState]:
    """New parameters and moments: clip by global norm, then AdamW with the learning rate `rate`.

    Weight decay falls on every parameter, as in the released code.
    """
    nothing = optax.EmptyState()
    grads, _ = optax.clip_by_global_norm(hyper.clip_norm).update(grads, nothing)
    changes, moments = optax.scale_by_adam(b1=hyper.beta1, b2=hyper.beta2, eps=hyper.eps).update(grads, moments)
    changes, _ = optax.add_decayed_weights(hyper.weight_decay).update(changes, nothing, params)
    return jax.tree.map(lambda p, c: p - rate * c, params, changes), moments
