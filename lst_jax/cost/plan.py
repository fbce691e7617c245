"""What a recipe's training step needs on a topology of TPUs, and what that makes of the whole run.

The step is compiled by libtpu's own compiler for devices that are only described. Memory is what the compiler says it
needs; FLOPs, traffic and collectives are counted in the compiled program (`cost.program`). The step's time and MFU are
the compiler's own estimate and what is exposed of the network (`cost.estimate`). Beside them stands a bound, that of a
perfect overlap: a step takes at least as long as its arithmetic at the chip's peak, as its traffic at HBM's bandwidth,
and as its collectives on the links that they span.
"""

import dataclasses
import functools
import re
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from lst_jax.config import Config, config_hash
from lst_jax.cost import budget, collectives, compiler_options, hlo, links, topology
from lst_jax.cost.accelerators.kinds import TpuGeneration
from lst_jax.cost.accelerators.registry import tpu_of_device
from lst_jax.cost.estimate import Estimate, estimate
from lst_jax.cost.flops import model_flops
from lst_jax.cost.program import Costs, program_costs
from lst_jax.data.rows import BATCH_TYPES, Batch
from lst_jax.parallel import sharding
from lst_jax.step import update
from lst_jax.step.optimizers.registry import make_optimizer

SAMPLED_ROWS = 64  # enough rows to know how many tokens and patches a batch holds
# the compiler's two ways to say what is needed
DOES_NOT_FIT = re.compile(r"(?:Used |required for HLO temporaries \()([\d.]+)([KMG])")
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


@dataclasses.dataclass(frozen=True)
class Plan:
    """Of one recipe on one topology. Bytes and FLOPs are of one device and one step, except where it says otherwise."""

    recipe: str
    config_hash: str
    topology: str  # of a slice
    slices: int
    devices: int
    chips: int
    mesh: dict[str, int]  # axis -> parts
    rows: int  # of the whole batch
    accumulate: int
    remat: str
    parameters: dict[str, int]  # network -> count, of the whole model
    state_bytes: dict[str, int]  # network -> parameters and moments
    hbm_bytes: int  # at most, at one time
    hbm_capacity: int
    analytic_flops: float  # of the whole batch: real tokens, visible pairs
    matrix_flops: float
    eight_bit_flops: float  # of `matrix_flops`, those with operands in 8 bits
    kernel_flops: float
    bytes_accessed: float
    kernels: dict[str, int]  # name -> calls
    collective_bytes: dict[str, float]  # "kind over axes" -> bytes of whole arrays
    collective_sec: dict[str, float]  # likewise, seconds on the links that they span
    largest_collective: int  # bytes of the whole array
    largest_parameter: int  # bytes, in the type in which it is gathered
    estimate_sec: dict[str, dict[str, float]]  # part of the model -> kind of work -> seconds
    uncounted_kernels: list[str]  # those whose FLOPs nothing says; the estimate has their bytes alone
    floors_sec: dict[str, float]  # arithmetic, memory, network
    peak_flops: float  # of all devices, per second
    tokens: float  # real ones of a step
    units: float
    steps: int
    checkpoint_bytes: int
    compiler_options: dict[str, bool | str]  # of XLA, as the step is trained with
    refused_options: list[str]  # a line about each that this compiler does not know
    compile_sec: float

    @property
    def fits(self) -> bool:
        """Whether a device has the memory."""
        return self.hbm_bytes <= self.hbm_capacity

    @property
    def estimate(self) -> Estimate:
        """The step by part and kind."""
        return Estimate(
            {(part, kind): sec for part, kinds in self.estimate_sec.items() for kind, sec in kinds.items()},
            tuple(self.uncounted_kernels),
        )

    @property
    def step_sec(self) -> float:
        """By estimate: what is computed, and what is exposed of the network."""
        return self.estimate.step_sec

    @property
    def bound_sec(self) -> float:
        """At least."""
        return max(self.floors_sec.values(), default=0.0)

    @property
    def mfu(self) -> float:
        """By estimate."""
        return self._mfu(self.step_sec)

    @property
    def mfu_bound(self) -> float:
        """At most."""
        return self._mfu(self.bound_sec)

    def _mfu(self, seconds: float) -> float:
        return self.analytic_flops / (self.peak_flops * seconds) if seconds else 0.0

    @property
    def chip_hours(self) -> float:
        """Of the whole run, by estimate."""
        return self.steps * self.step_sec * self.chips / 3600

    def to_mapping(self) -> dict[str, Any]:
        """Everything, for JSON."""
        derived = ("fits", "step_sec", "bound_sec", "mfu", "mfu_bound", "chip_hours")
        return dataclasses.asdict(self) | {name: getattr(self, name) for name in derived}


