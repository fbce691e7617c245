"""How modules run on their devices: the attention kernel, and the collectives around matrices.

The modules compute on the rows of one device. Where a device holds only parts of the matrices,
`lst_jax.parallel.sharding` says how the parts come together. The default is one device that holds everything.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

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
    # For cached steps, whose rows are smaller than matrices: the results of `product` and `look_up` without a gather
    multiply: Callable[[str, jax.Array, jax.Array, str], jax.Array] | None = None
    pick_rows: Callable[[str, jax.Array, jax.Array], jax.Array] | None = None
    any_row: Callable[[jax.Array], jax.Array] = jnp.any  # whether a flag is set in any row, on any device

    def matrix(self, name: str, stored: jax.Array) -> jax.Array:
        """The matrix of the module `name` as this device computes with it."""
        return stored if self.gather is None else self.gather(name, stored)

    def product(self, name: str, x_ND: jax.Array, stored: jax.Array, dtype: str) -> jax.Array:
        """x · matrix in `dtype`, for the rows of this device and the matrix of the module `name` as stored."""
        if self.multiply is not None:
            return self.multiply(name, x_ND, stored, dtype)
        return jnp.dot(x_ND, self.matrix(name, stored), preferred_element_type=dtype)

    def look_up(self, name: str, stored: jax.Array, token_BT: jax.Array) -> jax.Array:
        """The rows of the embedding `name` for the tokens of this device."""
        if self.pick_rows is not None:
            return self.pick_rows(name, stored, token_BT)
        return self.matrix(name, stored)[token_BT]


ONE_DEVICE = Placement()
