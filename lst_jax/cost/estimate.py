"""How long a step of a compiled TPU program takes by estimate: seconds by part of the model and kind of work.

The TPU compiler estimates the cycles of nearly every instruction, and writes them beside it. One run costs these cycles
at the chip's clock, times the trips of its loop. What has no estimate is put in by rule:

- a kernel (Pallas), the larger of its FLOPs at `KERNEL_SHARE` of the peak and of its bytes at HBM's bandwidth;
- a scatter or gather, its bytes at that bandwidth and `ROW_SEC` for each row that it moves;
- everything else, its bytes.

Computations run in the order of their schedule, one instruction after the other. Beside them there are one network and
one engine of copies. What was started there costs the time by which its end is waited for: collectives are so split
into a hidden and an exposed part, and prefetches cost nothing where they are early enough.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lst_jax.cost.accelerators.kinds import TpuGeneration
from lst_jax.cost.collectives import DONE, KINDS, OPCODES, Collective, collective, in_steps
from lst_jax.cost.collectives import seconds as network_sec
from lst_jax.cost.hlo import Computation, Instruction, Program
from lst_jax.cost.kernels import PALLAS, kernels_of
from lst_jax.cost.kinds import COPIES, EXPOSED, HIDDEN, USEFUL, WORK, kind_of, part_within, rows_moved
from lst_jax.cost.traffic import in_hbm, instruction_bytes, stored
from lst_jax.cost.trips import trip_count

KERNEL_SHARE = 0.6  # of the peak; splash attention reaches 0.55 to 0.65 of it at heads of 128 in its authors' tables
ROW_SEC = 20e-9  # an index read, an address, one copy issued: an assumption, which nothing here can measure
ROUNDING = 1e-6  # of a transfer's time: a smaller rest is none
OTHER = "other"
SLICES = "between slices"  # what is received ends all that was sent: sends have keys (SLICES, name)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Of one step on one device.

    by_part: (part, kind) -> seconds. All but `HIDDEN` add up to the step's time.
    uncounted_kernels: those of which nothing says the FLOPs, so that only their bytes are charged.
    """

    by_part: Mapping[tuple[str, str], float]
    uncounted_kernels: tuple[str, ...] = ()

    @property
    def step_sec(self) -> float:
        """Compute and what is exposed of the network."""
        return sum((sec for (_, kind), sec in self.by_part.items() if kind != HIDDEN), 0.0)

    @property
    def exposed_sec(self) -> float:
        """The part of the step in which only the network works."""
        return self.kind_sec(EXPOSED)

    def nested(self) -> dict[str, dict[str, float]]:
        """Part -> kind -> seconds, the longest part first, kinds in the order of `kinds.WORK`."""
        parts = sorted({part for part, _ in self.by_part}, key=self.part_sec, reverse=True)
        kinds = [kind for kind in WORK if any(name == kind for _, name in self.by_part)]
        return {
            part: {kind: self.by_part[part, kind] for kind in kinds if (part, kind) in self.by_part} for part in parts
        }

    @property
    def useful_share(self) -> float:
        """The share of the step that is matrix products and attention kernels."""
        return sum(map(self.kind_sec, USEFUL)) / self.step_sec if self.step_sec else 0.0

    def part_sec(self, part: str) -> float:
        """Of one part, without what is hidden."""
        return sum((sec for (name, kind), sec in self.by_part.items() if name == part and kind != HIDDEN), 0.0)

    def kind_sec(self, kind: str) -> float:
        """Of one kind over all parts."""
        return sum((sec for (_, name), sec in self.by_part.items() if name == kind), 0.0)


def estimate(
    program: Program,
    tpu: TpuGeneration,
    mesh_shape: Mapping[str, int],
    bandwidth: Callable[[tuple[str, ...]], float],
) -> Estimate:
    """The estimate of a program compiled for this chip.

    Args: `bandwidth`: bytes per second in a ring over these axes of the mesh, as `links.mesh_bandwidth` gives.
    """
    run = _Run(program, tpu, mesh_shape, bandwidth)
    found = run.computation(program.entry)
    uncounted = sorted({kernel.name for kernel in run.kernels.values() if kernel.flops is None})
    return Estimate(dict(found), tuple(uncounted))


class _Event(NamedTuple):
    """What an instruction does on the network.

    key: of the transfer that it starts or waits for; None of one that is waited for at once. seconds: of the transfer;
    None for the end of one. computes: whether it also does work of its own.
    """

    key: Any
    seconds: float | None
    computes: bool


