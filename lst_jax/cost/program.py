"""What a compiled program costs a device: FLOPs of its matrix products, kernels, bytes of memory, collectives.

XLA's own `cost_analysis()` counts the body of a loop once, and nothing of what Pallas kernels do. Here a body counts as
often as it runs, of a conditional the dearest branch counts, and splash attention by its tiles. FLOPs are otherwise
XLA's own of matrix products, and of nothing else.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lst_jax.cost.collectives import OPCODES, Collective, collective, in_steps
from lst_jax.cost.hlo import Computation, Instruction, Program, parse, trip_count
from lst_jax.cost.traffic import collective_bytes, instruction_bytes


class Kernel(NamedTuple):
    """A Pallas kernel's calls. `flops` of one call, None where nothing says; `count`: calls a step."""

    name: str
    operands: tuple[tuple[int, ...], ...]
    results: tuple[tuple[int, ...], ...]
    flops: float | None
    count: int


@dataclasses.dataclass(frozen=True)
class Costs:
    """Of one run of a program, or of a part of it, on one device.

    flops: of `dot` and `convolution`, two a multiply-add. bytes_accessed: to and from HBM.
    uncounted_loops: those whose number of runs only data decides, counted as one run each.
    """

    flops: float = 0.0
    bytes_accessed: float = 0.0
    kernels: tuple[Kernel, ...] = ()
    collectives: tuple[Collective, ...] = ()
    uncounted_loops: tuple[str, ...] = ()

    @property
    def kernel_flops(self) -> float:
        """Of the kernels of which it is known."""
        return float(sum((k.flops or 0.0) * k.count for k in self.kernels))

    def __add__(self, other: "Costs") -> "Costs":
        return Costs(*(getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(self)))

    def times(self, count: int) -> "Costs":
        """Of so many runs."""
        return Costs(
            self.flops * count,
            self.bytes_accessed * count,
            tuple(k._replace(count=k.count * count) for k in self.kernels),
            tuple(c._replace(count=c.count * count) for c in self.collectives),
            self.uncounted_loops,
        )


def program_costs(text: str, mesh_shape: Mapping[str, int]) -> Costs:
    """Costs of a program from `compiled.as_text()`.

    Args: `mesh_shape`: sizes of the mesh's axes by name, such as `mesh.shape`.
    """
    walk = _Walk(parse(text), mesh_shape)
    costs = walk.computation(walk.program.entry, False)
    return dataclasses.replace(
        costs, kernels=_merged(with_splash_flops(costs.kernels)), collectives=_merged(costs.collectives)
    )


def _merged(items: tuple) -> tuple:
    """Those that differ in `count` alone as one."""
    counts: dict[Any, int] = {}
    for item in items:
        key = item._replace(count=0)
        counts[key] = counts.get(key, 0) + item.count
    return tuple(key._replace(count=count) for key, count in counts.items())


class _Walk:
    """Costs of each computation, found once."""

    def __init__(self, program: Program, mesh_shape: Mapping[str, int]):
        self.program = program
        self.mesh_shape = mesh_shape
        self.computation = functools.cache(self._computation)

    def _computation(self, name: str, fused: bool) -> Costs:
        """Costs of one run; within a fusion nothing goes to memory but what a collective moves."""
        where = self.program.computations[name]
        flops = bytes_accessed = 0.0
        parts = []
        for what in where.instructions.values():
            flops += matrix_flops(where, what)
            if not fused:
                bytes_accessed += instruction_bytes(self.program, where, what)
            if what.opcode in OPCODES or what.opcode == "send":
                if found := collective(where, what, fused, self.mesh_shape):
                    moved = 0.0 if fused and not in_steps(what) else collective_bytes(where, what, found)
                    parts.append(Costs(bytes_accessed=moved, collectives=(found,)))
            elif 'custom_call_target="tpu_custom_call"' in what.attributes:
                parts.append(Costs(kernels=(_kernel(where, what),)))
            else:
                parts.extend(self._called(where, what, fused))
        own = Costs(flops, bytes_accessed)
        return functools.reduce(Costs.__add__, parts, own)

    def _called(self, where: Computation, what: Instruction, fused: bool) -> list[Costs]:
        match what.opcode:
            case "while":
                trips = trip_count(self.program, where, what)
                once = [self.computation(name, fused) for name in what.called("condition", "body")]
                unknown = Costs(uncounted_loops=(what.name,)) if trips is None else Costs()
                return [*(costs.times(1 if trips is None else trips) for costs in once), unknown]
            case "conditional":
                names = what.called("branch_computations", "true_computation", "false_computation")
                branches = [self.computation(name, fused) for name in names]
                return [max(branches, key=lambda c: (c.flops, c.bytes_accessed))]
            case "fusion":
                return [self.computation(name, True) for name in what.called("calls")]
            case "call" | "call-start" | "async-start":
                return [self.computation(name, fused) for name in what.called("calls", "to_apply")]
        return []


