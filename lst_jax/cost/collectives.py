"""Collectives of a compiled program: which, over which axes of the mesh, how many bytes, and how long that takes.

The TPU compiler has ways of its own to write them. A collective in steps, each fused with other work, is counted where
it starts; an all-reduce whose fusion keeps only a slice of it is a reduce-scatter; between slices there are pairs of
send and recv. What it makes of an all-gather or a reduce-scatter may well be an all-reduce, and is counted as one.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lst_jax.cost.hlo import Computation, Instruction

KINDS = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")
OPCODES = {name: kind for kind in KINDS for name in (kind, f"{kind}-start")} | {"ragged-all-to-all": "all-to-all"}
STARTS = "AsyncCollectiveStart"
DONE = "AsyncCollectiveDone"
ALIASES = ("bitcast", "get-tuple-element", "reshape", "copy")


class Collective(NamedTuple):
    """Equal collectives of one program.

    bytes: of the whole array, the parts of all `group` devices together, of one run. count: runs a step.
    axes: of the mesh, those that a group spans, in the mesh's order.
    """

    kind: str
    axes: tuple[str, ...]
    group: int
    bytes: int
    count: int


def seconds(what: Collective, bytes_per_sec: float) -> float:
    """Seconds of one run on a ring, at the bytes per second that a device sends on it in all directions together.

    "How to Scale Your Model", Sharded Matrices: V/W for an all-gather or a reduce-scatter (here of the (n-1)/n that is
    not there already), twice that for an all-reduce, a quarter for an all-to-all. A permutation sends each part once.
    """
    if what.kind == "collective-permute":
        return what.bytes / what.group / bytes_per_sec
    share = {"all-reduce": 2.0, "all-to-all": 0.25}.get(what.kind, 1.0) * (what.group - 1) / what.group
    return share * what.bytes / bytes_per_sec


def totals(collectives: Iterable[Collective]) -> dict[tuple[str, tuple[str, ...]], float]:
    """Bytes per step by (kind, axes), the greatest first."""
    found: dict[tuple[str, tuple[str, ...]], float] = {}
    for c in collectives:
        found[c.kind, c.axes] = found.get((c.kind, c.axes), 0.0) + c.bytes * c.count
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def total_seconds(
    collectives: Iterable[Collective], bytes_per_sec: Callable[[tuple[str, ...]], float]
) -> dict[tuple[str, tuple[str, ...]], float]:
    """Seconds per step by (kind, axes), as if nothing were computed meanwhile.

    Args: `bytes_per_sec`: of a group that spans the axes, such as `links.mesh_bandwidth` gives.
    """
    found: dict[tuple[str, tuple[str, ...]], float] = {}
    for c in collectives:
        found[c.kind, c.axes] = found.get((c.kind, c.axes), 0.0) + seconds(c, bytes_per_sec(c.axes)) * c.count
    return found


def collective(where: Computation, what: Instruction, fused: bool, mesh_shape: Mapping[str, int]) -> Collective | None:
    """The collective that an instruction is, run once; None where it moves nothing, or is counted elsewhere.

    Args: `fused`: whether the computation is that of a fusion.
    """
    if what.opcode == "send":
        return _between_slices(where, what, mesh_shape)
    if what.opcode not in OPCODES:
        return None
    kind = OPCODES[what.opcode]
    if fused:
        users = where.users()
        if in_steps(what) and not any(user.target == STARTS for user, _ in users[what.name]):
            return None  # counted where it was started
        if kind == "all-reduce" and _only_sliced(what, users):
            kind = "reduce-scatter"
    own = sum(a.bytes for i in range(len(what.operands)) for a in where.operand(what, i).arrays)
    members = groups(what.message, math.prod(mesh_shape.values()))
    size = max(map(len, members))
    if size == 1:
        return None
    whole = own if kind in ("all-reduce", "reduce-scatter") else own * size
    return Collective(kind, spanned_axes(members, mesh_shape), size, whole, 1)


def in_steps(what: Instruction) -> bool:
    """Whether it is one of the steps, fused with other work, that the TPU compiler makes of a collective."""
    return "async_collective_fusion_config" in what.backend or what.target in (STARTS, DONE)


def _only_sliced(what: Instruction, users: Mapping[str, list[tuple[Instruction, int]]]) -> bool:
    read = [user for user, _ in users[what.name]]
    return bool(read) and all(
        user.opcode == "dynamic-slice" or (user.opcode in ALIASES and _only_sliced(user, users)) for user in read
    )


def _between_slices(where: Computation, what: Instruction, mesh_shape: Mapping[str, int]) -> Collective | None:
    """A transfer between slices; each is compiled for itself, and is a run of the mesh's devices, in their order."""
    kind = what.attributes.get("_xla_megascale_transfer_type")
    if not kind:  # to the host
        return None
    target = what.attributes.get("_xla_megascale_target", "")
    slices = re.match(r"\{([\d,]+)\}x", target)
    if not slices:
        raise ValueError(f"slices in a form that is not known: {target}")
    count, name = slices[1].count(",") + 1, kind.lower().replace("_", "-")
    own = sum(a.bytes for a in where.operand(what, 0).arrays)
    members = np.arange(math.prod(mesh_shape.values())).reshape(count, -1).T.tolist()
    whole = own if name in ("all-reduce", "reduce-scatter") else own * count
    return Collective(
        name if name in KINDS else "collective-permute", spanned_axes(members, mesh_shape), count, whole, 1
    )


