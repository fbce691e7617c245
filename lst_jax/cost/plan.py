"""What a recipe's training step needs on a topology of TPUs, and what that makes of the whole run.

The step is compiled by libtpu's own compiler for devices that are only described. Memory is what the compiler says it
needs; FLOPs, traffic and collectives are counted in the compiled program (`cost.program`). The floors are those of a
perfect overlap: a step takes at least as long as its arithmetic at the chip's peak, as its traffic at HBM's bandwidth,
and as its collectives on the links that they span. So is the MFU a bound: what nothing but the program forbids.
"""

import dataclasses
import functools
import re
import time
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from lst_jax.config import Config, config_hash
from lst_jax.cost import budget, collectives, hlo, links, topology
from lst_jax.cost.accelerators.kinds import TpuGeneration
from lst_jax.cost.accelerators.registry import tpu_of_device
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
    kernel_flops: float
    bytes_accessed: float
    kernels: dict[str, int]  # name -> calls
    collective_bytes: dict[str, float]  # "kind over axes" -> bytes of whole arrays
    largest_collective: int  # bytes of the whole array
    largest_parameter: int  # bytes, in the type in which it is gathered
    floors_sec: dict[str, float]  # arithmetic, memory, network
    mfu: float  # at most
    tokens: float  # real ones of a step
    units: float
    steps: int
    checkpoint_bytes: int
    compile_sec: float

    @property
    def fits(self) -> bool:
        """Whether a device has the memory."""
        return self.hbm_bytes <= self.hbm_capacity

    @property
    def step_sec(self) -> float:
        """At least."""
        return max(self.floors_sec.values(), default=0.0)

    @property
    def chip_hours(self) -> float:
        """Of the whole run, at least."""
        return self.steps * self.step_sec * self.chips / 3600

    def to_mapping(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return dataclasses.asdict(self) | {"fits": self.fits, "step_sec": self.step_sec, "chip_hours": self.chip_hours}


def make_plan(reference: str, config: Config, topology_name: str, slices: int, quick: bool = False) -> Plan:
    """Compiles the step of `config`, whose recipe is `reference`; `quick`: with the compiler's least effort.

    Raises: ConfigError where the topology or the mesh is not one, or the recipe does not divide over it.
    """
    devices = topology.devices(topology_name, slices)
    mesh = sharding.make_mesh(config.mesh, devices)
    sharding.check(config, mesh)
    tpu = tpu_of_device(devices[0].device_kind)
    model = update.build_model(config, mesh, config.data.row_speech_tokens)
    state = update.state_shape(config, model, mesh)
    began = time.monotonic()
    memory, costs = compile_step(config, model, mesh, state, topology.QUICKLY if quick else {})
    compile_sec = time.monotonic() - began
    holds = batch_holds(batch_shape(config))
    analytic = sum(model_flops(config.model, config.joint_vocab, holds).values())
    floors = floors_sec(costs, tpu, mesh) if costs is not None else {}
    costs = costs or Costs()
    bound = max(floors.values(), default=0.0)
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
        kernel_flops=costs.kernel_flops,
        bytes_accessed=costs.bytes_accessed,
        kernels=_calls(costs),
        collective_bytes={
            f"{kind} over {', '.join(axes) or 'nothing'}": total
            for (kind, axes), total in collectives.totals(costs.collectives).items()
        },
        largest_collective=max((c.bytes for c in costs.collectives), default=0),
        largest_parameter=max(gathered * max(sizes.values()), 4 * embeddings),  # tables are gathered in float32
        floors_sec=floors,
        mfu=analytic / (len(devices) * tpu.device_flops_per_sec * bound) if bound else 0.0,
        tokens=holds["tokens"],
        units=holds["units"],
        steps=config.train.steps,
        checkpoint_bytes=4 * sum(sizes.values()) + make_optimizer(config.optim, mesh).state_bytes(state.params),
        compile_sec=compile_sec,
    )


def compile_step(
    config: Config, model: Any, mesh: Mesh, state: update.TrainState, options: dict[str, Any]
) -> tuple[int, Costs | None]:
    """Bytes of HBM that the compiled step needs, and its costs; of one that does not fit the bytes alone."""
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
    memory = compiled.memory_analysis()
    return memory.peak_memory_in_bytes, program_costs(hlo.parse(hlo.serialized(compiled)), mesh.shape)


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

    @functools.cache
    def bandwidth(axes: tuple[str, ...]) -> float:
        return links.mesh_bandwidth(mesh, axes) if axes else float("inf")

    network = collectives.total_seconds(costs.collectives, bandwidth)
    return {
        "arithmetic": (costs.flops + costs.kernel_flops) / tpu.device_flops_per_sec,
        "memory": costs.bytes_accessed / tpu.device_hbm_bytes_per_sec,
        "network": sum(network.values()),
    }


def _calls(costs: Costs) -> dict[str, int]:
    found: dict[str, int] = {}
    for kernel in costs.kernels:
        found[kernel.name] = found.get(kernel.name, 0) + kernel.count
    return found
