"""AdamW, as the paper trains with it (§6)."""

from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from lst_jax.config import OptimConfig
from lst_jax.step.optimizers.optimizer import Optimizer


class AdamWNumbers(NamedTuple):
    """Float32 scalars; the fields are those of `OptimConfig`."""

    beta1: Any
    beta2: Any
    eps: Any
    weight_decay: Any


class AdamW(Optimizer):
    """Two moments per parameter. Weight decay falls on every parameter, as in the released code."""

    @classmethod
    def numbers(cls, config: OptimConfig) -> AdamWNumbers:
        """See `Optimizer.numbers`."""
        return AdamWNumbers(*(np.float32(getattr(config, name)) for name in AdamWNumbers._fields))

    def init(self, params: Any) -> optax.ScaleByAdamState:
        """Both moments of every parameter at zero, and the count of updates."""
        return optax.scale_by_adam().init(params)

    def update(self, numbers, rate, grads, state, params) -> tuple[Any, optax.ScaleByAdamState]:
        """See `Optimizer.update`."""
        adam = optax.scale_by_adam(b1=numbers.beta1, b2=numbers.beta2, eps=numbers.eps)
        changes, state = adam.update(grads, state)
        changes, _ = optax.add_decayed_weights(numbers.weight_decay).update(changes, optax.EmptyState(), params)
        return jax.tree.map(lambda p, c: p - rate * c, params, changes), state
