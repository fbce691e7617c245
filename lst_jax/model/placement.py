"""How modules run on their devices: the attention kernel, and the collectives around matrices.

The modules compute on the rows of one device. Where a device holds only parts of the matrices,
`lst_jax.parallel.sharding` says how the parts come together. The default is one device that holds everything.
"""

import dataclasses
from collections.abc import Callable

import jax

from lst_jax.model import kernels


def _unchanged(x: jax.Array) -> jax.Array:
    return x


@dataclasses.dataclass(frozen=True)
class Placement:
    """The kernel of self-attention, and the collectives around matrices that are stored or computed in parts."""

    attend: kernels.SelfAttention = kernels.blocked
    # (name of the module, its matrix as stored) -> the matrix as this device computes with it
    gather: Callable[[str, jax.Array], jax.Array] | None = None
    # applied to the inputs of matrices whose columns are split over devices, and to the outputs of those whose rows are
    enter: Callable[[jax.Array], jax.Array] = _unchanged
    leave: Callable[[jax.Array], jax.Array] = _unchanged
    branched: bool = False  # rows may hold documents that branch; `attend` is then `model.branches.attend`

    def matrix(self, name: str, stored: jax.Array) -> jax.Array:
        """The matrix of the module `name` as this device computes with it."""
        return stored if self.gather is None else self.gather(name, stored)


ONE_DEVICE = Placement()
