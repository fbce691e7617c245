"""How fast a group of TPU devices talks: over the links of the torus, and between slices over the network."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from lst_jax.cost.accelerators.kinds import CUBE, TpuGeneration
from lst_jax.cost.accelerators.registry import tpu_of_device

POD_SIDE = 16  # a 2-D torus is a pod of 16×16 chips, or a part of one; an axis is closed where it is whole
LINKS_INSIDE_CHIP = 6  # the two devices of a TPU7x chip talk six times as fast as a link (docs.cloud.google.com/tpu)


def mesh_bandwidth(mesh: Mesh, axes: Sequence[str]) -> float:
    """Bytes per second that a device sends in a ring over these axes of the mesh: of the slowest such group."""
    names = list(mesh.axis_names)
    groups = np.moveaxis(mesh.devices, [names.index(axis) for axis in axes], range(-len(axes), 0))
    groups = groups.reshape(-1, math.prod(mesh.shape[axis] for axis in axes))
    devices = list(mesh.devices.flat)
    return min(group_bandwidth(list(group), devices) for group in groups)


def group_bandwidth(group: Sequence[Any], devices: Sequence[Any]) -> float:
    """Bytes per second that each device of a group can send in collectives of all of it; infinite for a group of one.

    Within a slice, this is the sum over the axes of the torus that the group spans. A link counts both ways where the
    axis closes to a ring, and one way where it does not, because the ends then have only one link. Devices s steps
    apart share their links with s - 1 other groups. Devices of one chip share its links, unless they are of one group:
    then each byte passes a link once for both.
    Between slices, this is the data centre network of all the group's devices in a slice together, because each of them
    carries its part of an array, and no faster than the slice within.

    Args: `devices`: all of the job, from which the sides of the torus are taken. Devices have `device_kind`, `coords`,
        and `slice_index` where there are several slices.
    """
    tpu = tpu_of_device(group[0].device_kind)
    slices: dict[int, list[Any]] = {}
    for device in group:
        slices.setdefault(_slice(device), []).append(device)
    within = min(
        _slice_bandwidth(tpu, members, [d for d in devices if _slice(d) == index]) for index, members in slices.items()
    )
    if len(slices) == 1:
        return within
    return min(within, tpu.device_network_bytes_per_sec * min(map(len, slices.values())))


def _slice(device: Any) -> int:
    return getattr(device, "slice_index", None) or 0


def _slice_bandwidth(tpu: TpuGeneration, group: Sequence[Any], slice_devices: Sequence[Any]) -> float:
    if len(group) == 1:
        return math.inf
    chips = {tuple(device.coords) for device in group}
    if len(chips) == 1:
        return LINKS_INSIDE_CHIP * tpu.link_bytes_per_sec
    sides = [len(positions) for positions in _positions(slice_devices, tpu.torus_axes)]
    links = 0.0
    for side, positions in zip(sides, _positions(group, tpu.torus_axes), strict=True):
        if len(positions) == 1:
            continue
        step = int(np.diff(positions).max())
        whole = step * len(positions) == side
        links += (2 if whole and is_ring(tpu, side, sides) else 1) / step
    members_per_chip = len(group) / len(chips)
    return tpu.link_bytes_per_sec * links * members_per_chip / tpu.devices_per_chip


def _positions(devices: Iterable[Any], axes: int) -> list[list[int]]:
    """Along each axis the places where there are devices, ascending."""
    return [sorted(set(along)) for along in list(zip(*(device.coords for device in devices), strict=True))[:axes]]


def is_ring(tpu: TpuGeneration, side: int, sides: Sequence[int]) -> bool:
    """Whether an axis of this length wraps around, in a slice of such sides."""
    if tpu.torus_axes == 2:
        return side == POD_SIDE
    return all(other % CUBE == 0 for other in sides)
