"""Collectives of a compiled program: which, over which axes of the mesh, how many bytes, and how long that takes.

The TPU compiler has ways of its own to write them. A collective in steps, each fused with other work, is counted where
it starts; an all-reduce whose fusion keeps only a slice of it is a reduce-scatter; between slices there are pairs of
send and recv. What it makes of an all-gather or a reduce-scatter may well be an all-reduce, and is counted as one.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from lst_jax.cost.hlo import Computation, Instruction

KINDS = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")
OPCODES = {name: kind for kind in KINDS for name in (kind, f"{kind}-start")} | {"ragged-all-to-all": "all-to-all"}
STARTS = 'custom_call_target="AsyncCollectiveStart"'
ALIASES = ("bitcast", "get-tuple-element", "reshape", "copy")
_BETWEEN_SLICES = re.compile(r'_xla_megascale_transfer_type="([A-Z_]+)"')
_SLICES = re.compile(r'_xla_megascale_target="\{([\d,]+)\}x')
_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\((.*?)\))? \{([^}]*)\}")
_IOTA = re.compile(r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")


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
        if in_steps(what) and not any(STARTS in user.attributes for user, _ in users[what.name]):
            return None  # counted where it was started
        if kind == "all-reduce" and _only_sliced(what, users):
            kind = "reduce-scatter"
    own = sum(a.bytes for i in range(len(what.operands)) for a in where.operand(what, i).arrays)
    members = groups(what.attributes, math.prod(mesh_shape.values()))
    size = max(map(len, members))
    if size == 1:
        return None
    whole = own if kind in ("all-reduce", "reduce-scatter") else own * size
    return Collective(kind, spanned_axes(members, mesh_shape), size, whole, 1)


def in_steps(what: Instruction) -> bool:
    """Whether it is one of the steps, fused with other work, that the TPU compiler makes of a collective."""
    return "async_collective_fusion_config" in what.attributes or "AsyncCollective" in what.attributes


def _only_sliced(what: Instruction, users: Mapping[str, list[tuple[Instruction, int]]]) -> bool:
    read = [user for user, _ in users[what.name]]
    return bool(read) and all(
        user.opcode == "dynamic-slice" or (user.opcode in ALIASES and _only_sliced(user, users)) for user in read
    )


def _between_slices(where: Computation, what: Instruction, mesh_shape: Mapping[str, int]) -> Collective | None:
    """A transfer between slices; each is compiled for itself, and is a run of the mesh's devices, in their order."""
    kind, slices = _BETWEEN_SLICES.search(what.attributes), _SLICES.search(what.attributes)
    if not kind:  # to the host
        return None
    if not slices:
        raise ValueError(f"slices in a form that is not known: {what.attributes[:300]}")
    count, name = slices[1].count(",") + 1, kind[1].lower().replace("_", "-")
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


def groups(attributes: str, devices: int) -> list[list[int]]:
    """The groups of devices, in any of the forms that HLO writes them in.

    Example: "replica_groups=[2,2]<=[2,2]T(1,0)" and "replica_groups={{0,2},{1,3}}" -> [[0, 2], [1, 3]]
    Example: "source_target_pairs={{0,1},{1,0},{2,3},{3,2}}" -> [[0, 1], [2, 3]]
    """
    if found := re.search(r"source_target_pairs=\{(\{[\d,{}]*\})\}", attributes):
        return _connected(_lists(found[1]))
    if found := _MESH.search(attributes):
        return _mesh_groups(*found.groups())
    if found := re.search(rf"replica_groups={_IOTA.pattern}", attributes):
        return _iota(*found.groups()).tolist()
    if found := re.search(r"replica_groups=\{((?:\{[\d,]*\},?)*)\}", attributes):
        return _lists(found[1]) or [list(range(devices))]
    raise ValueError(f"groups of devices in a form that is not known: {attributes[:300]}")


def _lists(text: str) -> list[list[int]]:
    return [[int(i) for i in inner.split(",")] for inner in re.findall(r"\{([\d,]+)\}", text)]


def _iota(shape: str, source: str, order: str | None) -> np.ndarray:
    shape, source = ([int(i) for i in text.split(",")] for text in (shape, source))
    ids = np.arange(math.prod(source)).reshape(source)
    return (ids.transpose([int(i) for i in order.split(",")]) if order else ids).reshape(shape)


def _mesh_groups(axes: str, ids: str | None, grouped: str) -> list[list[int]]:
    """Groups along axes of a mesh, or along parts of axes: `x:(2)4` is 4 steps of the axis x, each inside one of 2.

    Example: "'a'=2,'b'=2", None, "'a'" -> [[0, 2], [1, 3]]
    """
    sizes = {name: int(size) for name, size in re.findall(r"'?(\w+)'?=(\d+)", axes)}
    if ids and (iota := re.fullmatch(r"\[([\d,]+)\](?:T\(([\d,]+)\))?", ids)):
        flat = _iota(str(math.prod(sizes.values())), iota[1], iota[2])
    else:
        flat = np.array(re.findall(r"\d+", ids), int) if ids else np.arange(math.prod(sizes.values()))
    parts = [
        (name, int(outer or 1), int(part or sizes[name]))
        for name, outer, part in re.findall(r"'?(\w+)'?(?::\((\d+)\)(\d+))?", grouped)
    ]
    shape, chosen = [], {}
    for name, size in sizes.items():
        cuts = sorted({1, size} | {edge for n, outer, part in parts if n == name for edge in (outer, outer * part)})
        for low, high in zip(cuts, cuts[1:], strict=False):
            for order, (n, outer, part) in enumerate(parts):
                if n == name and outer <= low and high <= outer * part:
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
