"""The time columns of `lst bench patching`: what patching saves of a step's time, by the TPU compiler's own estimate.

Each system is compiled as it is trained, at full depth and with the compiler's full effort, for one device with two rows
of its own recipe. `cost.estimate` says how long a step takes; the rows' real tokens are the mean over the whole run, as
`cost.budget` samples it, so that a curriculum counts with all its parts. Systems that differ in patching alone have one
program. The optimizer is not in the step's time here: this device updates the whole model, which the devices of a run
share.
"""

import dataclasses
import functools
from typing import Any

from jax.sharding import Mesh

from lst_jax.config import Config, PatchingConfig
from lst_jax.core.errors import DataError
from lst_jax.cost import budget, compiler_options, hlo, topology
from lst_jax.cost.accelerators.registry import tpu_of_device
from lst_jax.cost.estimate import OTHER, Estimate, estimate
from lst_jax.cost.kinds import HIDDEN, KERNELS, OPTIMIZER, PARTS, PRODUCTS
from lst_jax.cost.plan import compile_step
from lst_jax.data.patching import Static
from lst_jax.parallel.sharding import one_device
from lst_jax.report import results_file
from lst_jax.step import update

SYSTEMS = {
    "base": "base",
    "static": "LST, static patches of 4",
    "curriculum": "LST, curriculum",
    "bypass-static": "LST, text past the local modules",
}
ROWS = 2  # of the device, as 128 rows of the 1B model on 64 devices
SHAPES_ONLY = PatchingConfig(Static.name, 4, "word", "separate", 0.0, 0, 0, 0.0)  # patching changes no program


def measure(recipes: dict[str, Config], topology_name: str) -> dict[str, Any]:
    """By system: seconds of a step and of a real token without the optimizer, and `by_part` with it.

    Raises: DataError where a step does not fit.
    """
    mesh = one_device(topology.devices(topology_name)[0])
    found = {}
    for name in SYSTEMS:
        estimated = compiled_estimate(program_of(recipes[name]), mesh)
        step_sec = estimated.step_sec - estimated.part_sec(OPTIMIZER)
        tokens = ROWS * real_tokens_per_row(recipes[name])
        found[name] = {
            "step_sec": step_sec,
            "tokens": tokens,
            "sec_per_token": step_sec / tokens,
            "useful_share": estimated.useful_share * estimated.step_sec / step_sec,
            "by_part": estimated.nested(),
            "uncounted_kernels": list(estimated.uncounted_kernels),
        }
    return found


def real_tokens_per_row(config: Config) -> float:
    """The mean over the run."""
    return budget.cost(config).tokens / (config.train.steps * config.data.rows)


def program_of(config: Config) -> Config:
    """The configuration of the program that is compiled: one part of two rows, without what changes no program."""
    data = dataclasses.replace(config.data, rows=ROWS, sources=(), patching=SHAPES_ONLY)
    return dataclasses.replace(
        config, name="", data=data, train=dataclasses.replace(config.train, accumulate=1, steps=1)
    )


@functools.cache
def compiled_estimate(config: Config, mesh: Mesh) -> Estimate:
    """Of the step that is compiled for the mesh's only device. Raises: DataError where it does not fit."""
    model = update.build_model(config, mesh, training_rows=True)
    options, _ = compiler_options.options_of(config.train.compiler_options, mesh.devices.flat[0])
    needed, compiled = compile_step(config, model, mesh, update.state_shape(config, model, mesh), options)
    if compiled is None:
        raise DataError(
            f"data.rows={ROWS}: a step of {ROWS} rows needs {needed / 2**30:.1f} GiB, more than one device has; "
            "give a smaller size, or a topology of larger devices"
        )
    tpu = tpu_of_device(mesh.devices.flat[0].device_kind)
    return estimate(hlo.parse(hlo.serialized(compiled)), tpu, mesh.shape, lambda axes: float("inf"))


def markdown(measured: dict[str, Any]) -> str:
    """The table of the times, and what it holds."""
    parts = [part for part in (*reversed(PARTS.values()), OTHER) if part != OPTIMIZER]
    base = measured["base"]["sec_per_token"]
    rows = []
    for name, found in measured.items():
        by_part = {
            part: sum(seconds for kind, seconds in kinds.items() if kind != HIDDEN)
            for part, kinds in found["by_part"].items()
        }
        rows.append(
            [
                SYSTEMS[name],
                *(f"{1e3 * by_part[part]:.1f}" if part in by_part else "" for part in parts),
                f"{1e3 * found['step_sec']:.1f}",
                f"{found['useful_share']:.2f}",
                f"{1e6 * found['sec_per_token']:.2f}",
                f"{found['sec_per_token'] / base:.3f}",
            ]
        )
    header = ["ms per step", *parts, "all", f"{PRODUCTS} and {KERNELS}", "µs per real token", "of Base"]
    note = (
        f"The time of a step of {ROWS} rows on one device, by the compiler's estimate, at full depth and full effort. "
        "Of a real token it is the step's time over the real tokens of two rows, the mean over a run. The optimizer is "
        "left out: one device updates the whole model here, which the devices of a run share."
    )
    return "\n\n".join([note, results_file.table(header, rows)])
