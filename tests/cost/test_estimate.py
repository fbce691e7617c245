"""Time by estimate: cycles and rules, loops, parts and kinds, and what is hidden behind what."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hlo_text import program
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lst_jax.cost import hlo, topology
from lst_jax.cost.accelerators import registry
from lst_jax.cost.collectives import total_seconds
from lst_jax.cost.estimate import KERNEL_SHARE, ROW_SEC, Estimate, estimate
from lst_jax.cost.kinds import (
    COPIES,
    CROSS,
    ELEMENTWISE,
    EXPOSED,
    HIDDEN,
    KERNELS,
    LOSS,
    OPTIMIZER,
    PRODUCTS,
    ROWS,
    part_of,
)
from lst_jax.cost.links import mesh_bandwidth
from lst_jax.cost.program import program_costs

V5P = registry.tpu("v5p")
HZ, HBM = V5P.estimated_cycles_per_sec, V5P.device_hbm_bytes_per_sec
STEP = (Path(__file__).parent / "hlo" / "estimate.hlo").read_text()
MATRIX = 512 * 512 * 2  # bytes
WIRE = 1e12  # bytes per second
REDUCED = 2 * 3 / 4 * MATRIX / WIRE  # seconds of an all-reduce over four devices


def estimated(text=STEP, wire=WIRE):
    return estimate(program(text), V5P, {"data": 4}, lambda axes: wire)


def test_each_part_costs_the_cycles_that_the_compiler_estimates_times_the_trips_of_its_loop():
    found = estimated().by_part
    assert found["global transformer", PRODUCTS] == pytest.approx(5 * 700 / HZ)
    assert found["global transformer", COPIES] == pytest.approx(5 * 300 / HZ)  # without a path: of the loop's part
    assert found["patch decoder", CROSS] == pytest.approx(50 / HZ)
    assert found["loss", LOSS] == pytest.approx(40 / HZ)  # not of the decoder, whose output it uses
    assert found["optimizer", OPTIMIZER] == pytest.approx(600 / HZ)


def test_rows_that_are_gathered_cost_their_bytes_and_a_time_each():
    read, written, indices = 100 * 512 * 2, 100 * 512 * 2, 100 * 4
    assert estimated().by_part["patch encoder", ROWS] == pytest.approx((read + written + indices) / HBM + 100 * ROW_SEC)


def test_a_kernel_costs_the_larger_of_its_arithmetic_and_its_bytes():
    by_bytes = 2 * MATRIX / HBM
    assert estimated().by_part["patch decoder", KERNELS] == pytest.approx(by_bytes)
    more = estimated(STEP.replace('"flops":"6000000"', '"flops":"6000000000"'))
    assert more.by_part["patch decoder", KERNELS] == pytest.approx(6e9 / (KERNEL_SHARE * V5P.flops_per_sec)) != by_bytes


def test_a_kernel_of_which_nothing_is_known_is_named():
    assert estimated().uncounted_kernels == ()
    assert estimated(STEP.replace('"flops":"6000000",', "")).uncounted_kernels == ("told",)


def test_what_has_no_estimate_costs_its_bytes():
    without = estimated(STEP.replace('{"window_config":{"estimated_cycles":"40"}}', "{}"))
    assert without.by_part["loss", LOSS] == pytest.approx(2 * MATRIX / HBM)


def test_a_collective_is_hidden_by_what_is_computed_while_it_is_under_way():
    found = estimated()
    cover = 600 / HZ
    assert cover < REDUCED  # so that one part of the first is exposed, and all of the second, which nothing covers
    assert found.by_part["optimizer", HIDDEN] == pytest.approx(cover)
    assert found.by_part["optimizer", EXPOSED] == pytest.approx(2 * REDUCED - cover)
    quick = estimated(wire=100 * WIRE)
    assert quick.by_part["optimizer", HIDDEN] == pytest.approx(REDUCED / 100)
    assert quick.by_part["optimizer", EXPOSED] == pytest.approx(REDUCED / 100)


SEND = (
    "(f32[8,8,128]{2,1,0:T(8,128)}, u32[], token[]) send(%x, %after-all), channel_id=5, is_host_transfer=true, "
    'frontend_attributes={_xla_megascale_target="{1,2}x{0:7}",_xla_megascale_transfer_type="ALL_REDUCE"}'
)


def written(name):
    return (Path(__file__).parent / "hlo" / f"{name}.hlo").read_text()


@pytest.mark.parametrize(
    "name, mesh",
    [
        ("steps", {"data": 16}),
        ("asynchronous", {"data": 4, "tensor": 4}),
        ("all_reduce_scatter", {"data": 4, "tensor": 4}),
        ("between_slices", {"replica": 2, "data": 8}),
    ],
)
def test_every_collective_is_hidden_or_exposed_in_each_form_that_the_compiler_writes(name, mesh):
    read = program(written(name))
    found = estimate(read, V5P, mesh, lambda axes: 1e6)  # so slow that nothing hides it
    network = sum(total_seconds(program_costs(read, mesh).collectives, lambda axes: 1e6).values())
    assert found.kind_sec(EXPOSED) + found.kind_sec(HIDDEN) == pytest.approx(network)
    assert network > 0 and found.exposed_sec > 0.9 * network


def test_what_is_received_from_other_slices_ends_all_that_was_sent():
    twice = written("between_slices").replace("  %recv = ", "  %again = " + SEND + "\n  %recv = ")
    mesh = {"replica": 2, "data": 8}
    found, once = (estimate(program(text), V5P, mesh, lambda axes: 1e6) for text in (twice, written("between_slices")))
    assert found.exposed_sec == pytest.approx(2 * once.exposed_sec)


def test_a_collective_in_steps_is_hidden_by_the_fusions_that_its_steps_are_in():
    steps = written("steps").replace(
        "kind=kOutput,", 'kind=kOutput, backend_config={"window_config":{"estimated_cycles":"900"}},'
    )
    found = estimate(program(steps), V5P, {"data": 16}, lambda axes: WIRE)
    gathered = 15 / 16 * 2048 * 2048 * 2 / WIRE
    assert found.kind_sec(HIDDEN) == pytest.approx(900 / HZ)
    assert found.exposed_sec == pytest.approx(gathered - 900 / HZ)


def test_the_step_is_everything_but_what_is_hidden():
    found = estimated()
    assert found.step_sec == pytest.approx(sum(found.by_part.values()) - found.kind_sec(HIDDEN))
    assert found.step_sec == pytest.approx(sum(map(found.part_sec, found.nested())))
    assert list(found.nested())[0] == max(found.nested(), key=found.part_sec)
    useful = found.kind_sec(PRODUCTS) + found.kind_sec(KERNELS)
    assert found.useful_share == pytest.approx(useful / found.step_sec)
    assert Estimate({}).useful_share == 0.0


def prefetched(cycles):
    """A copy into the chip's memory while something of so many cycles is computed."""
    config = f'{{"window_config":{{"estimated_cycles":"{cycles}"}}}}'
    return f"""HloModule step, is_scheduled=true

%swiglu (p: bf16[512,512]) -> bf16[512,512] {{
  %p = bf16[512,512]{{1,0}} parameter(0)
  ROOT %tanh = bf16[512,512]{{1,0}} tanh(%p)
}}

ENTRY %main (x: bf16[512,512], w: bf16[512,512]) -> (bf16[512,512], bf16[512,512]) {{
  %x = bf16[512,512]{{1,0}} parameter(0)
  %w = bf16[512,512]{{1,0}} parameter(1)
  %begun = (bf16[512,512]{{1,0:S(1)}}, bf16[512,512]{{1,0}}, u32[]{{:S(2)}}) copy-start(%w)
  %work = bf16[512,512]{{1,0}} fusion(%x), kind=kLoop, calls=%swiglu, backend_config={config}
  %ended = bf16[512,512]{{1,0:S(1)}} copy-done(%begun)
  ROOT %both = (bf16[512,512]{{1,0}}, bf16[512,512]{{1,0:S(1)}}) tuple(%work, %ended)
}}
"""


