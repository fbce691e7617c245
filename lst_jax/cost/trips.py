"""How often a loop of a compiled program runs."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from lst_jax.cost.hlo import Computation, Instruction, Program

MOST_TRIPS = 2**40  # a loop found to run longer than this is taken as one that cannot be counted
COMPARE = {"LT": operator.lt, "LE": operator.le, "GT": operator.gt, "GE": operator.ge}  # what stays false once it is
ARITHMETIC = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "and": operator.and_,
    "or": operator.or_,
    "minimum": min,
    "maximum": max,
}
EVALUATED = {*ARITHMETIC, "compare", "fusion", "call", "copy", "bitcast", "convert", "reshape"}


def trip_count(program: Program, caller: Computation, loop: Instruction) -> int | None:
    """How often a `while` runs: what the compiler says, else found from its counter; None where data decides.

    The TPU compiler says nothing. There each number that the condition reads must begin as a constant, and be moved by
    the body by a constant.
    """
    if known := loop.backend.get("known_trip_count"):
        return int(known["n"])
    body, condition = (program.computations[name] for name in loop.called)
    start = caller.operand(loop, 0)
    if start.opcode != "tuple" or body.root.opcode != "tuple":
        return None
    read = _Recorded()
    _value(program, condition, condition.root, (read,))
    state = {i: _value(program, caller, caller.operand(start, i), ()) for i in read.keys_read}
    if None in state.values():
        return None
    step = {}
    for i, value in state.items():
        next_value = body.operand(body.root, i)
        moved, further = (_value(program, body, next_value, (at,)) for at in (state, state | {i: value + 1}))
        if moved is None or further != moved + 1:
            return None
        step[i] = moved - value

    def goes_on(trips: int) -> int | None:
        return _value(program, condition, condition.root, ({i: v + trips * step[i] for i, v in state.items()},))

    return _first_false(goes_on)


def _first_false(goes_on: Callable[[int], int | None]) -> int | None:
    """The least n >= 0 for which `goes_on(n)` is false; it stays false beyond."""
    if goes_on(0) is None:
        return None
    low, high = -1, 1  # true at low, or low is -1
    while goes_on(high):
        low, high = high, 2 * high
        if high > MOST_TRIPS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if goes_on(middle) else (low, middle)
    return high


class _Recorded(dict):
    """A state of which nothing is known, and which remembers what was asked of it."""

    def __init__(self):
        self.keys_read: set[int] = set()

    def get(self, key, default=None):
        self.keys_read.add(key)
        return default


def _value(program: Program, where: Computation, what: Instruction, arguments: tuple[Any, ...]) -> Any:
    """A scalar integer, or a mapping from a tuple's index to those; None where it cannot be known."""
    match what.opcode:
        case "constant":
            return _integer(what)
        case "parameter":
            return arguments[what.message.parameter_number] if arguments else None
        case "get-tuple-element":
            whole = _value(program, where, where.operand(what, 0), arguments)
            return whole.get(what.message.tuple_index) if isinstance(whole, Mapping) else None
    if what.opcode not in EVALUATED or any(a.dims for a in what.arrays):
        return None
    values = [_value(program, where, where.operand(what, i), arguments) for i in range(len(what.operands))]
    match what.opcode:
        case "fusion" | "call":
            inner = program.computations[what.called[0]]
            return _value(program, inner, inner.root, tuple(values))
        case "copy" | "bitcast" | "convert" | "reshape":
            return values[0]
    if None in values:
        return None
    if what.opcode == "compare":
        direction = what.message.comparison_direction
        return int(COMPARE[direction](*values)) if direction in COMPARE else None
    return ARITHMETIC[what.opcode](*values)


def _integer(constant: Instruction) -> int | None:
    """The value of a scalar of 32 or 64 bits."""
    literal = constant.message.literal
    values = [*literal.s32s, *literal.s64s, *literal.u32s, *literal.u64s]
    return values[0] if len(values) == 1 else None
