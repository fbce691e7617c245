"""Which part of the model an instruction belongs to, and which kind of work it is."""

import math
import re

from lst_jax.cost.hlo import Computation, Instruction, Program
from lst_jax.cost.kernels import PALLAS

# Kinds of work
PRODUCTS = "matrix products"
KERNELS = "attention kernels"
CROSS = "cross-attention"
COPIES = "copies"
ELEMENTWISE = "elementwise"
ROWS = "scatters and gathers"
LOSS = "loss"
OPTIMIZER = "optimizer"
EXPOSED = "collectives exposed"
HIDDEN = "collectives hidden"
WORK = (PRODUCTS, KERNELS, CROSS, COPIES, ELEMENTWISE, ROWS, LOSS, OPTIMIZER, EXPOSED, HIDDEN)
USEFUL = (PRODUCTS, KERNELS)

# Parts: scopes that `step.update` opens, then modules; the first that a path names counts
PARTS = {
    "optimizer": "optimizer",
    "loss": "loss",
    "patch_encoder": "patch encoder",
    "patch_decoder": "patch decoder",
    "global_transformer": "global transformer",
}
CROSS_MODULE = "cross_attn_layers"
MOVES = {
    "copy",
    "transpose",
    "reshape",
    "slice",
    "dynamic-slice",
    "dynamic-update-slice",
    "concatenate",
    "pad",
    "reverse",
}
NEUTRAL = {"parameter", "constant", "bitcast", "tuple", "get-tuple-element", "broadcast", "convert", "iota"}


def part_of(op_name: str) -> str | None:
    """The part that a traced path names. Example: "jit(step)/jvp(loss)/dot_general" -> "loss"; None for no part."""
    return next((part for scope, part in PARTS.items() if re.search(rf"\b{scope}\b", op_name)), None)


def part_within(program: Program, what: Instruction) -> str | None:
    """The part of an instruction; of a fusion without a path of its own, the part of what it holds."""
    part = part_of(what.op_name)
    if part is None and what.opcode == "fusion":
        inner = program.computations[what.called[0]].instructions.values()
        return next((found for inside in inner if (found := part_within(program, inside))), None)
    return part


def kind_of(program: Program, what: Instruction) -> str:
    """The kind of an instruction that is no collective. A fusion is what the most telling operation within it is."""
    if what.target == PALLAS:
        return KERNELS
    opcodes = _opcodes(program, what)
    if opcodes & {"dot", "convolution"}:
        return PRODUCTS
    if opcodes & {"gather", "scatter", "sort"}:
        return ROWS
    if opcodes & MOVES and opcodes <= MOVES | NEUTRAL:
        return COPIES
    if CROSS_MODULE in what.op_name:
        return CROSS
    return {"loss": LOSS, "optimizer": OPTIMIZER}.get(part_of(what.op_name) or "", ELEMENTWISE)


def _opcodes(program: Program, what: Instruction) -> set[str]:
    """Of a fusion those within it, at any depth; of anything else its own."""
    if what.opcode != "fusion":
        return {what.opcode}
    inner = program.computations[what.called[0]].instructions.values()
    return set().union(*(_opcodes(program, inside) for inside in inner))


def rows_moved(program: Program, where: Computation, what: Instruction) -> int:
    """Rows that gathers and scatters move one by one, those within a fusion included; 0 where there are none."""
    match what.opcode:
        case "gather":
            return math.prod(what.arrays[0].dims) // max(1, math.prod(what.message.gather_slice_sizes))
        case "scatter":
            updates = where.operand(what, len(what.operands) - 1).arrays[0].dims
            within = what.message.scatter_dimension_numbers.update_window_dims
            return math.prod(size for i, size in enumerate(updates) if i not in within)
        case "fusion":
            inner = program.computations[what.called[0]]
            return sum(rows_moved(program, inner, inside) for inside in inner.instructions.values())
    return 0
