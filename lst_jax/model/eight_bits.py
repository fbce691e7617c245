"""Matrix products of operands in 8 bits, for the layers of a training step (`train.matmul`).

Each row of x and each column of the matrix is scaled by its own largest value, and rounded to the nearest of 8 bits:

    x · W  =  round(x / a) · round(W / b) · a b        a = max|row of x| / MAX, b = max|column of W| / MAX

The product is summed in int32 or float32. Two of a layer's three products are made so: the forward one, and the gradient
of x. The gradient of the matrix stays in the compute dtype. Its sum runs over all tokens of a device, where rounding
costs most: SwitchBack (arXiv 2304.13013, §2) does so in int8, and torchao's recipe `rowwise_with_gw_hp` in float8.

Scales depend on the operands alone, so neither parameters nor checkpoints know of them. Rounding is to the nearest: it
needs no random numbers, and a resumed run repeats its steps to the bit.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from lst_jax.core.shapes import Array, Float

PRODUCT = "product"  # the name of a result for remat policies: the sums that it comes from have twice its bytes


class EightBits(NamedTuple):
    """A type of operands: its largest value, and the type in which products are summed."""

    dtype: Any
    largest: float
    sum_dtype: Any


# train.matmul -> its type. One fp8 type serves all operands: with scales of rows and columns, gradients need no wider
# range (torchao's row-wise recipes take e4m3 for them too).
TYPES = {
    "int8": EightBits(jnp.int8, 127.0, jnp.int32),
    "fp8": EightBits(jnp.float8_e4m3fn, float(jnp.finfo(jnp.float8_e4m3fn).max), jnp.float32),
}


Largest = Callable[[jax.Array], jax.Array]


class Parts(NamedTuple):
    """How the largest value of a row or column is found from those of its parts on several devices; None = it is whole.

    inputs: over the parts of D, the inputs of the matrix. outputs: over those of F, its outputs.
    """

    inputs: Largest | None = None
    outputs: Largest | None = None


WHOLE = Parts()


class Scaled(NamedTuple):
    """An array in 8 bits, and the scales that its values are multiples of."""

    values: Array
    scale: Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def product(
    x_ND: Float[Array, "N D"], matrix_DF: Float[Array, "D F"], dtype: str, name: str, parts: Parts = WHOLE
) -> Float[Array, "N F"]:
    """x · matrix in `dtype`, from operands in the 8 bits of `TYPES[name]`.

    The gradient of x is that of the rounded matrix. Rounding itself counts as the identity.
    """
    return _forward(x_ND, matrix_DF, dtype, name, parts)[0]


def _forward(x_ND, matrix_DF, dtype, name, parts):
    x, matrix = scaled(x_ND, 1, name, parts.inputs), scaled(matrix_DF, 0, name, parts.inputs)
    sum_NF = jax.lax.dot(x.values, matrix.values, preferred_element_type=TYPES[name].sum_dtype)
    out_NF = (sum_NF.astype(jnp.float32) * x.scale * matrix.scale).astype(dtype)
    return checkpoint_name(out_NF, PRODUCT), (x_ND, matrix)


def _backward(dtype, name, parts, kept, change_NF):
    x_ND, matrix = kept
    change = scaled(change_NF.astype(jnp.float32) * matrix.scale, 1, name, parts.outputs)
    of_x_ND = _over(1, change.values, matrix.values, TYPES[name].sum_dtype).astype(jnp.float32) * change.scale
    of_matrix_DF = _over(0, x_ND, change_NF.astype(x_ND.dtype), x_ND.dtype)
    return of_x_ND.astype(x_ND.dtype), of_matrix_DF


product.defvjp(_forward, _backward)


def scaled(x: Float[Array, "..."], axis: int, name: str, of_parts: Largest | None = None) -> Scaled:
    """`x` in the 8 bits of `TYPES[name]`, with one float32 scale for all values along `axis`.

    A value that is not finite makes its scale so, and with it all that the row or column is multiplied into.
    """
    kind = TYPES[name]
    x = x.astype(jnp.float32)
    largest = jnp.max(jnp.abs(x), axis, keepdims=True)
    if of_parts is not None:
        largest = of_parts(largest)
    # A row of zeros has a scale too. It is a normal float32, as devices take smaller ones for 0
    scale = jnp.maximum(largest / kind.largest, jnp.finfo(jnp.float32).tiny)
    values = x * (1 / scale)
    if jnp.issubdtype(kind.dtype, jnp.integer):
        values = jnp.round(values)
    return Scaled(values.astype(kind.dtype), scale)


def _over(axis: int, a: jax.Array, b: jax.Array, dtype: Any) -> jax.Array:
    """The product that sums over the same axis of both matrices."""
    return jax.lax.dot_general(a, b, (((axis,), (axis,)), ((), ())), preferred_element_type=dtype)