def make_plan(
    reference: str,
    config: Config,
    topology_name: str,
    slices: int,
    quick: bool = False,
    keep: Callable[[Any, Config], None] | None = None,
) -> Plan:
    """Compiles the step of `config`, whose recipe is `reference`.

    Args: `quick`: with the compiler's least effort. `keep`: is given what was compiled, of a step that fits.
    Raises: ConfigError where the topology or the mesh is not one, or the recipe does not divide over it.
    """
    devices = topology.devices(topology_name, slices)
    mesh = sharding.make_mesh(config.mesh, devices)
    config = sharding.in_parts(config, mesh)
    tpu = tpu_of_device(devices[0].device_kind)
    model = update.build_model(config, mesh, training_rows=True)
    state = update.state_shape(config, model, mesh)
    options, refused = compiler_options.options_of(config.train.compiler_options, devices[0])
    began = time.monotonic()
    memory, compiled = compile_step(config, model, mesh, state, options | (topology.QUICKLY if quick else {}))
    compile_sec = time.monotonic() - began
    program = compiled and hlo.parse(hlo.serialized(compiled))
    if compiled and keep:
        keep(compiled, config)
    costs = program_costs(program, mesh.shape) if program else Costs()
    estimated = estimate(program, tpu, mesh.shape, _bandwidth(mesh)) if program else Estimate({})
    holds = batch_holds(batch_shape(config))
    analytic = sum(model_flops(config.model, config.joint_vocab, holds).values())
    gathered = 2 if config.model.compute_dtype == "bfloat16" else 4
    held = jax.tree_util.tree_flatten_with_path((state.params, state.opt_state))[0]
    sizes = {path: leaf.size for path, leaf in jax.tree_util.tree_flatten_with_path(state.params)[0]}
    embeddings = max(size for path, size in sizes.items() if path[-1].key == "embedding")
    return Plan(
        recipe=reference,
        config_hash=config_hash(config),
        topology=topology_name,
        slices=slices,
        devices=len(devices),
        chips=len(devices) // tpu.devices_per_chip,
        mesh=dict(mesh.shape),
        rows=config.data.rows,
        accumulate=config.train.accumulate,
        remat=config.model.remat,
        parameters={name: sum(x.size for x in jax.tree.leaves(part)) for name, part in state.params.items()},
        state_bytes={
            name: held_bytes([leaf for path, leaf in held if jax.tree_util.DictKey(name) in path])
            for name in state.params
        },
        hbm_bytes=memory,
        hbm_capacity=int(tpu.hbm_bytes_per_device),
        analytic_flops=analytic,
        matrix_flops=costs.flops,
        eight_bit_flops=costs.int8_flops + costs.fp8_flops,
        kernel_flops=costs.kernel_flops,
        bytes_accessed=costs.bytes_accessed,
        kernels=_calls(costs),
        collective_bytes=_by_words(collectives.totals(costs.collectives)),
        collective_sec=_by_words(collectives.total_seconds(costs.collectives, _bandwidth(mesh))),
        largest_collective=max((c.bytes for c in costs.collectives), default=0),
        largest_parameter=max(gathered * max(sizes.values()), 4 * embeddings),  # tables are gathered in float32
        estimate_sec=estimated.nested(),
        uncounted_kernels=list(estimated.uncounted_kernels),
        floors_sec=floors_sec(costs, tpu, mesh) if program else {},
        peak_flops=len(devices) * tpu.device_flops_per_sec,
        tokens=holds["tokens"],
        units=holds["units"],
        steps=config.train.steps,
        checkpoint_bytes=4 * sum(sizes.values()) + make_optimizer(config.optim, mesh).state_bytes(state.params),
        compiler_options=options,
        refused_options=refused,
        compile_sec=compile_sec,
    )