def spanned_axes(members: Iterable[Iterable[int]], mesh_shape: Mapping[str, int]) -> tuple[str, ...]:
    """The axes along which the devices of some group differ; a device is its position in `mesh.devices.flat`.

    Example: [[0, 2], [1, 3]], {"replica": 1, "data": 2, "tensor": 2} -> ("data",)
    """
    spanned = np.zeros(len(mesh_shape), bool)
    for group in members:
        coordinates = np.stack(np.unravel_index(np.asarray(group), tuple(mesh_shape.values())))
        spanned |= (coordinates != coordinates[:, :1]).any(1)
    return tuple(name for name, varies in zip(mesh_shape, spanned, strict=True) if varies)


def groups(message: Any, devices: int) -> list[list[int]]:
    """The groups of devices of a collective's `HloInstructionProto`, in any of the forms that XLA keeps them in.

    Example: `iota_collective_device_list` [2,2]<=[2,2]T(1,0) and `replica_groups` {{0,2},{1,3}} -> [[0, 2], [1, 3]]
    Example: `source_target_pairs` {{0,1},{1,0},{2,3},{3,2}} -> [[0, 1], [2, 3]]
    """
    if message.source_target_pairs:
        return _connected([[pair.source, pair.target] for pair in message.source_target_pairs])
    if message.HasField("mesh_axes_replica_group_list"):
        return _mesh_groups(message.mesh_axes_replica_group_list)
    if message.HasField("iota_collective_device_list"):
        iota = message.iota_collective_device_list
        shape = (iota.num_replica_groups, iota.num_devices_per_group)
        return _iota(iota.iota_reshape_dims, iota.iota_transpose_perm).reshape(shape).tolist()
    lists = message.collective_device_list.replica_groups or message.replica_groups
    return [list(group.replica_ids) for group in lists if group.replica_ids] or [list(range(devices))]


def _iota(shape: Sequence[int], order: Sequence[int]) -> np.ndarray:
    ids = np.arange(math.prod(shape)).reshape(tuple(shape))
    return ids.transpose(tuple(order)) if order else ids


def _mesh_groups(message: Any) -> list[list[int]]:
    """Groups along axes of a mesh, or along parts of axes: of size `size`, each inside one of `pre_size` parts.

    Example: axes of 2 and 2, along the first -> [[0, 2], [1, 3]]
    """
    mesh = message.mesh
    sizes = [axis.size for axis in mesh.axes]
    flat = np.arange(math.prod(sizes))
    if mesh.device_ids:
        flat = np.asarray(mesh.device_ids)
    elif mesh.HasField("iota_transform"):
        flat = _iota(mesh.iota_transform.reshape_dims, mesh.iota_transform.transpose_perm).reshape(-1)
    parts = [
        (part.mesh_axis_index, part.sub_axis_info.pre_size, part.sub_axis_info.size)
        if part.HasField("sub_axis_info")
        else (part.mesh_axis_index, 1, sizes[part.mesh_axis_index])
        for part in message.axes
    ]
    shape, chosen = [], {}
    for axis, size in enumerate(sizes):
        cuts = sorted({1, size} | {edge for n, outer, part in parts if n == axis for edge in (outer, outer * part)})
        for low, high in zip(cuts, cuts[1:], strict=False):
            for order, (n, outer, part) in enumerate(parts):
                if n == axis and outer <= low and high <= outer * part:
                    chosen[len(shape)] = order
            shape.append(high // low)
    last = sorted(chosen, key=lambda i: (chosen[i], i))
    first = [i for i in range(len(shape)) if i not in chosen]
    size = math.prod(shape[i] for i in last)
    return flat.reshape(shape).transpose(first + last).reshape(-1, size).tolist()


def _connected(pairs: list[list[int]]) -> list[list[int]]:
    """Devices that send to each other, directly or by way of others."""
    group_of: dict[int, list[int]] = {}
    for source, target in pairs:
        joined = group_of.get(source, [source])
        other = group_of.get(target, [target])
        if joined is not other:
            joined = sorted({*joined, *other})
        for device in joined:
            group_of[device] = joined
    return [list(group) for group in {tuple(group) for group in group_of.values()}]
