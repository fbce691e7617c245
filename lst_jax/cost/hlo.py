"""A compiled program as computations of instructions, read from the module's protocol buffer.

Only what costs are read from: names, shapes as they lie in memory, operands, called computations, and what the backend
says of an instruction.
"""

import functools
import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from lst_jax.cost.hlo_proto import ELEMENT_TYPES, TUPLE, Module

ITEM_BITS = {"pred": 8, "token": 0, "opaque": 0, "c64": 64, "c128": 128}  # what its name does not say


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
    """One instruction. `arrays` is its result, the arrays of a tuple one after the other.

    called: names of computations; of a `while` its body, then its condition.
    message: the `HloInstructionProto`, for what only some opcodes have.
    """

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    called: tuple[str, ...]
    message: Any

    @property
    def target(self) -> str:
        """Of a custom call: what it calls, such as "tpu_custom_call" for a Pallas kernel."""
        return self.message.custom_call_target

    @property
    def op_name(self) -> str:
        """The traced function's path, such as "jit(step)/transpose(jvp(model))/decoder/dot_general"."""
        return self.message.metadata.op_name

    @property
    def backend(self) -> dict[str, Any]:
        """What the backend says of it; {} where it says nothing."""
        return _backend(self.message.backend_config)

    @property
    def attributes(self) -> dict[str, str]:
        """Its frontend attributes."""
        return {entry.key: entry.value for entry in self.message.frontend_attributes.map}


class Computation(NamedTuple):
    """Instructions by name, in the order in which they are scheduled; in a fusion, operands first."""

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


def serialized(compiled: Any) -> bytes:
    """The module of what `jax.stages.Lowered.compile` returned, for `parse`."""
    return compiled.runtime_executable().hlo_modules()[0].as_serialized_hlo_module_proto()


def parse(module: bytes) -> Program:
    """The program of a serialized `HloModuleProto`."""
    message = Module.FromString(module)
    names = {computation.id: computation.name for computation in message.computations}
    order = {entry.key: list(entry.value.instruction_ids) for entry in message.schedule.sequences}
    computations = {c.name: _computation(c, names, order.get(c.id)) for c in message.computations}
    return Program(computations, names[message.entry_computation_id])


def _computation(message: Any, computations: dict[int, str], order: list[int] | None) -> Computation:
    of_id = {instruction.id: instruction for instruction in message.instructions}
    instructions = {}
    for key in order or of_id:
        found = of_id[key]
        instructions[found.name] = Instruction(
            found.name,
            found.opcode,
            tuple(_arrays(found.shape)),
            tuple(of_id[operand].name for operand in found.operand_ids),
            tuple(computations[called] for called in found.called_computation_ids),
            found,
        )
    return Computation(message.name, instructions, instructions[of_id[message.root_id].name])


def _arrays(shape: Any) -> Iterator[Array]:
    if shape.element_type == TUPLE:
        for part in shape.tuple_shapes:
            yield from _arrays(part)
        return
    layout = shape.layout
    yield Array(
        ELEMENT_TYPES[shape.element_type],
        tuple(shape.dimensions),
        tuple(layout.minor_to_major),
        tuple(layout.tiles[0].dimensions) if layout.tiles else (),
        layout.memory_space,
    )


@functools.cache
def item_bits(dtype: str) -> int:
    """Bits of one element. Example: "bf16" -> 16, "f8e4m3fn" -> 8, "pred" -> 8"""
    return ITEM_BITS[dtype] if dtype in ITEM_BITS else int(re.match(r"[a-z]+(\d+)", dtype)[1])


@functools.lru_cache(4096)
def _backend(config: bytes) -> dict[str, Any]:
    return json.loads(config) if config.startswith(b"{") else {}
