"""Generations of TPUs: what a chip computes, holds and moves a second, and how fast a group of them talks.

Sources. Peak and HBM bandwidth: the vendor's pages (docs.cloud.google.com/tpu/docs/v4, v5e, v5p, v6e). HBM bytes: what
libtpu 0.0.42 lets a program have, by its own message for one that does not fit; the vendor's 32, 16 and 32 GiB less a
little, and 0.74 more than the 95 of v5p. Links and data centre network: "How to Scale Your Model", Part 2
(jax-ml.github.io/scaling-book/tpus), where a link is a tenth below the nominal rate.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from lst_jax.core.errors import ConfigError

GIB = 2**30


class Chip(NamedTuple):
    """One chip, which is one JAX device.

    peak_flops: bf16, a second. hbm_bytes: what a program may use. ici_bytes_per_sec: of one link, in one direction; a
    chip has two links on each axis of the torus. dcn_bytes_per_sec: a chip's part of its host's data centre network.
    """

    name: str
    kinds: tuple[str, ...]  # JAX's `device_kind`
    peak_flops: float
    hbm_bytes: float
    hbm_bytes_per_sec: float
    ici_bytes_per_sec: float
    torus_axes: int
    dcn_bytes_per_sec: float


CHIPS = (
    Chip("v4", ("TPU v4",), 275e12, 30.75 * GIB, 1.2e12, 4.5e10, 3, 6.25e9),
    Chip("v5e", ("TPU v5 lite", "TPU v5e"), 197e12, 15.75 * GIB, 819e9, 4.5e10, 2, 3.125e9),
    Chip("v5p", ("TPU v5", "TPU v5p"), 459e12, 95.74 * GIB, 2.765e12, 9e10, 3, 6.25e9),
    Chip("v6e", ("TPU v6 lite", "TPU v6e"), 918e12, 31.25 * GIB, 1.6e12, 9e10, 2, 12.5e9),
)
CUBE = 4  # a 3D torus is made of cubes of 4×4×4, and closed by their optical switches: only whole cubes are
POD_SIDE = 16  # a 2D torus is a pod of 16×16, or a part of one, whose axes are closed where they are whole


def of(device: Any) -> Chip:
    """The chip of a JAX device. Raises: ConfigError for one that is not here."""
    for chip in CHIPS:
        if device.device_kind in chip.kinds:
            return chip
    raise ConfigError(
        f"device_kind={device.device_kind!r}: no figures of it; use one of {', '.join(chip.name for chip in CHIPS)}"
    )


def mesh_bandwidth(mesh: Mesh, axes: Sequence[str]) -> float:
    """Bytes a second that a device sends in a ring over these axes of the mesh: of the slowest such group."""
    names = list(mesh.axis_names)
    groups = np.moveaxis(mesh.devices, [names.index(axis) for axis in axes], range(-len(axes), 0))
    groups = groups.reshape(-1, math.prod(mesh.shape[axis] for axis in axes))
    devices = list(mesh.devices.flat)
    return min(group_bandwidth(list(group), devices) for group in groups)


def group_bandwidth(group: Sequence[Any], devices: Sequence[Any]) -> float:
    """Bytes a second that each device of a group can send in collectives of all of it; infinite for a group of one.

    Within a slice: over the axes of the torus that the group spans, their sum. A link counts both ways where the axis
    closes to a ring, and one way where it does not: then the ends have only one. Devices s steps apart share their
    links with s - 1 other groups. Between slices: the data centre network of all the group's devices in a slice
    together, as each of them carries its part of an array, and no faster than the slice within.
    Args: `devices`: all of the job, from which the sides of the torus are taken. Devices have `device_kind`, `coords`,
        and `slice_index` where there are several slices.
    """
    chip = of(group[0])
    slices: dict[int, list[Any]] = {}
    for device in group:
        slices.setdefault(_slice(device), []).append(device)
    within = min(
        _ici_bandwidth(chip, members, [d for d in devices if _slice(d) == index]) for index, members in slices.items()
    )
    if len(slices) == 1:
        return within
    return min(within, chip.dcn_bytes_per_sec * min(map(len, slices.values())))


def _slice(device: Any) -> int:
    return getattr(device, "slice_index", None) or 0


def _ici_bandwidth(chip: Chip, group: Sequence[Any], slice_devices: Sequence[Any]) -> float:
    sides = [len(positions) for positions in _positions(slice_devices, chip.torus_axes)]
    links = 0.0
    for side, positions in zip(sides, _positions(group, chip.torus_axes), strict=True):
        if len(positions) == 1:
            continue
        step = int(np.diff(positions).max())
        whole = step * len(positions) == side
        links += (2 if whole and is_ring(chip, side, sides) else 1) / step
    return chip.ici_bytes_per_sec * links if links else math.inf


def _positions(devices: Iterable[Any], axes: int) -> list[list[int]]:
    """Along each axis the places where there are devices, ascending."""
    return [sorted(set(along)) for along in list(zip(*(device.coords for device in devices), strict=True))[:axes]]


def is_ring(chip: Chip, side: int, sides: Sequence[int]) -> bool:
    """Whether an axis of this length wraps around, in a slice of such sides."""
    if chip.torus_axes == 2:
        return side == POD_SIDE
    return all(other % CUBE == 0 for other in sides)
