"""How modules run on their devices: the attention kernel, and the collectives around matrices.

The modules compute on the rows of one device. Where a device holds only parts of the matrices,
`lst_jax.parallel.sharding` says how the parts come together. The default is one device that holds everything.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from lst_jax.model import kernels

ROWS_OF_A_TILE = 8


def _unchanged(x: jax.Array) -> jax.Array:
    return x


def product(x_ND: jax.Array, matrix_DF: jax.Array, dtype: str) -> jax.Array:
    """x · matrix in `dtype`. On TPUs a row that is alone is multiplied `among_others`."""
    if len(x_ND) > 1:
        return jnp.dot(x_ND, matrix_DF, preferred_element_type=dtype)
    on_tpu, elsewhere = (functools.partial(function, dtype=dtype) for function in (among_others, _alone))
    return jax.lax.platform_dependent(x_ND, matrix_DF, tpu=on_tpu, default=elsewhere)


def among_others(x_1D: jax.Array, matrix_DF: jax.Array, dtype: str) -> jax.Array:
    """The product of one row, with empty rows beside it.

    The TPU compiler keeps the product of a single row away from the matrix unit. By its estimate it then takes four times
    as long as reading the matrix.
    """
    x_ND = jnp.pad(x_1D, ((0, ROWS_OF_A_TILE - 1), (0, 0)))
    return jnp.dot(x_ND, matrix_DF, preferred_element_type=dtype)[:1]


def _alone(x_1D, matrix_DF, dtype):
    return jnp.dot(x_1D, matrix_DF, preferred_element_type=dtype)


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
    # Another way to x · matrix as stored: of operands in 8 bits or, for cached steps, without a gather
    multiply: Callable[[str, jax.Array, jax.Array, str], jax.Array] | None = None
    # `look_up` for cached steps, whose rows are smaller than the embedding: without a gather
    pick_rows: Callable[[str, jax.Array, jax.Array], jax.Array] | None = None
    any_row: Callable[[jax.Array], jax.Array] = jnp.any  # whether a flag is set in any row, on any device

    def matrix(self, name: str, stored: jax.Array) -> jax.Array:
        """The matrix of the module `name` as this device computes with it."""
        return stored if self.gather is None else self.gather(name, stored)

    def product(self, name: str, x_ND: jax.Array, stored: jax.Array, dtype: str) -> jax.Array:
        """x · matrix in `dtype`, for the rows of this device and the matrix of the module `name` as stored."""
        if self.multiply is not None:
            return self.multiply(name, x_ND, stored, dtype)
        return product(x_ND, self.matrix(name, stored), dtype)

    def look_up(self, name: str, stored: jax.Array, token_BT: jax.Array) -> jax.Array:
        """The rows of the embedding `name` for the tokens of this device."""
        if self.pick_rows is not None:
            return self.pick_rows(name, stored, token_BT)
        return self.matrix(name, stored)[token_BT]


ONE_DEVICE = Placement()
