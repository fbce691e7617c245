"""What kernels say of their own FLOPs is in XLA's count of a program, and can be taken out of it."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import SingleDeviceSharding

from lst_jax.cost import hlo, topology
from lst_jax.cost.kernels import kernels_of, stated_flops
from lst_jax.model import kernels


def test_a_program_without_what_its_attention_kernel_states_has_the_flops_of_its_products():
    pytest.importorskip("libtpu")
    here = SingleDeviceSharding(topology.devices("v5p:2x2x1")[0])
    rows, tokens, width, heads = 1, 1024, 512, 4
    x_BTD = jax.ShapeDtypeStruct((rows, tokens, width), jnp.bfloat16, sharding=here)
    w_DD = jax.ShapeDtypeStruct((width, width), jnp.bfloat16, sharding=here)
    doc_BT = jax.ShapeDtypeStruct((rows, tokens), jnp.int32, sharding=here)

    def attend(x_BTD, w_DD, doc_BT):
        x_BTHK = (x_BTD @ w_DD).reshape(rows, tokens, heads, -1)
        return kernels.for_platform("tpu")(x_BTHK, x_BTHK, x_BTHK, doc_BT, 10000.0, None, 256)

    compiled = jax.jit(attend).lower(x_BTD, w_DD, doc_BT).compile()
    program = hlo.parse(hlo.serialized(compiled))
    stated, counted = stated_flops(program), float(compiled.cost_analysis()["flops"])
    assert stated == sum(kernel.flops for kernel in kernels_of(program).values()) > 0
    assert counted - stated == pytest.approx(2 * rows * tokens * width**2, rel=0.05)
