"""Collectives found in programs: layers sharded by hand, and the forms that only the TPU compiler writes."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hlo_text import program
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lst_jax.cost import collectives, hlo
from lst_jax.cost.collectives import Collective
from lst_jax.cost.program import program_costs

AXES = ("replica", "data", "tensor")
LAYERS, ROWS, D, F = 5, 16, 64, 128
SHAPE = {"replica": 2, "data": 2, "tensor": 2}


def sharded_layers(shape):
    """The mesh and the compiled gradient of scanned layers, with FSDP along D and F split over tensor."""
    mesh = Mesh(np.asarray(jax.devices()).reshape(shape), AXES)
    specs = (P(None, "data", "tensor"), P(None, "tensor", "data"))

    def layer(x, params):
        up = jax.lax.all_gather(params[0], "data", axis=0, tiled=True)
        down = jax.lax.all_gather(params[1], "data", axis=1, tiled=True)
        return x + jax.lax.psum(jnp.tanh(x @ up) @ down, "tensor"), None

    def gradient(params, x):
        grads = jax.grad(lambda params: jax.lax.scan(layer, x, params)[0].sum())(params)
        return jax.tree.map(lambda g: jax.lax.psum(g, "replica"), grads)

    rows = P(("replica", "data"))
    function = jax.shard_map(gradient, mesh=mesh, in_specs=(specs, rows), out_specs=specs, check_vma=False)
    given = [
        jax.ShapeDtypeStruct(size, jnp.float32, sharding=NamedSharding(mesh, spec))
        for size, spec in (((LAYERS, D, F), specs[0]), ((LAYERS, F, D), specs[1]), ((ROWS, D), rows))
    ]
    return mesh, jax.jit(function).lower(tuple(given[:2]), given[2]).compile()


def costs_of(executable, mesh):
    return program_costs(hlo.parse(hlo.serialized(executable)), mesh.shape)


@pytest.mark.parametrize("shape", [(1, 8, 1), (2, 2, 2)])
def test_a_layer_sharded_by_hand_has_the_collectives_that_were_written(shape):
    mesh, executable = sharded_layers(shape)
    replica, data, tensor = shape
    found = collectives.totals(costs_of(executable, mesh).collectives)
    matrices = 2 * LAYERS * D * F // tensor * 4  # bytes of both matrices of all layers, gathered
    expected = {
        ("all-gather", ("data",)): [matrices, 2 * matrices],  # the backward pass may keep or gather them again
        ("reduce-scatter", ("data",)): [matrices],
    }
    if tensor > 1:  # one sum a layer forward, and its transposed one backward
        activations = LAYERS * ROWS // (replica * data) * D * 4
        expected["all-reduce", ("tensor",)] = [activations, 2 * activations]
    if replica > 1:
        expected["all-reduce", ("replica",)] = [matrices // data]
    real = {key: size for key, size in found.items() if size > 1000}
    assert real.keys() == expected.keys()
    assert all(real[key] in sizes for key, sizes in expected.items())


def test_each_collective_is_found_with_its_group():
    mesh = Mesh(np.asarray(jax.devices()).reshape(2, 2, 2), AXES)

    def function(x):
        x = jax.lax.ppermute(x, "tensor", [(0, 1), (1, 0)])
        x = jax.lax.all_to_all(x, ("replica", "tensor"), 0, 1, tiled=True)
        return jax.lax.psum_scatter(x, ("replica", "data"), scatter_dimension=0, tiled=True)

    given = jax.ShapeDtypeStruct((64, 32), jnp.float32, sharding=NamedSharding(mesh, P("data")))
    executable = (
        jax.jit(
            jax.shard_map(function, mesh=mesh, in_specs=P("data"), out_specs=P(("replica", "data")), check_vma=False)
        )
        .lower(given)
        .compile()
    )
    part = 32 * 32 * 4
    assert set(costs_of(executable, mesh).collectives) == {
        Collective("collective-permute", ("tensor",), 2, 2 * part, 1),
        Collective("all-to-all", ("replica", "tensor"), 4, 4 * part, 1),
        Collective("reduce-scatter", ("replica", "data"), 4, part, 1),
    }


@pytest.mark.parametrize(
    "text, expected",
    [
        ("replica_groups={{0,1},{2,3}}, use_global_device_ids=true", [[0, 1], [2, 3]]),
        ("replica_groups={}", [[0, 1, 2, 3]]),
        ("replica_groups=[2,2]<=[4]", [[0, 1], [2, 3]]),
        ("replica_groups=[2,2]<=[2,2]T(1,0)", [[0, 2], [1, 3]]),
        ("replica_groups=[4,2]<=[2,2,2]T(0,2,1)", [[0, 2], [1, 3], [4, 6], [5, 7]]),
        ("replica_groups=mesh['axis_0'=4] {'axis_0'}, use_global_device_ids=true", [[0, 1, 2, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2] {'a'}", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2] {'b','a'}", [[0, 2, 1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=4] {'b':(1)2}", [[0, 2], [1, 3], [4, 6], [5, 7]]),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'b'}", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=(3,1,2,0) {'b'}", [[3, 1], [2, 0]]),
    ],
)
def test_groups_are_read_in_every_form(text, expected):
    assert sorted(groups_of(f"all-reduce(%x), channel_id=1, {text}, to_apply=%add")) == sorted(expected)


@pytest.mark.parametrize(
    "pairs, expected",
    [("{{0,1},{1,0},{2,3},{3,2}}", [[0, 1], [2, 3]]), ("{{1,2},{0,1}}", [[0, 1, 2]])],
)
def test_a_permutation_groups_those_that_send_to_each_other(pairs, expected):
    assert sorted(groups_of(f"collective-permute(%x), channel_id=1, source_target_pairs={pairs}")) == expected


def groups_of(instruction):
    """The groups of an instruction of a program of four devices."""
    text = (
        "ENTRY %main (x: f32[8]) -> f32[8] {\n  %x = f32[8]{0} parameter(0)\n  ROOT %y = f32[8]{0} "
        + instruction
        + "\n}"
    )
    return collectives.groups(program(text).computations["main"].root.message, 4)


@pytest.mark.parametrize(
    "groups, axes",
    [
        ([[0, 1], [2, 3], [4, 5], [6, 7]], ("tensor",)),
        ([[0, 2], [1, 3]], ("data",)),
        ([[0, 4]], ("replica",)),
        ([[0, 1, 4, 5]], ("replica", "tensor")),
        ([[0, 3]], ("data", "tensor")),
        ([[0], [1]], ()),
    ],
)
def test_axes_are_those_along_which_a_group_differs(groups, axes):
    assert collectives.spanned_axes(groups, SHAPE) == axes


FOUR = {"data": 4, "tensor": 4}


def written(name):
    """A program as the TPU compiler writes it; of the attributes only those that are read were kept."""
    return program((Path(__file__).parent / "hlo" / f"{name}.hlo").read_text())


@pytest.mark.parametrize(
    "name, shape, expected",
    [
        ("steps", {"data": 16, "tensor": 1}, [Collective("all-gather", ("data",), 16, 2048 * 2048 * 2, 1)]),
        ("all_reduce_scatter", FOUR, [Collective("reduce-scatter", ("data",), 4, 4096 * 4096 * 2, 1)]),
        (
            "asynchronous",
            FOUR,
            [
                Collective("all-gather", ("data",), 4, 512, 1),
                Collective("all-reduce", ("data", "tensor"), 16, 32, 1),
                Collective("collective-permute", ("tensor",), 2, 64, 1),
            ],
        ),
        ("between_slices", {"replica": 2, "data": 8}, [Collective("all-reduce", ("replica",), 2, 32768, 1)]),
    ],
)
def test_what_only_the_tpu_compiler_writes_is_counted_once(name, shape, expected):
    assert list(program_costs(written(name), shape).collectives) == expected


def test_a_collective_in_steps_reads_its_part_and_writes_the_whole_once():
    part, whole, work = 128 * 2048 * 2, 2048 * 2048 * 2, 2 * 8 * 4
    assert program_costs(written("steps"), {"data": 16}).bytes_accessed == part + whole + work


def test_a_fused_reduce_scatter_reads_the_whole_and_writes_its_part():
    assert program_costs(written("all_reduce_scatter"), FOUR).bytes_accessed == 4096 * 4096 * 2 + 1024 * 4096 * 2


@pytest.mark.parametrize(
    "kind, times", [("all-gather", 1), ("reduce-scatter", 1), ("all-reduce", 2), ("all-to-all", 1 / 4)]
)
def test_seconds_are_those_of_parts_going_around_a_ring(kind, times):
    n, bandwidth, part = 8, 2.0, 6
    gather = sum(part / bandwidth for _ in range(n - 1))  # each step, a device passes on one part that is not its own
    assert collectives.seconds(Collective(kind, ("data",), n, n * part, 1), bandwidth) == times * gather


def test_a_permutation_sends_each_part_once():
    assert collectives.seconds(Collective("collective-permute", ("data",), 8, 48, 1), 2.0) == 3


def test_seconds_of_a_step_add_up_by_kind_and_axes():
    found = [
        Collective("all-gather", ("data",), 2, 100, 3),
        Collective("all-gather", ("data",), 2, 50, 1),
        Collective("all-reduce", ("replica",), 4, 400, 2),
    ]
    assert collectives.totals(found) == {("all-reduce", ("replica",)): 800, ("all-gather", ("data",)): 350}
    speeds = {("data",): 10.0, ("replica",): 1.0}
    assert collectives.total_seconds(found, speeds.__getitem__) == {
        ("all-gather", ("data",)): 350 / 2 / 10,
        ("all-reduce", ("replica",)): 2 * 800 * 3 / 4,
    }
