"""HLO text, as `compiled.as_text()` gives it, as computations of instructions; and how often a loop runs.

Only what costs are read from: names, shapes as they lie in memory, operands, called computations. Everything else of an
instruction stays text until somebody asks for it, so that a program of tens of MB is read in seconds.
"""

import functools
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

ITEM_BITS = {"pred": 8, "token": 0, "opaque": 0, "c64": 64, "c128": 128}  # what its name does not say
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](?:\{([\d,]*)([^{}]*)\})?")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = (.+?) ([a-z][\w\-]*)\(")
_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_NAME = re.compile(r"%([\w.\-]+)")
_PARENTHESIS = re.compile(r"[()]")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
MOST_TRIPS = 2**40  # a loop found to run longer than this is taken as one that cannot be counted


class Array(NamedTuple):
    """One array of a type: its shape, and how it lies in memory."""

    dtype: str
    dims: tuple[int, ...]
    minor_to_major: tuple[int, ...]
    tile: tuple[int, ...]  # the first tile of a TPU layout, over the most minor dimensions; () is none
    space: int  # memory space: 0 is the device's main memory (HBM), 5 the host's, others are on the chip

    @property
    def bytes(self) -> int:
        """Of the elements alone."""
        return math.prod(self.dims) * item_bits(self.dtype) // 8

    @property
    def stored_bytes(self) -> int:
        """With the padding to whole tiles."""
        dims = list(self.dims)
        for dim, tile in zip(self.minor_to_major, reversed(self.tile), strict=False):
            dims[dim] = -(-dims[dim] // tile) * tile
        return math.prod(dims) * item_bits(self.dtype) // 8


class Instruction(NamedTuple):
    """`name = type opcode(operands), attributes`; `literal` is what stands for operands where there are none."""

    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    literal: str
    attributes: str

    @property
    def arrays(self) -> tuple[Array, ...]:
        """Its result, the arrays of a tuple one after the other."""
        return arrays(self.type)

    def attribute(self, name: str) -> str | None:
        """The value of `name=value`, up to a comma or a space; None where there is none."""
        found = re.search(rf"\b{name}=([^,\s]+)", self.attributes)
        return found and found[1]

    def called(self, *names: str) -> list[str]:
        """Computations in these attributes, such as `calls` or `branch_computations`."""
        found = re.findall(rf"\b(?:{'|'.join(names)})=(\{{[^}}]*\}}|%?[\w.\-]+)", self.attributes)
        return [name.strip(" %") for names in found for name in names.strip("{}").split(",")]

    def integers(self, name: str) -> tuple[int, ...]:
        """The value of `name={1,2}`; () where there is none."""
        found = re.search(rf"\b{name}=\{{([\d,]*)\}}", self.attributes)
        return _integers(found[1]) if found else ()


class Computation(NamedTuple):
    """Instructions by name, in their order."""

    name: str
    instructions: dict[str, Instruction]
    root: Instruction

    def operand(self, instruction: Instruction, index: int) -> Instruction:
        """The instruction that makes an operand."""
        return self.instructions[instruction.operands[index]]

    def users(self) -> dict[str, list[tuple[Instruction, int]]]:
        """Of each instruction the instructions that read it, and as which operand."""
        found: dict[str, list[tuple[Instruction, int]]] = {name: [] for name in self.instructions}
        for instruction in self.instructions.values():
            for index, name in enumerate(instruction.operands):
                found[name].append((instruction, index))
        return found


class Program(NamedTuple):
    """Computations by name, and the name of the one that is run."""

    computations: dict[str, Computation]
    entry: str


@functools.lru_cache(4096)
def arrays(type_text: str) -> tuple[Array, ...]:
    """The arrays of a type.

    Example: "(f32[2,3]{1,0:T(8,128)S(1)}, token[])" -> (Array("f32", (2, 3), (1, 0), (8, 128), 1), Array("token", ...))
    """
    return tuple(_array(*match) for match in _ARRAY.findall(type_text))


def _array(dtype: str, dims: str, minor_to_major: str, rest: str) -> Array:
    tile, space = re.search(r"T\(([\d,]+)\)", rest), re.search(r"S\((\d+)\)", rest)
    return Array(
        dtype,
        _integers(dims.replace("<=", "")),
        _integers(minor_to_major),
        _integers(tile[1]) if tile else (),
        int(space[1]) if space else 0,
    )


def _integers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(","))) if text else ()


