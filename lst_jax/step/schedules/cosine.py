"""Warm-up and cosine decay, as the paper trains with (§6)."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lst_jax.config import OptimConfig
from lst_jax.core.shapes import Array, Float, Int
from lst_jax.step.schedules.schedule import Schedule


class CosineNumbers(NamedTuple):
    """Float32 scalars; the fields are those of `OptimConfig`, and `steps` of the whole run."""

    peak_lr: Any
    warmup_steps: Any
    final_lr_ratio: Any
    steps: Any


class Cosine(Schedule):
    """Linear warm-up from 0 over `warmup_steps`, then cosine to `final_lr_ratio` of the peak at the last step."""

    def numbers(self, config: OptimConfig, steps: int) -> CosineNumbers:
        """See `Schedule.numbers`."""
        return CosineNumbers(*map(np.float32, (config.peak_lr, config.warmup_steps, config.final_lr_ratio, steps)))

    def rate(self, numbers: CosineNumbers, done: Int[Array, ""]) -> Float[Array, ""]:
        """The value at done + 1, so that the first update already moves."""
        at = done.astype(jnp.float32) + 1
        rising = at / jnp.maximum(numbers.warmup_steps, 1)
        progress = jnp.clip((at - numbers.warmup_steps) / jnp.maximum(numbers.steps - numbers.warmup_steps, 1), 0, 1)
        falling = numbers.final_lr_ratio + (1 - numbers.final_lr_ratio) * 0.5 * (1 + jnp.cos(jnp.pi * progress))
        return numbers.peak_lr * jnp.where(at < numbers.warmup_steps, rising, falling)

    def describe(self, config: OptimConfig) -> str:
        """See `Schedule.describe`."""
        return f"warm-up {config.warmup_steps:,} steps, cosine to {config.final_lr_ratio:g} of the peak"
