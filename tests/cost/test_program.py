"""Costs of programs: FLOPs known by hand and XLA's own count, bytes, kernels, loops."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hlo_text import program
from jax.experimental.pallas.ops.tpu import splash_attention

from lst_jax.cost import hlo
from lst_jax.cost.program import Costs, program_costs, valid_positions
from lst_jax.model import kernels

ALONE = {"data": 1}
L, B, D, F = 5, 32, 64, 128
HLO = Path(__file__).parent / "hlo"


def compiled(function, *shapes):
    return jax.jit(function).lower(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)).compile()


def costs(function, *shapes):
    return compiled_costs(compiled(function, *shapes))


def compiled_costs(executable):
    return program_costs(hlo.parse(hlo.serialized(executable)), ALONE)


def layer(x, params):
    return x + jnp.tanh(x @ params[0]) @ params[1], None


def scanned(x, up, down):
    return jax.lax.scan(layer, x, (up, down))[0]


def unrolled(x, up, down):
    for i in range(L):
        x, _ = layer(x, (up[i], down[i]))
    return x


def conditional(x, which):
    return jax.lax.switch(which[0].astype(int), [lambda x: x, lambda x: x @ x @ x, lambda x: x @ x], x)


LAYERS = (B, D), (L, D, F), (L, F, D)
ONE_LAYER = 2 * 2 * B * D * F


def test_a_scan_costs_its_layers():
    assert costs(scanned, *LAYERS).flops == L * ONE_LAYER == costs(unrolled, *LAYERS).flops


def test_loops_within_loops_multiply():
    def twice(x, up, down):
        return jax.lax.scan(lambda x, _: (scanned(x, up, down), None), x, None, length=3)[0]

    assert costs(twice, *LAYERS).flops == 3 * L * ONE_LAYER


def test_a_scanned_step_costs_three_forwards():
    gradient = costs(jax.grad(lambda *args: scanned(*args).sum(), argnums=(0, 1, 2)), *LAYERS)
    assert gradient.flops == 3 * L * ONE_LAYER
    assert not gradient.uncounted_loops


@pytest.mark.parametrize(
    "function, shapes",
    [
        (jax.grad(lambda *args: unrolled(*args).sum(), argnums=(1, 2)), ((256, 256), (L, 256, 1024), (L, 1024, 256))),
        (lambda q, k: jnp.einsum("bhsk,bhrk->bhsr", q, k), ((2, 4, 64, 96), (2, 4, 64, 96))),
        (
            lambda x, w: jax.lax.conv_general_dilated(x, w, (2, 1), ((1, 2), (3, 0)), (2, 3), (1, 2)),
            ((2, 4, 17, 16), (6, 4, 3, 5)),
        ),
        (
            lambda x, w: jax.lax.conv_general_dilated(x, w, (1,), "SAME", feature_group_count=4),
            ((2, 8, 33), (12, 2, 5)),
        ),
    ],
    ids=["layers", "batched", "dilated", "grouped"],
)
def test_a_program_without_loops_costs_what_xla_says(function, shapes):
    executable = compiled(function, *shapes)
    ours, xla = compiled_costs(executable), executable.cost_analysis()
    np.testing.assert_allclose(ours.flops, xla["flops"], rtol=0.01)  # XLA's has also what is no matrix product
    np.testing.assert_allclose(ours.bytes_accessed, xla["bytes accessed"], rtol=0.01)


def test_the_dearest_branch_counts():
    assert costs(conditional, (8, 8), (1,)).flops == 2 * 2 * 8**3


def test_a_loop_that_data_ends_counts_once_and_is_named():
    loop = jax.jit(lambda x, n: jax.lax.fori_loop(0, n, lambda i, x: x @ x, x)).lower(jnp.ones((8, 8)), 3).compile()
    found = compiled_costs(loop)
    assert found.flops == 2 * 8**3 and len(found.uncounted_loops) == 1


def test_a_slice_of_a_stack_is_all_that_is_read_of_it():
    """Each step reads its matrix and writes its row; whole stacks would be L times as much."""
    found = costs(lambda x, stack: jax.lax.scan(lambda x, w: (x * w, x.sum(0)), x, stack), (B, D), (L, B, D))
    touched = L * 4 * B * D  # carried in and out, and the slice
    assert touched * 4 <= found.bytes_accessed <= 3 * touched * 4 < L * touched * 4


def test_of_a_stack_updated_in_place_the_update_is_all_that_is_written():
    def put(stack, x):
        return jax.lax.dynamic_update_slice(stack, jnp.tanh(x)[None], (2, 0, 0))

    given = (jax.ShapeDtypeStruct((L, B, D), jnp.float32), jax.ShapeDtypeStruct((B, D), jnp.float32))
    executable = jax.jit(put, donate_argnums=0).lower(*given).compile()
    assert "fusion" in executable.as_text() and compiled_costs(executable).bytes_accessed == 2 * B * D * 4


def test_bytes_are_those_of_main_memory_with_the_padding_of_tiles():
    """The batched product is read from memory once, its second operand through a copy on the chip."""
    text = (HLO / "dilated.hlo").read_text()
    read, written = (4 * 8 * 256 * 64 + 4 * 8 * 512 * 64) * 2, 4 * 8 * 256 * 512 * 2
    assert program_costs(program(text), ALONE).bytes_accessed == read + written
    padded = text.replace("256", "250")  # in tiles of 8 or 128, 256 again
    assert program_costs(program(padded), ALONE).bytes_accessed == read + written


@pytest.mark.parametrize(
    "name, flops", [("dilated", 2 * 4 * 8 * 256 * 512 * 64), ("heads", 2 * 16 * 5120 * 1280 * 20 * 64)]
)
def test_products_that_the_tpu_writes_as_padded_convolutions_cost_no_padding(name, flops):
    assert program_costs(program((HLO / f"{name}.hlo").read_text()), ALONE).flops == flops


@pytest.mark.parametrize(
    "size, kernel, stride, low, high, dilation, kernel_dilation",
    [
        (1, 20, 1, 19, 19, 1, 1),
        (4, 4, 3, 0, 0, 4, 1),
        (17, 5, 1, 2, 0, 1, 1),
        (17, 3, 2, 1, 2, 1, 1),
        (9, 4, 1, 3, 2, 2, 2),
        (16, 16, 1, 0, 0, 1, 1),
    ],
)
def test_valid_positions_are_those_where_ones_meet_ones(size, kernel, stride, low, high, dilation, kernel_dilation):
    met = jax.lax.conv_general_dilated(
        jnp.ones((1, 1, size)), jnp.ones((1, 1, kernel)), (stride,), ((low, high),), (dilation,), (kernel_dilation,)
    )
    assert valid_positions(size, kernel, met.shape[-1], stride, low, dilation, kernel_dilation) == met.sum()


def splash_pairs(length, window):
    """Tiles of scores that the kernel computes, and the grid it is given, from the kernel's own mask."""
    tile = kernels.SPLASH_TILE
    mask = (
        splash_attention.CausalMask((length, length))
        if window is None
        else splash_attention.LocalMask((length, length), (window - 1, 0), 0)
    )
    sizes = splash_attention.BlockSizes(
        block_q=tile,
        block_kv=tile,
        block_kv_compute=tile,
        block_q_dkv=tile,
        block_kv_dkv=tile,
        block_kv_dkv_compute=tile,
        use_fused_bwd_kernel=True,
    )
    kernel = splash_attention.make_splash_mha(
        splash_attention.MultiHeadMask([mask]), block_sizes=sizes, head_shards=1, q_seq_shards=1
    )
    forward, backward = (
        int((np.asarray(info.block_mask) != 0).sum()) for info in (kernel.fwd_mask_info, kernel.dkv_mask_info)
    )
    assert forward == backward
    assert kernel.dkv_mask_info.block_mask.shape[1:] == (length // tile, length // tile)
    return forward, kernel.fwd_mask_info.block_mask.shape


@pytest.mark.parametrize("length, window", [(4096, None), (5120, 512), (5120, 513), (2048, 1), (2048, 2000), (512, 64)])
def test_splash_attention_costs_the_tiles_that_its_mask_leaves(length, window):
    pairs, grid = splash_pairs(length, window)
    text = (HLO / "splash.hlo").read_text()
    for name, size in (("ROWS", grid[1]), ("MOST", grid[2]), ("LENGTH", length)):
        text = text.replace(name, str(size))
    found = program_costs(program(text), ALONE)
    product = 2 * 3 * 16 * pairs * kernels.SPLASH_TILE**2 * 64  # of 3 rows, 16 heads of width 64
    assert {k.name: (k.flops, k.count) for k in found.kernels} == {
        "splash_mha_fwd_segmented_residuals": (2 * product, 9),
        "splash_mha_dkv_segmented_no_residuals": (5 * product, 9),
        "unknown": (None, 9),
        "told": (1000, 9),
    }
    assert found.kernel_flops == 9 * (7 * product + 1000) and found.flops == 0


EIGHT_BITS = """%products (a: s8[32,64], b: s8[64,128], c: f8e4m3fn[8,16], d: f8e4m3fn[16,4]) -> (s32[32,128], f32[8,4]) {
  %a = s8[32,64] parameter(0)
  %b = s8[64,128] parameter(1)
  %c = f8e4m3fn[8,16] parameter(2)
  %d = f8e4m3fn[16,4] parameter(3)
  %int8 = s32[32,128] dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %fp8 = f32[8,4] dot(%c, %d), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %both = (s32[32,128], f32[8,4]) tuple(%int8, %fp8)
}

ENTRY %main (a: s8[32,64], b: s8[64,128], c: f8e4m3fn[8,16], d: f8e4m3fn[16,4], e: bf16[4,4]) -> bf16[4,4] {
  %a = s8[32,64] parameter(0)
  %b = s8[64,128] parameter(1)
  %c = f8e4m3fn[8,16] parameter(2)
  %d = f8e4m3fn[16,4] parameter(3)
  %e = bf16[4,4] parameter(4)
  %f = (s32[32,128], f32[8,4]) fusion(%a, %b, %c, %d), kind=kOutput, calls=%products
  ROOT %plain = bf16[4,4] dot(%e, %e), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
"""


def test_products_in_8_bits_are_counted_apart_too():
    found = program_costs(program(EIGHT_BITS), ALONE)
    assert (found.int8_flops, found.fp8_flops) == (2 * 32 * 64 * 128, 2 * 8 * 16 * 4)
    assert found.flops == found.int8_flops + found.fp8_flops + 2 * 4**3


def test_costs_add_up():
    one = Costs(flops=2.0, bytes_accessed=3.0, uncounted_loops=("while.1",), int8_flops=1.5, fp8_flops=0.5)
    assert (one + one).times(3) == Costs(
        12.0, 18.0, uncounted_loops=("while.1", "while.1"), int8_flops=9.0, fp8_flops=3.0
    )
