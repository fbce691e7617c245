"""What the table says of an accelerator: `TpuGeneration` and `Gpu`. The entries are in `tpus.py` and `gpus.py`."""

import dataclasses
import math
import re
from collections.abc import Mapping

CUBE = 4  # a 3-D torus is made of cubes of 4×4×4 chips; optical switches close its axes where all cubes are whole


@dataclasses.dataclass(frozen=True)
class Gpu:
    """One kind of GPU. A GPU is one JAX device."""

    device_kinds: tuple[str, ...]  # as JAX names it: `device.device_kind`
    flops_per_sec: float  # dense bf16

    @property
    def device_flops_per_sec(self) -> float:
        """The dense bf16 peak of one JAX device."""
        return self.flops_per_sec


@dataclasses.dataclass(frozen=True)
class TpuGeneration:
    """One generation of TPUs: its chips, how they are joined to slices, and what other programs call it.

    Rates are per second and per chip, except where the name says otherwise.
    """

    name: str  # of the project: `kind` in a cluster's description, and of libtpu: "v5p" in the topology v5p:2x2x1
    device_kinds: tuple[str, ...]  # as JAX names it: `device.device_kind`
    devices_per_chip: int  # JAX devices
    tensorcores_per_chip: int  # which the accelerator types of gcloud and xpk count: v5p-128 has 64 chips
    flops_per_sec: float  # dense bf16
    estimated_cycles_per_sec: float  # the clock that the compiler's estimates of cycles are counted in
    hbm_bytes_per_device: float  # what a program may use
    hbm_bytes_per_sec: float
    torus_axes: int  # 2 or 3; a chip has two links on each axis
    link_bytes_per_sec: float  # of one link, in one direction
    network_bytes_per_sec: float  # the chip's part of its host's data centre network
    topologies: tuple[str, ...]  # slices that can be asked for; of a 3-D torus, whole cubes as well
    chips_per_host: int  # usually
    chips_of_single_hosts: Mapping[str, int]  # topology -> chips, of slices that are one host of another size
    gke_name: str  # value of the node selector cloud.google.com/gke-tpu-accelerator
    gcloud_name: str | None  # accelerator type before its number; None where queued resources do not have it
    xpk_name: str  # --tpu-type before its number
    int8_flops_per_sec: float | None = None  # dense, of operands in 8 bits; None = no more than of bf16
    fp8_flops_per_sec: float | None = None
    topology_options: Mapping[str, str] = dataclasses.field(default_factory=dict)  # for libtpu, to describe a slice
    compiler_options: Mapping[str, bool | str] = dataclasses.field(default_factory=dict)  # of XLA, for a training step

    @property
    def device_flops_per_sec(self) -> float:
        """The dense bf16 peak of one JAX device."""
        return self.flops_per_sec / self.devices_per_chip

    @property
    def device_int8_flops_per_sec(self) -> float:
        """The dense int8 peak of one JAX device."""
        return (self.int8_flops_per_sec or self.flops_per_sec) / self.devices_per_chip

    @property
    def device_fp8_flops_per_sec(self) -> float:
        """The dense fp8 peak of one JAX device."""
        return (self.fp8_flops_per_sec or self.flops_per_sec) / self.devices_per_chip

    @property
    def device_hbm_bytes_per_sec(self) -> float:
        """HBM traffic of one JAX device."""
        return self.hbm_bytes_per_sec / self.devices_per_chip

    @property
    def device_network_bytes_per_sec(self) -> float:
        """One JAX device's part of the data centre network."""
        return self.network_bytes_per_sec / self.devices_per_chip

    def has_topology(self, topology: str) -> bool:
        """Whether a slice of this shape can be asked for. Example: of v5p "4x4x8" -> True, "8x4x4" -> False."""
        sides = sides_of(topology)
        cubes = self.torus_axes == 3 and len(sides) == 3 and all(n % CUBE == 0 for n in sides)
        return topology in self.topologies or (cubes and sides == sorted(sides))

    def usual_chips_per_host(self, topology: str) -> int:
        """Chips of each host of such a slice, where nobody asks for another machine."""
        return self.chips_of_single_hosts.get(topology, self.chips_per_host)

    def allows_chips_per_host(self, topology: str, chips: int) -> bool:
        """Whether hosts of `chips` chips make up such a slice, with none left over.

        A slice that fits on a single host is also made of several usual ones: 2x4 of v5e, on GKE.
        """
        usual = chips in {self.usual_chips_per_host(topology), self.chips_per_host}
        return usual and math.prod(sides_of(topology)) % chips == 0


def sides_of(topology: str) -> list[int]:
    """Chips along each side. Example: "4x4x8" -> [4, 4, 8]; empty where the text is not a topology."""
    if not re.fullmatch(r"[1-9][0-9]*(x[1-9][0-9]*)+", topology):
        return []
    return [int(side) for side in topology.split("x")]
