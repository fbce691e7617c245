"""The mesh, and the one table from dimension letters to mesh axes.

Today's table splits the rows of a batch over every device and keeps parameters whole on each; a finer split is a change
of this table, not of the model.
"""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

MESH_AXES = ("replica", "data", "tensor")
# dimension letter -> mesh axes that split it
AXES = {"B": ("replica", "data")}


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