def test_a_prefetch_costs_the_time_by_which_it_is_late():
    copied = MATRIX / HBM
    early = estimated(prefetched(10**6)).by_part
    assert early == {("other", ELEMENTWISE): pytest.approx(10**6 / HZ)}
    late = estimated(prefetched(10)).by_part
    assert late["other", COPIES] == pytest.approx(copied - 10 / HZ)


def test_a_program_that_was_compiled_here_has_every_loop_and_product():
    """The CPU compiler estimates nothing, so that bytes stand for cycles; loops multiply all the same."""

    def step(x, w):
        with jax.named_scope("loss"):
            return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, w)[0].sum()

    def of_layers(layers):
        shapes = (64, 256), (layers, 256, 256)
        compiled = jax.jit(step).lower(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)).compile()
        return estimate(hlo.parse(hlo.serialized(compiled)), V5P, {"data": 1}, lambda axes: WIRE)

    few, many = of_layers(2), of_layers(9)
    products = [found.by_part["loss", PRODUCTS] for found in (few, many)]
    assert products[1] == pytest.approx(products[0] * 9 / 2) and products[0] >= 2 * 256 * 256 * 4 / HBM


@pytest.mark.parametrize(
    "path, part",
    [
        ("jit(step)/transpose(jvp(M))/patch_decoder/layers_0/dot_general", "patch decoder"),
        ("jit(step)/jvp(loss)/while/body/patch_decoder/output/dot_general", "loss"),
        ("jit(step)/jvp(global_transformer)/while", "global transformer"),
        ("jit(step)/optimizer/mul", "optimizer"),
        ("jit(step)/loss_fn/mul", None),
        ("", None),
    ],
)
def test_a_path_names_the_part(path, part):
    assert part_of(path) == part