@functools.cache
def item_bits(dtype: str) -> int:
    """Bits of one element. Example: "bf16" -> 16, "f8e4m3fn" -> 8, "pred" -> 8"""
    return ITEM_BITS[dtype] if dtype in ITEM_BITS else int(re.match(r"[a-z]+(\d+)", dtype)[1])


def parse(text: str) -> Program:
    """The program of a module's text."""
    computations, entry, name = {}, "", ""
    instructions: dict[str, Instruction] = {}
    root = None
    for line in _logical_lines(text):
        if line.startswith("}"):
            computations[name] = Computation(name, instructions, root)
            instructions, name = {}, ""
        elif name:
            instruction, is_root = _instruction(line)
            instructions[instruction.name] = instruction
            root = instruction if is_root else root
        elif header := _COMPUTATION.match(line):
            name = header[2]
            entry = name if header[1] else entry
    return Program(computations, entry)


def _logical_lines(text: str) -> Iterator[str]:
    """Lines, each with those that attributes broken by line ends (kernel metadata) continue on."""
    whole = ""
    for line in text.split("\n"):
        if line == "}" or line.startswith(("  %", "  ROOT ", "%", "ENTRY ", "}, execution_thread")):
            yield whole
            whole = line
        elif not whole.startswith("}"):
            whole += line
    yield whole


def _instruction(line: str) -> tuple[Instruction, bool]:
    match = _INSTRUCTION.match(line)
    assert match, f"not an instruction: {line[:200]}"
    depth, end = 1, match.end()
    for parenthesis in _PARENTHESIS.finditer(line, match.end()):
        depth += 1 if parenthesis[0] == "(" else -1
        if not depth:
            end = parenthesis.start()
            break
    inside = line[match.end() : end]
    operands = tuple(_NAME.findall(inside))
    literal = "" if operands else inside
    return Instruction(match[2], match[3], match[4], operands, literal, line[end + 1 :]), bool(match[1])


def trip_count(program: Program, caller: Computation, loop: Instruction) -> int | None:
    """How often a `while` runs: what the compiler says, else found from its counter; None where data decides.

    The TPU compiler's text has no counts. There each number that the condition reads must begin as a constant, and be
    moved by the body by a constant.
    """
    if known := _TRIPS.search(loop.attributes):
        return int(known[1])
    condition, body = (program.computations[loop.called(name)[0]] for name in ("condition", "body"))
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


def _value(program: Program, where: Computation, what: Instruction, arguments: tuple[Any, ...]) -> Any:
    """A scalar integer, or a mapping from a tuple's index to those; None where it cannot be known."""
    match what.opcode:
        case "constant":
            return _integer(what.literal)
        case "parameter":
            return arguments[int(what.literal)] if arguments else None
        case "get-tuple-element":
            whole = _value(program, where, where.operand(what, 0), arguments)
            return whole.get(int(what.attribute("index"))) if isinstance(whole, Mapping) else None
    if what.opcode not in EVALUATED or any(a.dims for a in what.arrays):
        return None
    values = [_value(program, where, where.operand(what, i), arguments) for i in range(len(what.operands))]
    match what.opcode:
        case "fusion" | "call":
            inner = program.computations[what.called("calls", "to_apply")[0]]
            return _value(program, inner, inner.root, tuple(values))
        case "copy" | "bitcast" | "convert" | "reshape":
            return values[0]
    if None in values:
        return None
    if what.opcode == "compare":
        direction = what.attribute("direction")
        return int(COMPARE[direction](*values)) if direction in COMPARE else None
    return ARITHMETIC[what.opcode](*values)


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?\d+", text) else None
