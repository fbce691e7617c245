"""Warm-up, stable, decay: runs of several lengths share all but their decays.

Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations" (arXiv 2405.18392), find
that a decay over a fifth of the steps, in the shape 1 - sqrt, reaches the loss of a cosine of that length.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lst_jax.config import OptimConfig
from lst_jax.core.shapes import Array, Float, Int
from lst_jax.step.schedules.schedule import Schedule


class WsdNumbers(NamedTuple):
    """Float32 scalars; the fields are those of `OptimConfig` and `WsdConfig`, and `steps` of the whole run."""

    peak_lr: Any
    warmup_steps: Any
    final_lr_ratio: Any
    decay_steps: Any
    linear: Any  # 1 for a linear decay, 0 for 1 - sqrt
    steps: Any


class Wsd(Schedule):
    """Linear warm-up, the peak until `decay_steps` before the end, then down to `final_lr_ratio` of the peak."""

    def numbers(self, config: OptimConfig, steps: int) -> WsdNumbers:
        """See `Schedule.numbers`."""
        wsd = config.wsd
        values = (config.peak_lr, config.warmup_steps, config.final_lr_ratio)
        return WsdNumbers(*map(np.float32, (*values, wsd.decay_steps, wsd.decay_shape == "linear", steps)))

    def rate(self, numbers: WsdNumbers, done: Int[Array, ""]) -> Float[Array, ""]:
        """The value at done + 1, so that the first update already moves and the last one has the final rate."""
        at = done.astype(jnp.float32) + 1
        rising = at / jnp.maximum(numbers.warmup_steps, 1)
        into_decay = at - (numbers.steps - numbers.decay_steps)
        progress = jnp.clip(into_decay / jnp.maximum(numbers.decay_steps, 1), 0, 1)
        left = jnp.where(numbers.linear > 0, 1 - progress, 1 - jnp.sqrt(progress))
        falling = numbers.final_lr_ratio + (1 - numbers.final_lr_ratio) * left
        # exactly the peak in the stable part, so that runs of several lengths agree there to the last bit
        after_warmup = jnp.where(into_decay > 0, falling, 1.0)
        return numbers.peak_lr * jnp.where(at < numbers.warmup_steps, rising, after_warmup)

    def describe(self, config: OptimConfig) -> str:
        """See `Schedule.describe`."""
        decay = (
            f"{config.wsd.decay_shape} decay over the last {config.wsd.decay_steps:,} steps to "
            f"{config.final_lr_ratio:g} of it"
        )
        return f"warm-up {config.warmup_steps:,} steps, the peak, " + (decay if config.wsd.decay_steps else "no decay")

    def stable(self, config: OptimConfig, steps: int) -> range:
        """See `Schedule.stable`."""
        return range(config.warmup_steps, steps - config.wsd.decay_steps + 1)
