"""What training asks of a learning-rate schedule. CONTRIBUTING shows how to add one."""

import abc
from typing import Any

from lst_jax.config import OptimConfig
from lst_jax.core.shapes import Array, Float, Int


class Schedule(abc.ABC):
    """The learning rate of every update of a run; it has no state but the number of updates done."""

    @abc.abstractmethod
    def numbers(self, config: OptimConfig, steps: int) -> Any:
        """The schedule of a run of `steps` updates as a tree of float32 scalars, arguments of the compiled step."""

    @abc.abstractmethod
    def rate(self, numbers: Any, done: Int[Array, ""]) -> Float[Array, ""]:
        """The learning rate of the update behind `done` others."""

    @abc.abstractmethod
    def describe(self, config: OptimConfig) -> str:
        """The schedule in words, for people. Example: "warm-up 30 steps, cosine to 0.01 of the peak"."""

    def stable(self, config: OptimConfig, steps: int) -> range:
        """The counts of updates done at which the rate has stayed at its peak since the warm-up.

        Checkpoints at these counts are the ones that another run may begin its decay from (`train.branch_from`).
        """
        return range(0)
