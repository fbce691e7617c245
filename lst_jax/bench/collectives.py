"""`lst bench collectives`: how much of the network's time a compiled step hides, with and without the chip's options.

A recipe's step is planned twice for one topology (`cost.plan`): as XLA compiles it by default, and with the options of
the chip (`cost.compiler_options`), as it is trained.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from lst_jax.config import Config
from lst_jax.core.errors import DataError
from lst_jax.cost import plan_text
from lst_jax.cost.compiler_options import in_words
from lst_jax.cost.kinds import HIDDEN
from lst_jax.cost.plan import Plan, make_plan
from lst_jax.report import results_file

PACKAGES = ("jax", "jaxlib", "libtpu", "flax")
GIB = 2**30
OPTIONS = {"XLA's own": "", "the chip's": None}  # what is said of them -> train.compiler_options


def measure(reference: str, config: Config, topology: str, make: Callable[..., Plan] = make_plan) -> dict[str, Any]:
    """Figures of both steps. Args: `make` compiles one. Raises: DataError where a step does not fit."""
    found: dict[str, Any] = {"steps": {}}
    for name, options in OPTIONS.items():
        train = dataclasses.replace(config.train, compiler_options=options)
        plan = make(reference, dataclasses.replace(config, train=train), topology, 1)
        if not plan.fits:
            raise DataError(f"{reference} on {topology}: {plan_text.verdict(plan)}")
        found["steps"][name] = _step(plan)
        found |= {"mesh": list(plan.mesh.values()), "remat": plan.remat, "accumulate": plan.accumulate}
    return found


def _step(plan: Plan) -> dict[str, Any]:
    exposed = plan.estimate.exposed_sec
    return {
        "step_sec": plan.step_sec,
        "exposed_sec": exposed,
        "network_sec": exposed + plan.estimate.kind_sec(HIDDEN),
        "collective_sec": plan.collective_sec,
        "mfu": plan.mfu,
        "hbm_bytes": plan.hbm_bytes,
        "compiler_options": plan.compiler_options,
        "refused_options": plan.refused_options,
    }


def markdown(measured: dict[str, Any]) -> str:
    """The body of the section in docs/results.md."""
    kinds = sorted({kind for step in measured["steps"].values() for kind in step["collective_sec"]})
    rows = [
        [
            name,
            f"{1e3 * step['step_sec']:.1f}",
            f"{step['mfu']:.1%}",
            f"{1e3 * step['network_sec']:.1f}",
            f"{1e3 * step['exposed_sec']:.1f}",
            f"{step['exposed_sec'] / step['network_sec']:.0%}" if step["network_sec"] else "",
            *(f"{1e3 * step['collective_sec'].get(kind, 0.0):.1f}" for kind in kinds),
            f"{step['hbm_bytes'] / GIB:.1f} GiB",
        ]
        for name, step in measured["steps"].items()
    ]
    header = ["options", "ms per step", "MFU", "network", "exposed", "of the network", *kinds, "HBM"]
    *_, chosen = measured["steps"].values()
    note = (
        f"The mesh is {' × '.join(map(str, measured['mesh']))} (replica × data × tensor), in {measured['accumulate']} parts, "
        f"remat {measured['remat']}. Times are milliseconds of a step by estimate; those by kind are of the network. "
        f"The chip's options are `{in_words(chosen['compiler_options']) or 'none'}`."
    )
    return "\n\n".join([note, *chosen["refused_options"], results_file.table(header, rows)])