@dataclasses.dataclass
class _Transfer:
    """One of an engine, from `end - seconds` to `end`; the cores have waited for `exposed` seconds of it so far."""

    part: str | None
    seconds: float
    end: float
    exposed: float = 0.0


class _Engine:
    """What works beside the cores: one transfer after the other."""

    def __init__(self):
        self.free_at = 0.0
        self.under_way: dict[Any, _Transfer] = {}

    def start(self, key: Any, part: str | None, now: float, seconds: float) -> None:
        """Queues a transfer behind those that were started before."""
        self.free_at = max(self.free_at, now) + seconds
        self.under_way[key] = _Transfer(part, seconds, self.free_at)

    def finish(self, key: Any, now: float) -> tuple[_Transfer, list[tuple[str | None, float]]]:
        """Ends a transfer; returns it, and by part what the cores wait until then for it and for those before it."""
        transfer, waits = self.under_way[key], []
        for other in self.under_way.values():
            waited = min(other.end, transfer.end) - max(other.end - other.seconds, now)
            if waited > ROUNDING * other.seconds:
                other.exposed += waited
                waits.append((other.part, waited))
        return self.under_way.pop(key), waits


class _Timeline:
    """The instructions of one computation, one after the other, with their seconds by part and kind."""

    def __init__(self):
        self.now = 0.0
        self.copies, self.network = _Engine(), _Engine()
        self.by_part: collections.Counter[tuple[str | None, str]] = collections.Counter()

    def work(self, part: str | None, kind: str, seconds: float) -> None:
        """The cores work."""
        self.by_part[part, kind] += seconds
        self.now += seconds

    def run(self, found: Mapping[tuple[str, str], float], times: int) -> None:
        """A whole computation runs, so many times."""
        for (part, kind), seconds in found.items():
            self.by_part[part, kind] += times * seconds
            self.now += times * seconds * (kind != HIDDEN)

    def transfer(self, event: _Event, part: str | None) -> None:
        """A transfer over the network begins, ends, or does both."""
        if event.seconds is not None:
            self.network.start(event.key, part, self.now, event.seconds)
        if event.seconds is None or event.key is None:
            sent = [key for key in self.network.under_way if isinstance(key, tuple)] if event.key == SLICES else ()
            for key in sent or (event.key,):
                self.wait(self.network, key, EXPOSED, HIDDEN)

    def wait(self, engine: _Engine, key: Any, exposed: str, hidden: str | None) -> None:
        """The cores wait for a transfer, if there is one; what it took beyond all waiting is hidden."""
        if key not in engine.under_way:
            return
        transfer, waits = engine.finish(key, self.now)
        for part, seconds in waits:
            self.work(part, exposed, seconds)
        rest = transfer.seconds - transfer.exposed
        if hidden and rest > ROUNDING * transfer.seconds:
            self.by_part[transfer.part, hidden] += rest

    def wait_for_all(self) -> None:
        """What nobody waited for ends with the computation."""
        for engine, exposed, hidden in ((self.copies, COPIES, None), (self.network, EXPOSED, HIDDEN)):
            for key in list(engine.under_way):
                self.wait(engine, key, exposed, hidden)

    def attributed(self, default: str | None) -> dict[tuple[str, str], float]:
        """Seconds by part and kind; what has no part goes to `default`, else to the longest part."""
        parts: collections.Counter[str] = collections.Counter()
        for (part, _), seconds in self.by_part.items():
            if part is not None:
                parts[part] += seconds
        rest = default or max(parts, key=parts.__getitem__, default=OTHER)
        found: collections.Counter[tuple[str, str]] = collections.Counter()
        for (part, kind), seconds in self.by_part.items():
            if seconds:
                found[part or rest, kind] += seconds
        return dict(found)


