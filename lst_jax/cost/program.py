"""What a compiled program costs a device: FLOPs of its matrix products, kernels, bytes of memory, collectives.

XLA's own `cost_analysis()` counts the body of a loop once, and nothing of what Pallas kernels do. Here a body counts as
often as it runs, of a conditional the dearest branch counts, and splash attention by its tiles. FLOPs are otherwise
XLA's own of matrix products, and of nothing else.
"""

import collections
import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lst_jax.cost.collectives import OPCODES, Collective, collective, in_steps
from lst_jax.cost.hlo import Computation, Instruction, Program
from lst_jax.cost.kernels import PALLAS, Kernel, kernels_of
from lst_jax.cost.traffic import collective_bytes, instruction_bytes
from lst_jax.cost.trips import trip_count


@dataclasses.dataclass(frozen=True)
class Costs:
    """Of one run of a program, or of a part of it, on one device.

    flops: of `dot` and `convolution`, two a multiply-add; int8_flops and fp8_flops: those of them with operands in 8 bits.
    bytes_accessed: to and from HBM.
    uncounted_loops: those whose number of runs only data decides, counted as one run each.
    """

    flops: float = 0.0
    bytes_accessed: float = 0.0
    kernels: tuple[Kernel, ...] = ()
    collectives: tuple[Collective, ...] = ()
    uncounted_loops: tuple[str, ...] = ()
    int8_flops: float = 0.0
    fp8_flops: float = 0.0

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
            self.int8_flops * count,
            self.fp8_flops * count,
        )


def program_costs(program: Program, mesh_shape: Mapping[str, int]) -> Costs:
    """Costs of a compiled program.

    Args: `mesh_shape`: sizes of the mesh's axes by name, such as `mesh.shape`.
    """
    walk = _Walk(program, mesh_shape)
    costs = walk.computation(program.entry, False)
    return dataclasses.replace(costs, kernels=_merged(costs.kernels), collectives=_merged(costs.collectives))


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
        self.kernels = kernels_of(program)
        self.computation = functools.cache(self._computation)

    def _computation(self, name: str, fused: bool) -> Costs:
        """Costs of one run; within a fusion nothing goes to memory but what a collective moves."""
        where = self.program.computations[name]
        bytes_accessed = 0.0
        flops: collections.Counter[str] = collections.Counter()
        parts = []
        for what in where.instructions.values():
            flops[operand_type(where, what)] += matrix_flops(where, what)
            if not fused:
                bytes_accessed += instruction_bytes(self.program, where, what)
            if what.opcode in OPCODES or what.opcode == "send":
                if found := collective(where, what, fused, self.mesh_shape):
                    moved = 0.0 if fused and not in_steps(what) else collective_bytes(where, what, found)
                    parts.append(Costs(bytes_accessed=moved, collectives=(found,)))
            elif what.target == PALLAS:
                parts.append(Costs(kernels=(self.kernels[what.name],)))
            else:
                parts.extend(self._called(where, what, fused))
        own = Costs(sum(flops.values()), bytes_accessed, int8_flops=flops["s8"], fp8_flops=flops["f8e4m3fn"])
        return functools.reduce(Costs.__add__, parts, own)

    def _called(self, where: Computation, what: Instruction, fused: bool) -> list[Costs]:
        match what.opcode:
            case "while":
                trips = trip_count(self.program, where, what)
                once = [self.computation(name, fused) for name in what.called]
                unknown = Costs(uncounted_loops=(what.name,)) if trips is None else Costs()
                return [*(costs.times(1 if trips is None else trips) for costs in once), unknown]
            case "conditional":
                branches = [self.computation(name, fused) for name in what.called]
                return [max(branches, key=lambda c: (c.flops, c.bytes_accessed))]
            case "fusion":
                return [self.computation(name, True) for name in what.called]
            case "call" | "async-start":
                return [self.computation(name, fused) for name in what.called]
        return []


def operand_type(where: Computation, what: Instruction) -> str:
    """The type of both operands of a `dot` or a `convolution`, such as "s8"; "" where they have two, and of all else."""
    if what.opcode not in ("dot", "convolution"):
        return ""
    left, right = (where.operand(what, i).arrays[0].dtype for i in range(2))
    return left if left == right else ""


def matrix_flops(where: Computation, what: Instruction) -> float:
    """Two a multiply-add of a `dot` or a `convolution`, which counts no position that is padding; else 0."""
    if what.opcode == "dot":
        left = where.operand(what, 0).arrays[0].dims
        contracted = math.prod(left[i] for i in what.message.dot_dimension_numbers.lhs_contracting_dimensions)
        return 2.0 * math.prod(what.arrays[0].dims) * contracted
    if what.opcode != "convolution":
        return 0.0
    left, right = (where.operand(what, i).arrays[0].dims for i in range(2))
    out, is_at = what.arrays[0].dims, what.message.convolution_dimension_numbers
    positions = 1
    for i, window in enumerate(what.message.window.window_dimensions):
        positions *= valid_positions(
            left[is_at.input_spatial_dimensions[i]],
            right[is_at.kernel_spatial_dimensions[i]],
            out[is_at.output_spatial_dimensions[i]],
            window.stride,
            window.padding_low,
            window.base_dilation,
            window.window_dilation,
        )
    features = left[is_at.input_feature_dimension] // max(1, what.message.feature_group_count)
    batch = left[is_at.input_batch_dimension] // max(1, what.message.batch_group_count)
    return 2.0 * features * batch * out[is_at.output_feature_dimension] * positions


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
