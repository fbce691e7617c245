"""What a module leaves to the devices that it runs on.

The modules compute on the rows of one device. Where it holds only parts of the matrices, `lst_jax.parallel.sharding` says how
they come together; the default is one device that holds everything.
"""

import dataclasses
from collections.abc import Callable

import jax

from lst_jax.model import kernels


def _as_it_is(x: jax.Array) -> jax.Array:
    return x


@dataclasses.dataclass(frozen=True)
class Placement:
    """The kernel of self-attention, and the collectives around matrices that are stored or computed in parts."""

    attend: kernels.SelfAttention = kernels.blocked
    # (module's name, its matrix as stored) -> the matrix as this device computes with it
    gather: Callable[[str, jax.Array], jax.Array] | None = None
    # what enters matrices whose columns are computed in parts, and what leaves those whose rows are
    enter: Callable[[jax.Array], jax.Array] = _as_it_is
    leave: Callable[[jax.Array], jax.Array] = _as_it_is
    branched: bool = False  # rows may hold documents that branch; `attend` is then that of `model.branches`

    def matrix(self, name: str, stored: jax.Array) -> jax.Array:
        """The matrix of the module `name` as this device computes with it."""
        return stored if self.gather is None else self.gather(name, stored)


ONE_DEVICE = Placement()