def matrix_flops(where: Computation, what: Instruction) -> float:
    """Two a multiply-add of a `dot` or a `convolution`, which counts no position that is padding; else 0."""
    if what.opcode == "dot":
        left = where.operand(what, 0).arrays[0].dims
        contracted = math.prod(left[i] for i in what.integers("lhs_contracting_dims"))
        return 2.0 * math.prod(what.arrays[0].dims) * contracted
    if what.opcode != "convolution":
        return 0.0
    left, right = (where.operand(what, i).arrays[0].dims for i in range(2))
    in_labels, kernel_labels, out_labels = re.split("_|->", what.attribute("dim_labels"))
    out, window = what.arrays[0].dims, _window(what.attributes)
    positions = 1
    for i, dimension in enumerate(window):
        positions *= valid_positions(
            left[in_labels.index(str(i))], right[kernel_labels.index(str(i))], out[out_labels.index(str(i))], *dimension
        )
    features = left[in_labels.index("f")] // int(what.attribute("feature_group_count") or 1)
    batch = left[in_labels.index("b")] // int(what.attribute("batch_group_count") or 1)
    return 2.0 * features * batch * out[out_labels.index("f")] * positions


def _window(attributes: str) -> list[tuple[int, int, int, int]]:
    """(stride, low padding, dilation of the input, dilation of the kernel) of each spatial dimension."""
    found = re.search(r"window=\{([^}]*)\}", attributes)
    fields = dict(field.split("=") for field in found[1].split()) if found else {}
    rank = len(fields["size"].split("x")) if fields else 0
    split = {
        name: fields.get(name, "x".join([default] * rank)).split("x")
        for name, default in (("stride", "1"), ("pad", "0_0"), ("lhs_dilate", "1"), ("rhs_dilate", "1"))
    }
    return (
        [
            (int(stride), int(pad.split("_")[0]), int(left), int(right))
            for stride, pad, left, right in zip(*split.values(), strict=True)
        ]
        if rank
        else []
    )


@functools.cache
def valid_positions(
    size: int, kernel: int, out: int, stride: int, pad: int, dilation: int, kernel_dilation: int
) -> int:
    """Pairs of an output and a kernel position, along one dimension, that meet a real element of the input.

    Example: size 1, kernel 20, out 20, stride 1, pad 19, no dilation -> 20: a product with each of 20 heads
    """
    steps_O = np.arange(out) * stride - pad
    total = 0
    for at in range(kernel):
        reached_O = steps_O + at * kernel_dilation
        total += int(np.count_nonzero((reached_O % dilation == 0) & (reached_O >= 0) & (reached_O < size * dilation)))
    return total


def _kernel(where: Computation, what: Instruction) -> Kernel:
    estimate = re.search(r'"cost_estimate":\{[^}]*"flops":"?(\d+)', what.attributes)
    named = re.search(r'op_name="[^"]*?(\w+)/pallas_call', what.attributes)
    return Kernel(
        named[1] if named else re.sub(r"\.\d+$", "", what.name),
        tuple(a.dims for i in range(len(what.operands)) for a in where.operand(what, i).arrays),
        tuple(a.dims for a in what.arrays),
        float(estimate[1]) if estimate else None,
        1,
    )


def with_splash_flops(kernels: tuple[Kernel, ...]) -> tuple[Kernel, ...]:
    """The same with the FLOPs of splash attention, `model.kernels`: causal or local, tiles of equal sides.

    Its grid is its first operand, [1, tiles of queries, most tiles of keys that one of them meets]; a tile meets its
    own and those before it. Two products a pair of tiles forward, five backward (scores and their gradient, those of
    the queries, keys and values). The backward grid has all pairs, and skips those that the forward one does not have:
    it is read from the forward kernel of the same queries. Documents make tiles partly useless, not cheaper.
    """
    forward = {k.operands[2]: k.operands[0] for k in kernels if re.match("splash_m[hq]a_fwd", k.name)}
    return tuple(_with_flops(kernel, forward) for kernel in kernels)


def _with_flops(kernel: Kernel, forward: Mapping[tuple[int, ...], tuple[int, ...]]) -> Kernel:
    products = {"fwd": 2, "dkv": 5}.get((re.match("splash_m[hq]a_([a-z]+)", kernel.name) or "  ")[1])
    if not products or kernel.flops is not None:
        return kernel
    queries = kernel.operands[2]
    _, rows, most = forward.get(queries, kernel.operands[0])
    tile = queries[-2] // rows
    pairs = sum(min(i + 1, most) for i in range(rows))
    return kernel._replace(flops=2.0 * products * math.prod(queries[:-2]) * pairs * tile**2 * queries[-1])
