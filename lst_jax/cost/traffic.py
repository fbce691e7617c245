"""Bytes that a compiled program moves to and from a device's main memory (HBM).

The rules of XLA's HloCostAnalysis: an instruction reads its operands and writes its result, a fusion those of the
whole; of what is only sliced the slice is read, and of what is updated in place the update alone is touched. Unlike
there, arrays that the compiler keeps on the chip cost nothing, and the others what they take in memory, with the
padding of their tiles.
"""

from collections.abc import Sequence

from lst_jax.cost.collectives import OPCODES, Collective, in_steps
from lst_jax.cost.hlo import Array, Computation, Instruction, Program

FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "while",
    "call",
    "conditional",
    "after-all",
    "opt-barrier",
    "add-dependency",
    "domain",
    "partition-id",
    "replica-id",
    "send",
    "recv",
}
FREE_CUSTOM_CALLS = {
    "AllocateBuffer",
    "ConcatBitcast",
    "AsyncCollectiveStart",
    "AsyncCollectiveDone",
    "SliceId",
    "PrepareAsyncCallStart",
    "PrepareAsyncCallDone",
    "Sharding",
}
SLICING = ("slice", "dynamic-slice", "gather")  # read as much as they give
IN_PLACE = {"dynamic-update-slice": 1, "scatter": 2}  # write as much as this operand holds, into operand 0
HBM = 0


def instruction_bytes(program: Program, where: Computation, what: Instruction) -> float:
    """Of an instruction that is not within a fusion; without what it calls, and without collectives."""
    if what.opcode == "fusion":
        inner = program.computations[what.called[0]]
        return _fusion_reads(program, where, what, inner) + _fusion_writes(what, inner)
    if what.opcode in FREE or what.opcode in OPCODES or what.opcode.startswith("async-"):
        return 0.0
    if what.opcode.endswith("-done"):
        return 0.0
    if what.opcode == "custom-call" and what.target in FREE_CUSTOM_CALLS:
        return 0.0
    opcode = what.opcode.removesuffix("-start")
    given = where.operand(what, 0).arrays if what.operands else ()
    if opcode == "copy" or opcode in SLICING:
        result = what.arrays[:1]
        return stored(result) * (in_hbm(given) + in_hbm(result))
    if opcode in IN_PLACE:
        update = where.operand(what, IN_PLACE[opcode]).arrays
        return stored_in_hbm(update) + stored(update) * in_hbm(given)
    return stored_in_hbm(what.arrays) + _operands(where, what)


def collective_bytes(where: Computation, what: Instruction, found: Collective) -> float:
    """Of a collective, which reads its part and writes the whole or the other way round."""
    written = {"all-gather": found.group, "reduce-scatter": 1 / found.group}.get(found.kind, 1.0)
    return _operands(where, what) * (1 + written)


def stored(arrays: Sequence[Array]) -> float:
    """Bytes that arrays take in memory, whichever it is."""
    return float(sum(a.stored_bytes for a in arrays))


def stored_in_hbm(arrays: Sequence[Array]) -> float:
    """The same, of those that lie in main memory."""
    return stored([a for a in arrays if a.space == HBM])


def in_hbm(arrays: Sequence[Array]) -> bool:
    """Whether the first of them lies in main memory."""
    return bool(arrays) and arrays[0].space == HBM


def _operands(where: Computation, what: Instruction) -> float:
    return float(sum(stored_in_hbm(where.operand(what, i).arrays) for i in range(len(what.operands))))


def _fusion_reads(program: Program, where: Computation, what: Instruction, inner: Computation) -> float:
    users, total = inner.users(), 0.0
    for parameter in inner.instructions.values():
        if parameter.opcode == "parameter":
            whole = stored_in_hbm(where.operand(what, parameter.message.parameter_number).arrays)
            total += min(whole, _reads(program, inner, users, parameter)) if whole else 0.0
    return total


def _reads(program: Program, inner: Computation, users: dict, value: Instruction, nested: bool = False) -> float:
    """Bytes that a fusion reads of a value it is given: of a slice the slice, of all else the whole, once.

    Args: `nested`: `inner` is a fusion in a fusion, so that what it gives is read by the outer one.
    """
    total, whole = 0.0, nested and value is inner.root
    for user, index in users[value.name]:
        if user.opcode in SLICING and index == 0:
            total += stored(user.arrays)
        elif user.opcode in ("bitcast", "get-tuple-element"):
            total += _reads(program, inner, users, user, nested)
        elif user.opcode == "fusion":
            deeper = program.computations[user.called[0]]
            inside = deeper.instructions.values()
            given = next(p for p in inside if p.opcode == "parameter" and p.message.parameter_number == index)
            total += _reads(program, deeper, deeper.users(), given, True)
        else:
            passed_on = user is inner.root and user.opcode == "tuple" and not nested
            in_place = user.opcode in IN_PLACE and index == 0
            whole |= not (passed_on or in_place or in_steps(user))
    return stored(value.arrays) if whole else total


def _fusion_writes(what: Instruction, inner: Computation) -> float:
    if inner.root.opcode != "tuple":
        return _writes(inner, inner.root, what.arrays)
    results = [inner.operand(inner.root, i) for i in range(len(inner.root.operands))]
    if len(results) != len(what.arrays):  # tuples in a tuple
        return stored_in_hbm(what.arrays)
    return float(sum(_writes(inner, result, (array,)) for result, array in zip(results, what.arrays, strict=True)))


def _writes(inner: Computation, result: Instruction, given: Sequence[Array]) -> float:
    """Bytes that a fusion writes of a result that lies as `given`: of one updated in place the update."""
    while result.opcode == "bitcast":
        result = inner.operand(result, 0)
    if result.opcode == "parameter" or in_steps(result):
        return 0.0
    if result.opcode in IN_PLACE:
        return stored(inner.operand(result, IN_PLACE[result.opcode]).arrays) if stored_in_hbm(given) else 0.0
    return stored_in_hbm(given)
