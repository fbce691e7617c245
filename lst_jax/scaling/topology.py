"""Compiling for TPUs that are not here: libtpu's own compiler, for a described topology, on any machine."""

import os

import jax
from jax.experimental import topologies

from lst_jax.errors import ConfigError


def devices(topology: str) -> list[jax.Device]:
    """The devices of a topology such as "v5p:2x2x1" or "v5e:4x4", to compile for; nothing can run on them.

    Raises: ConfigError where the name is wrong, or libtpu is missing.
    """
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # elsewhere than on a TPU VM there is nobody to ask
    try:
        return list(topologies.get_topology_desc(topology, platform="tpu").devices)
    except Exception as error:  # of whatever libtpu raises
        cause = str(error).strip().split("\n")[0]
        raise ConfigError(f"topology={topology!r}: cannot be compiled for ({cause}); give one such as v5p:2x2x1, and "
                          "have the compiler: pip install --editable '.[tpu]'") from error