def compile_step(
    config: Config, model: Any, mesh: Mesh, state: update.TrainState, options: dict[str, Any]
) -> tuple[int, Any]:
    """Bytes of HBM that the compiled step needs, and what was compiled; of one that does not fit the bytes alone."""
    rows = sharding.batch_sharding(mesh)
    shape = (config.data.rows, config.data.row_tokens)
    batch = Batch(*(jax.ShapeDtypeStruct(shape, kind, sharding=rows) for kind in BATCH_TYPES))
    numbers = update.numbers_of(config)
    try:
        compiled = (
            update.make_train_step(config, model, mesh).lower(state, batch, numbers).compile(compiler_options=options)
        )
    except jax.errors.JaxRuntimeError as error:
        needed = DOES_NOT_FIT.search(str(error))
        if needed is None:
            raise
        return int(float(needed[1]) * UNITS[needed[2]]), None
    return compiled.memory_analysis().peak_memory_in_bytes, compiled


def held_bytes(tree: Any) -> int:
    """Bytes that one device holds of the arrays of a tree, by their shardings."""
    return sum(int(np.prod(x.sharding.shard_shape(x.shape))) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def batch_shape(config: Config) -> Config:
    """The recipe without the fields that change the compiled program alone, not what a batch holds."""
    return dataclasses.replace(
        config,
        name="",
        train=dataclasses.replace(config.train, accumulate=1),
        model=dataclasses.replace(config.model, remat="none"),
    )


@functools.cache
def batch_holds(config: Config) -> dict[str, float]:
    """What the first batch holds (`cost.flops.model_flops`): of the recipe's records, else made-up ones."""
    rows = min(config.data.rows, SAMPLED_ROWS)
    ((stats,), _) = budget.sample(config, [0], rows)
    return {key: int(value) * config.data.rows / rows for key, value in stats.items() if np.ndim(value) == 0}


def floors_sec(costs: Costs, tpu: TpuGeneration, mesh: Mesh) -> dict[str, float]:
    """Seconds that a step takes at least, by what bounds it; collectives run one after the other."""
    network = collectives.total_seconds(costs.collectives, _bandwidth(mesh))
    wide = costs.flops - costs.int8_flops - costs.fp8_flops + costs.kernel_flops
    return {
        "arithmetic": wide / tpu.device_flops_per_sec
        + costs.int8_flops / tpu.device_int8_flops_per_sec
        + costs.fp8_flops / tpu.device_fp8_flops_per_sec,
        "memory": costs.bytes_accessed / tpu.device_hbm_bytes_per_sec,
        "network": sum(network.values()),
    }


def _bandwidth(mesh: Mesh) -> Callable[[tuple[str, ...]], float]:
    """Bytes per second in a ring over axes of the mesh."""
    return functools.cache(lambda axes: links.mesh_bandwidth(mesh, axes) if axes else float("inf"))


def _by_words(found: dict[tuple[str, tuple[str, ...]], float]) -> dict[str, float]:
    return {f"{kind} over {', '.join(axes) or 'nothing'}": total for (kind, axes), total in found.items()}


def _calls(costs: Costs) -> dict[str, int]:
    found: dict[str, int] = {}
    for kernel in costs.kernels:
        found[kernel.name] = found.get(kernel.name, 0) + kernel.count
    return found
