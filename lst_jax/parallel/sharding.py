"""The mesh, the one table from dimension letters to mesh axes, and the collectives that follow from it.

    replica   copies of everything but the rows, one per slice: gradients meet over the slow network once per step
    data      rows, and the D of every matrix (FSDP): gathered where it is used, gradients scattered where they are made
    tensor    heads and the feed-forward width; rows are whole on all of its devices

A step runs on each device over its own rows (`shard_map`). Every collective is therefore written here and in
`step.py`, and none is left to be found by the compiler.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lst_jax.config import Config, MeshConfig, mesh_sizes
from lst_jax.model import branches, eight_bits, kernels
from lst_jax.model.placement import Placement, product
from lst_jax.model.stack import GATHERED

REPLICA, DATA, TENSOR = MESH_AXES = ("replica", "data", "tensor")
ROW_AXES = (REPLICA, DATA)
# dimension letter -> mesh axes that split it; a letter that is not here is whole on every device
AXES = {"B": ROW_AXES, "D": DATA, "H": TENSOR, "F": TENSOR}
# module -> the letters of its matrix: D is the width that it is stored split over, global or local; W another one
MATRICES = {
    "tok_embeddings": "VD",
    "text_embeddings": "VD",
    "output": "DV",
    "wq": "DH",
    "wk": "DH",
    "wv": "DH",
    "wo": "HD",
    "w1": "DF",
    "w3": "DF",
    "w2": "FD",
    "patch_embedding_projection": "DW",
    "token_embedding_projection": "DW",
    "speech_projection": "DW",
}
# module -> the letter of its bias; all other vectors are whole
BIASES = {"wq": "H", "wk": "H", "wv": "H"}


def make_mesh(config: MeshConfig, devices=None) -> Mesh:
    """The mesh of `devices`, all of this job's where None. Raises: ConfigError, as `mesh_sizes` does."""
    devices = list(jax.devices() if devices is None else devices)
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    sizes = mesh_sizes.mesh_sizes(config, len(devices), slices)
    if devices[0].platform != "tpu":
        return Mesh(np.asarray(devices).reshape(sizes), MESH_AXES)
    if slices == 1:
        return Mesh(mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True), MESH_AXES)
    within = (sizes.replica // slices, sizes.data, sizes.tensor)
    return Mesh(
        mesh_utils.create_hybrid_device_mesh(within, (slices, 1, 1), devices, allow_split_physical_axes=True), MESH_AXES
    )


def one_device(device: jax.Device | None = None) -> Mesh:
    """The mesh of a single device, this process's first where None."""
    return make_mesh(MeshConfig(1, 1, 1), [device or jax.local_devices()[0]])


def mesh_to_use(config: Config, asked: MeshConfig | None = None) -> Mesh:
    """The mesh for a trained model that answers, of devices of this process (`mesh_sizes.sizes_to_use`)."""
    devices = jax.local_devices()
    sizes = mesh_sizes.sizes_to_use(config, asked, len(devices))
    return make_mesh(MeshConfig(*sizes), devices[: sizes.replica * sizes.data * sizes.tensor])


def in_parts(config: Config, mesh: Mesh) -> Config:
    """The configuration that the mesh computes: `mesh_sizes.in_parts`.

    Raises: ConfigError naming the field where the mesh does not divide a size.
    """
    return mesh_sizes.in_parts(config, mesh_sizes.MeshSizes(**mesh.shape))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows split over the devices; what comes after B is whole."""
    return NamedSharding(mesh, PartitionSpec(AXES["B"]))


def replicated(mesh: Mesh) -> NamedSharding:
    """A whole copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def split_over_all(mesh: Mesh) -> NamedSharding:
    """The first dimension split over all devices of the mesh."""
    return NamedSharding(mesh, PartitionSpec(MESH_AXES))


def process_rows(mesh: Mesh, rows: int) -> list[int]:
    """The rows of the global batch that this process makes: those of its devices, in order."""
    mine = batch_sharding(mesh).addressable_devices_indices_map((rows,)).values()
    return sorted({row for (part,) in mine for row in range(*part.indices(rows))})


def parameter_specs(params: Any) -> Any:
    """The `PartitionSpec` of each parameter of a tree, by the tables."""

    def spec(path, leaf) -> PartitionSpec:
        if len(leaf.shape) == 1 and path[-1].key == "bias":
            return PartitionSpec(AXES[BIASES[path[-2].key]])
        if len(leaf.shape) < 2:
            return PartitionSpec()
        return PartitionSpec(*(AXES.get(letter) for letter in MATRICES[path[-2].key]))

    return jax.tree_util.tree_map_with_path(spec, params)


def parameter_shardings(mesh: Mesh, params: Any, memory_kind: str | None = None) -> Any:
    """The same as shardings on the mesh, in the devices' memory or in the one named."""
    return jax.tree.map(
        lambda spec: NamedSharding(mesh, spec, memory_kind=memory_kind),
        parameter_specs(params),
        is_leaf=lambda x: isinstance(x, PartitionSpec),
    )


def placement(mesh: Mesh, branched: bool = False) -> Placement:
    """How the model's modules run on each device of the mesh; `branched`: over documents that may branch."""
    attend = branches.attend if branched else kernels.for_platform(mesh.devices.flat[0].platform)
    if mesh.size == 1:
        return Placement(attend, branched=branched)
    if mesh.shape[TENSOR] == 1:
        return Placement(attend, _gather, branched=branched)
    return Placement(attend, _gather, _enter, _leave, branched)


def placement_for_training(mesh: Mesh, matmul: str) -> Placement:
    """How the modules run in a training step, with the products of `train.matmul`."""
    found = placement(mesh)
    if matmul == "plain":
        return found
    split = mesh.shape[TENSOR] > 1
    return dataclasses.replace(found, multiply=functools.partial(_in_eight_bits, matmul, found.matrix, split))


def placement_for_steps(mesh: Mesh) -> Placement:
    """How the modules run in cached generation, where a step has few rows.

    The rows of all data parts then travel to the parts of a matrix, and not the matrix to the rows.
    """
    if mesh.size == 1:
        return placement(mesh)
    return dataclasses.replace(placement(mesh), multiply=_multiply, pick_rows=_pick_rows, any_row=_any_row)


def row_parts(mesh: Mesh) -> int:
    """The number of parts that the rows of a batch are split into."""
    return mesh.shape[REPLICA] * mesh.shape[DATA]


def each_device(function: Callable, mesh: Mesh, in_specs: Any, out_specs: Any) -> Callable:
    """`function` over each device's own parts. On a single device it is the function itself."""
    if mesh.size == 1:
        return function
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def sum_rows(mesh: Mesh, x: Any) -> Any:
    """Within `each_device`: the sum over the parts of the batch."""
    return x if mesh.size == 1 else jax.lax.psum(x, ROW_AXES)


def sum_gradients(mesh: Mesh, grads: Any) -> Any:
    """Within `each_device`: gradients of each device's rows to those of the batch, as parameters are stored.

    A gathered matrix's gradient is summed over the data axis already: that is the gather's own backward pass.
    """
    if mesh.size == 1:
        return grads
    return jax.tree.map(
        lambda g, spec: jax.lax.psum(g, REPLICA if DATA in spec else ROW_AXES), grads, parameter_specs(grads)
    )


def _gather(name: str, stored: jax.Array) -> jax.Array:
    axis = MATRICES[name].index("D")
    return checkpoint_name(jax.lax.all_gather(stored, DATA, axis=axis, tiled=True), GATHERED)


def _in_eight_bits(
    kind: str,
    matrix: Callable[[str, jax.Array], jax.Array],
    split: bool,
    name: str,
    x_ND: jax.Array,
    stored: jax.Array,
    dtype: str,
) -> jax.Array:
    """`Placement.product` of operands in 8 bits; a row or column in parts has the scale that it has as a whole."""
    parts = (_largest_of_parts if split and AXES.get(letter) == TENSOR else None for letter in MATRICES[name])
    return eight_bits.product(x_ND, matrix(name, stored), dtype, kind, eight_bits.Parts(*parts))


def _largest_of_parts(largest: jax.Array) -> jax.Array:
    return jax.lax.pmax(largest, TENSOR)


def _multiply(name: str, x_ND: jax.Array, stored: jax.Array, dtype: str) -> jax.Array:
    """`Placement.product` by whatever has fewer numbers, the matrix or the rows of all data parts."""
    split_first, parts = MATRICES[name].index("D") == 0, jax.lax.axis_size(DATA)
    width, out = x_ND.shape[1], stored.shape[1] * (1 if split_first else parts)
    if parts * len(x_ND) * (width + out) >= width * out:
        return product(x_ND, _gather(name, stored), dtype)
    if split_first:
        x_ND = jax.lax.all_to_all(x_ND, DATA, split_axis=1, concat_axis=0, tiled=True)
        summands_NF = product(x_ND, stored, "float32")
        return jax.lax.psum_scatter(summands_NF, DATA, scatter_dimension=0, tiled=True).astype(dtype)
    out_NF = product(jax.lax.all_gather(x_ND, DATA, tiled=True), stored, dtype)
    return jax.lax.all_to_all(out_NF, DATA, split_axis=0, concat_axis=1, tiled=True)


def _pick_rows(name: str, stored: jax.Array, token_BT: jax.Array) -> jax.Array:
    if jax.lax.axis_size(DATA) * token_BT.size >= len(stored):
        return _gather(name, stored)[token_BT]
    some_BTE = stored[jax.lax.all_gather(token_BT, DATA, tiled=True)]
    return jax.lax.all_to_all(some_BTE, DATA, split_axis=0, concat_axis=2, tiled=True)


def _any_row(flag_B: jax.Array) -> jax.Array:
    return jax.lax.psum(jnp.any(flag_B).astype(jnp.int32), MESH_AXES) > 0


@jax.custom_vjp
def _enter(x):
    return x


_enter.defvjp(lambda x: (x, None), lambda _, g: (jax.lax.psum(g, TENSOR),))


@jax.custom_vjp
def _leave(x):
    return jax.lax.psum(x, TENSOR)


_leave.defvjp(lambda x: (jax.lax.psum(x, TENSOR), None), lambda _, g: (g,))
