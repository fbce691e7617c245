"""Which host of a job is slow: the time that each takes for a step itself, without waiting for devices.

All hosts end a step together, as its collectives make them wait for the slowest. So the time of a step tells nothing about
a host. What a host takes itself, to make a batch and to hand it over, does. A slow device shows in a profile.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lst_jax.parallel import sharding

PROCESS_BITS = 12  # of the number that the devices compare: time above, process below, in 31 bits
LONGEST_MS = (1 << (31 - PROCESS_BITS)) - 1  # about nine minutes


class HostTimes:
    """Compares one time of each process on the devices, without waiting."""

    def __init__(self, mesh: Mesh):
        """All processes make it for the same mesh."""
        self._split = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._local = len(mesh.local_devices)
        self._compare = jax.jit(
            lambda x: (x.max(), jnp.sum((x >> PROCESS_BITS).astype(jnp.float32))),
            out_shardings=sharding.replicated(mesh),
        )

    def start(self, seconds: float) -> "PendingTimes":
        """Starts the comparison of this process's time. It must be called by all processes."""
        milliseconds = min(LONGEST_MS, round(1000 * seconds))
        mine = np.zeros(self._local, np.int32)
        mine[0] = (milliseconds << PROCESS_BITS) + jax.process_index() % (1 << PROCESS_BITS)
        return PendingTimes(self._compare(jax.make_array_from_process_local_data(self._split, mine)))


class PendingTimes:
    """A comparison that the devices may still be making."""

    def __init__(self, compared: tuple[jax.Array, jax.Array]):
        self._compared = compared

    def wait(self) -> Mapping[str, float]:
        """Seconds per step that the hosts took themselves: their mean, the longest, and the process that took that."""
        longest, total = (np.asarray(number).item() for number in self._compared)
        return {
            "host_seconds": total / 1000 / jax.process_count(),
            "host_seconds_slowest": (longest >> PROCESS_BITS) / 1000,
            "slowest_host": longest % (1 << PROCESS_BITS),
        }
