"""What training asks of an optimizer. CONTRIBUTING shows how to add one."""

import abc
from typing import Any

import jax
from jax.sharding import Mesh

from lst_jax.config import OptimConfig
from lst_jax.core.shapes import Array, Float
from lst_jax.parallel import sharding


class Optimizer(abc.ABC):
    """Turns gradients into new parameters; its state is a tree of arrays that checkpoints store.

    Training clips the gradients and computes the learning rate before it calls `update`.
    """

    def __init__(self, config: OptimConfig, mesh: Mesh):
        """`config` may decide the shape of the computation; values that it holds go through `numbers` instead."""
        self.config, self.mesh = config, mesh

    @classmethod
    @abc.abstractmethod
    def numbers(cls, config: OptimConfig) -> Any:
        """The numbers of an update as a tree of float32 scalars on the host.

        They are arguments of the compiled step, so that another value needs no new compilation.
        """

    @abc.abstractmethod
    def init(self, params: Any) -> Any:
        """The state before the first update."""

    @abc.abstractmethod
    def update(self, numbers: Any, rate: Float[Array, ""], grads: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """New parameters and new state. All arrays are global; `rate` is the learning rate of this update."""

    def state_sharding(self, state: Any, memory_kind: str | None = None) -> Any:
        """The sharding of each array of a state, whose shapes are given.

        By default an array that lies under a parameter's path is split as that parameter is. It lies in the memory
        named; scalars stay on the devices.
        """
        replicated = sharding.replicated(self.mesh)
        split = sharding.parameter_shardings(self.mesh, state, memory_kind)
        return jax.tree.map(lambda x, s: s if x.shape else replicated, state, split)

    def state_bytes(self, params: Any) -> int:
        """Bytes of the whole state for parameters of these shapes."""
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(jax.eval_shape(self.init, params)))