@pytest.mark.parametrize("topology_name", ["v4:2x2x1", "v5e:2x2", "v5p:2x2x1", "v6e:2x2", "tpu7x:2x2x1"])
def test_the_clock_of_a_generation_brings_a_large_product_near_its_peak(topology_name):
    pytest.importorskip("libtpu")
    device = topology.devices(topology_name)[0]
    given = [
        jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=jax.sharding.SingleDeviceSharding(device))
        for shape in ((8192, 4096), (4096, 4096))
    ]
    compiled = jax.jit(jnp.matmul).lower(*given).compile()
    tpu = registry.tpu_of_device(device.device_kind)
    found = estimate(hlo.parse(hlo.serialized(compiled)), tpu, {"data": 1}, lambda axes: WIRE)
    product_sec = found.kind_sec(PRODUCTS)  # beside it there may be a prefetch
    assert 0.88 < 2 * 8192 * 4096**2 / product_sec / tpu.device_flops_per_sec < 1


FUSED = (
    "xla_tpu_enable_async_collective_fusion",
    "xla_tpu_enable_async_collective_fusion_fuse_all_gather",
    "xla_tpu_enable_async_collective_fusion_multiple_steps",
    "xla_tpu_overlap_compute_collective_tc",
    "xla_enable_async_all_gather",
)


def test_gathers_that_the_tpu_compiler_fuses_with_work_are_hidden_in_part():
    """Layers with FSDP on four chips: gathers in steps, and scatters that are waited for."""
    pytest.importorskip("libtpu")
    devices = topology.devices("v6e:2x2")
    mesh = Mesh(np.asarray(devices), ("data",))

    def layer(x, matrices):
        up, down = (jax.lax.all_gather(w, "data", axis=i, tiled=True) for i, w in enumerate(matrices))
        return x + jnp.tanh(x @ up) @ down, None

    def gradient(matrices, x):
        return jax.grad(lambda w: jax.lax.scan(layer, x, w)[0].astype(jnp.float32).sum())(matrices)

    split = ((P(None, "data"), P(None, None, "data")), P("data"))
    shapes = (((5, 2048, 8192), (5, 8192, 2048)), (8192, 2048))
    given = jax.tree.map(
        lambda spec, shape: jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=NamedSharding(mesh, spec)),
        split,
        shapes,
        is_leaf=lambda x: isinstance(x, P),
    )
    function = jax.shard_map(gradient, mesh=mesh, in_specs=split, out_specs=split[0], check_vma=False)
    compiled = jax.jit(function).lower(*given).compile(compiler_options=dict.fromkeys(FUSED, "true"))
    read = hlo.parse(hlo.serialized(compiled))
    wire = mesh_bandwidth(mesh, ("data",))
    found = estimate(read, registry.tpu("v6e"), mesh.shape, lambda axes: wire)
    network = sum(total_seconds(program_costs(read, mesh.shape).collectives, lambda axes: wire).values())
    assert found.kind_sec(EXPOSED) + found.kind_sec(HIDDEN) == pytest.approx(network, rel=0.01)
    assert 0.1 * network < found.kind_sec(HIDDEN) < 0.9 * network
