"""Pallas kernels of a compiled program, which XLA does not look into: their FLOPs by the grids that they are given."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from lst_jax.cost.hlo import Computation, Instruction, Program

PALLAS = "tpu_custom_call"  # what the custom call of a kernel calls


class Kernel(NamedTuple):
    """A Pallas kernel's calls. `flops` of one call, None where nothing says; `count`: calls a step."""

    name: str
    operands: tuple[tuple[int, ...], ...]
    results: tuple[tuple[int, ...], ...]
    flops: float | None
    count: int


def kernels_of(program: Program) -> dict[str, Kernel]:
    """The kernels by the name of their instruction, each called once."""
    found = {
        what.name: _kernel(where, what)
        for where in program.computations.values()
        for what in where.instructions.values()
        if what.target == PALLAS
    }
    return dict(zip(found, with_splash_flops(tuple(found.values())), strict=True))


def _kernel(where: Computation, what: Instruction) -> Kernel:
    named = re.search(r"(\w+)/pallas_call", what.op_name)
    return Kernel(
        named[1] if named else re.sub(r"\.\d+$", "", what.name),
        tuple(a.dims for i in range(len(what.operands)) for a in where.operand(what, i).arrays),
        tuple(a.dims for a in what.arrays),
        _stated(what),
        1,
    )


def stated_flops(program: Program) -> float:
    """FLOPs that kernels state of themselves, each call once. XLA's own count of a program has them in it.

    Splash attention states none.
    """
    instructions = (what for where in program.computations.values() for what in where.instructions.values())
    return sum(_stated(what) or 0.0 for what in instructions if what.target == PALLAS)


def _stated(what: Instruction) -> float | None:
    said = what.backend.get("custom_call_config", {}).get("cost_estimate", {}).get("flops")
    return None if said is None else float(said)


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
