"""The mesh, and the one table from dimension letters to mesh axes.

Today's table splits the rows of a batch over every device and keeps parameters whole on each; a finer split is a change
of this table, not of the model.
"""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lst_jax.model.kernels import SelfAttention

MESH_AXES = ("replica", "data", "tensor")
# dimension letter -> mesh axes that split it
AXES = {"B": ("replica", "data"), "H": ("tensor",)}


def make_mesh(devices=None) -> Mesh:
    """A mesh of all devices, in one data axis."""
    devices = np.asarray(jax.devices() if devices is None else devices)
    return Mesh(devices.reshape(1, -1, 1), MESH_AXES)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows split over the devices; what comes after B is whole."""
    return NamedSharding(mesh, PartitionSpec(AXES["B"]))


def replicated(mesh: Mesh) -> NamedSharding:
    """A whole copy on each device."""
    return NamedSharding(mesh, PartitionSpec())


def per_device(attend: SelfAttention, mesh: Mesh) -> SelfAttention:
    """A kernel of self-attention that each device runs on its own rows and heads; XLA cannot split kernels itself."""
    if mesh.size == 1:
        return attend
    row, heads = PartitionSpec(AXES["B"]), PartitionSpec(AXES["B"], None, AXES["H"])

    def sharded(q_BTHK, k_BTHK, v_BTHK, doc_id_BT, window, block):
        return jax.shard_map(lambda *arrays: attend(*arrays, window, block), mesh=mesh,
                             in_specs=(heads, heads, heads, row), out_specs=heads,
                             check_vma=False)(q_BTHK, k_BTHK, v_BTHK, doc_id_BT)

    return sharded