class _Run:
    """Seconds of each computation's one run, found once."""

    def __init__(self, program: Program, tpu: TpuGeneration, mesh_shape, bandwidth):
        self.program, self.tpu, self.mesh_shape, self.bandwidth = program, tpu, mesh_shape, bandwidth
        self.kernels = kernels_of(program)
        self.computation = functools.cache(self._computation)

    def _computation(self, name: str) -> dict[tuple[str, str], float]:
        where = self.program.computations[name]
        timeline = _Timeline()
        for what in where.instructions.values():
            self._instruction(where, what, timeline)
        timeline.wait_for_all()
        return timeline.attributed(OTHER if name == self.program.entry else None)

    def _instruction(self, where: Computation, what: Instruction, timeline: "_Timeline") -> None:
        part = part_within(self.program, what)
        match what.opcode:
            case "while":
                trips = trip_count(self.program, where, what)
                for called in what.called:
                    timeline.run(self.computation(called), 1 if trips is None else trips)
            case "conditional":
                timeline.run(max((self.computation(n) for n in what.called), key=lambda by: sum(by.values())), 1)
            case "call":
                timeline.run(self.computation(what.called[0]), 1)
            case "async-start" if not self._called_event(what):
                timeline.copies.start(what.name, part, timeline.now, self._called_copy_sec(what))
            case "async-done" if _started(where, what) in timeline.copies.under_way:
                timeline.wait(timeline.copies, _started(where, what), COPIES, None)
            case "copy-start":
                timeline.copies.start(what.name, part, timeline.now, self._copy_sec(where, what))
            case "copy-done":
                timeline.wait(timeline.copies, what.operands[0], COPIES, None)
            case _:
                event = self._network_event(where, what)
                if event is None or event.computes:
                    timeline.work(part, kind_of(self.program, what), self._own_sec(where, what))
                if event is not None:
                    timeline.transfer(event, part)

    def _copy_sec(self, where: Computation, what: Instruction) -> float:
        given, result = where.operand(what, 0).arrays, what.arrays[:1]
        return stored(result) * max(in_hbm(given), in_hbm(result)) / self.tpu.device_hbm_bytes_per_sec

    def _called_copy_sec(self, what: Instruction) -> float:
        inner = self.program.computations[what.called[0]]
        moved = sum(instruction_bytes(self.program, inner, inside) for inside in inner.instructions.values())
        return moved / self.tpu.device_hbm_bytes_per_sec

    def _own_sec(self, where: Computation, what: Instruction) -> float:
        """Seconds of one run of an instruction that neither calls computations nor talks to other devices."""
        by_bytes = instruction_bytes(self.program, where, what) / self.tpu.device_hbm_bytes_per_sec
        if what.target == PALLAS:
            flops = self.kernels[what.name].flops or 0.0
            return max(flops / (KERNEL_SHARE * self.tpu.device_flops_per_sec), by_bytes)
        cycles = what.backend.get("window_config", {}).get("estimated_cycles")
        said = float(cycles) / self.tpu.estimated_cycles_per_sec if cycles else 0.0
        if rows := rows_moved(self.program, where, what):
            return max(said, by_bytes + rows * ROW_SEC)
        return said or by_bytes

    def _network_event(self, where: Computation, what: Instruction) -> _Event | None:
        """What an instruction does on the network; None for nothing."""
        if what.opcode == "send":
            found = collective(where, what, False, self.mesh_shape)
            return found and _Event((SLICES, what.name), self._network_sec(found), False)
        if what.opcode == "recv-done":
            return _Event(SLICES, None, False)
        if what.opcode == "async-done" or (what.opcode.endswith("-done") and what.opcode[:-5] in KINDS):
            return _Event(_started(where, what), None, False)
        if what.opcode in OPCODES:
            found = collective(where, what, False, self.mesh_shape)
            return found and _Event(
                what.name if what.opcode.endswith("-start") else None, self._network_sec(found), False
            )
        if what.opcode in ("async-start", "fusion"):
            return self._called_event(what)
        return None

    def _called_event(self, what: Instruction) -> _Event | None:
        """Of a fusion, or of what runs asynchronously, with a collective within."""
        inner, fused = self.program.computations[what.called[0]], what.opcode == "fusion"
        for inside in inner.instructions.values():
            if inside.opcode not in OPCODES:
                continue
            found = collective(inner, inside, fused, self.mesh_shape)
            if not fused:
                return found and _Event(what.name, self._network_sec(found), False)
            if not in_steps(inside):
                return found and _Event(None, self._network_sec(found), False)
            key = inside.message.channel_id
            if found:
                return _Event(key, self._network_sec(found), True)
            ends = any(other.target == DONE for other in inner.instructions.values())
            return _Event(key, None, True) if ends else None
        return None

    def _network_sec(self, found: Collective) -> float:
        return network_sec(found, self.bandwidth(found.axes))


def _started(where: Computation, what: Instruction) -> str:
    """The name of the instruction that began what this one ends."""
    while what.opcode.endswith(("-done", "-update")):
        what = where.operand(what, 0)
    return what.name
