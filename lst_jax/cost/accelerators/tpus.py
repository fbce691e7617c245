"""The generations of TPUs. To add one, add an entry here (CONTRIBUTING shows it), or call `registry.register`.

Sources:
- FLOPs, HBM bandwidth, slices and hosts: the vendor's pages, docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e,tpu7x}.
- HBM bytes: what libtpu 0.0.42 lets a program have, by its message for a program that does not fit. That is a little
  less than the vendor's 32, 16, 32 and 192 GiB per chip, and 0.74 GiB more than the 95 of v5p.
- Clock: the peak over the multiply-adds of one cycle, which are four matrix units of 128×128 per core, 256×256 from v6e
  on. The estimate that the compiler makes of an 8192×4096×4096 product is then 90% to 98% of the peak of a device, both
  cores of a v4 or v5p chip included (libtpu 0.0.42).
- Links and data centre network: "How to Scale Your Model", part 2 (jax-ml.github.io/scaling-book/tpus), where a link
  is a tenth below the nominal rate. TPU7x: the vendor's page has the 1200 GB/s per chip of v5p, and 100 Gb/s of network.
- Names: the vendor's pages on GKE (docs.cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus) and queued
  resources, and `system_characteristics.py` of github.com/AI-Hypercomputer/xpk.
"""

from lst_jax.cost.accelerators.kinds import TpuGeneration

GIB = 2**30
SLICES_2D = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
SLICES_3D = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")  # and whole cubes
# v5e and v6e have machines of 1, 4 and 8 chips; several hosts of a slice have 4 each.
SINGLE_HOSTS_2D = {"1x1": 1, "2x4": 8}
# Gathers of parameters run beside matrix products, each in several steps that are fused with a product. The names are
# those of MaxText's benchmarks/xla_flags_library.py and of openxla.org/xla/flags_guidance; libtpu 0.0.42 knows them all.
# `lst bench collectives` says what they bring to a step.
FUSED_GATHERS = {
    "xla_enable_async_all_gather": True,
    "xla_tpu_enable_async_collective_fusion": True,
    "xla_tpu_enable_async_collective_fusion_fuse_all_gather": True,
    "xla_tpu_enable_async_collective_fusion_multiple_steps": True,
    "xla_tpu_overlap_compute_collective_tc": True,
}

V4 = TpuGeneration(
    name="v4",
    device_kinds=("TPU v4",),
    devices_per_chip=1,
    tensorcores_per_chip=2,
    flops_per_sec=275e12,
    estimated_cycles_per_sec=1.05e9,
    hbm_bytes_per_device=30.75 * GIB,
    hbm_bytes_per_sec=1.2e12,
    torus_axes=3,
    link_bytes_per_sec=4.5e10,
    network_bytes_per_sec=6.25e9,
    topologies=SLICES_3D,
    chips_per_host=4,
    chips_of_single_hosts={},
    gke_name="tpu-v4-podslice",
    gcloud_name="v4",
    xpk_name="v4",
    compiler_options=FUSED_GATHERS,
    topology_options={
        "chip_config_name": "megacore"
    },  # one device per chip, as on the machine; libtpu's default is two
)
V5E = TpuGeneration(
    name="v5e",
    device_kinds=("TPU v5 lite", "TPU v5e"),
    devices_per_chip=1,
    tensorcores_per_chip=1,
    flops_per_sec=197e12,
    int8_flops_per_sec=393e12,
    estimated_cycles_per_sec=1.5e9,
    hbm_bytes_per_device=15.75 * GIB,
    hbm_bytes_per_sec=819e9,
    torus_axes=2,
    link_bytes_per_sec=4.5e10,
    network_bytes_per_sec=3.125e9,
    topologies=SLICES_2D,
    chips_per_host=4,
    chips_of_single_hosts=SINGLE_HOSTS_2D,
    gke_name="tpu-v5-lite-podslice",
    gcloud_name="v5litepod",
    xpk_name="v5litepod",
    compiler_options=FUSED_GATHERS,
)
V5P = TpuGeneration(
    name="v5p",
    device_kinds=("TPU v5", "TPU v5p"),
    devices_per_chip=1,
    tensorcores_per_chip=2,
    flops_per_sec=459e12,
    int8_flops_per_sec=918e12,
    estimated_cycles_per_sec=1.75e9,
    hbm_bytes_per_device=95.74 * GIB,
    hbm_bytes_per_sec=2.765e12,
    torus_axes=3,
    link_bytes_per_sec=9e10,
    network_bytes_per_sec=6.25e9,
    topologies=SLICES_3D,
    chips_per_host=4,
    chips_of_single_hosts={},
    gke_name="tpu-v5p-slice",
    gcloud_name="v5p",
    xpk_name="v5p",
    compiler_options=FUSED_GATHERS,
)
V6E = TpuGeneration(
    name="v6e",
    device_kinds=("TPU v6 lite", "TPU v6e"),
    devices_per_chip=1,
    tensorcores_per_chip=1,
    flops_per_sec=918e12,
    int8_flops_per_sec=1836e12,
    estimated_cycles_per_sec=1.75e9,
    hbm_bytes_per_device=31.25 * GIB,
    hbm_bytes_per_sec=1.6e12,
    torus_axes=2,
    link_bytes_per_sec=9e10,
    network_bytes_per_sec=12.5e9,
    topologies=SLICES_2D,
    chips_per_host=4,
    chips_of_single_hosts=SINGLE_HOSTS_2D,
    gke_name="tpu-v6e-slice",
    gcloud_name="v6e",
    xpk_name="v6e",
    compiler_options=FUSED_GATHERS,
)
# Ironwood. A chip has two chiplets, and each is a JAX device with half of the memory. Queued resources do not have it.
TPU7X = TpuGeneration(
    name="tpu7x",
    device_kinds=("TPU7x",),
    devices_per_chip=2,
    tensorcores_per_chip=2,
    flops_per_sec=2307e12,
    fp8_flops_per_sec=4614e12,
    estimated_cycles_per_sec=2.2e9,
    hbm_bytes_per_device=94.75 * GIB,
    hbm_bytes_per_sec=7.38e12,
    torus_axes=3,
    link_bytes_per_sec=9e10,
    network_bytes_per_sec=12.5e9,
    topologies=("1x1x1", *SLICES_3D),
    chips_per_host=4,
    chips_of_single_hosts={"1x1x1": 1},
    gke_name="tpu7x",
    gcloud_name=None,
    xpk_name="tpu7x",
    compiler_options=FUSED_GATHERS,
)
TPUS = (V4, V5E, V5P, V6E, TPU7X)
