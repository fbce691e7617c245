"""Compiling for TPUs that are not here: libtpu's own compiler, for a described topology, on any machine."""

import os
from typing import Any

import jax
from jax.experimental import topologies

from lst_jax.core.errors import ConfigError, first_line
from lst_jax.cost.accelerators import registry

# The compiler's least effort: which operations there are, less fused, so that more memory is needed and moved
QUICKLY = {"exec_time_optimization_effort": -1.0}


def devices(topology: str, slices: int = 1) -> list[jax.Device]:
    """The devices of a topology such as "v5p:2x2x1" or "v5e:4x4", to compile for; nothing can run on them.

    Args: `slices`: how many of them there are, joined by the data centre network.
    Raises: ConfigError where the name is wrong, or libtpu is missing.
    """
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # elsewhere than on a TPU VM there is nobody to ask
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # a compiler has no chip that could be taken twice
    options: dict[str, Any] = {"num_slices": slices} if slices > 1 else {}
    try:
        if not topology:  # libtpu would take some topology of its own
            raise ValueError("it is empty")
        options |= registry.tpu(topology.partition(":")[0]).topology_options
        return list(topologies.get_topology_desc(topology, platform="tpu", **options).devices)
    except Exception as error:  # of whatever libtpu raises
        raise ConfigError(
            f"topology={topology!r}: cannot be compiled for ({first_line(error)}); give one such as v5p:2x2x1, and "
            "have the compiler: pip install --editable '.[tpu]'"
        ) from error
