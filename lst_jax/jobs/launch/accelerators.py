"""How the Cloud TPU API calls slices."""

from lst_jax.jobs.launch.cluster import Cluster

TYPES = {"v4": "v4", "v5e": "v5litepod", "v5p": "v5p", "v6e": "v6e"}
CORES_A_CHIP = {"v4": 2, "v5e": 1, "v5p": 2, "v6e": 1}  # the names count TensorCores


def accelerator_type(cluster: Cluster) -> str:
    """Example: v5p of 4x4x4 -> "v5p-128", v5e of 4x4 -> "v5litepod-16"."""
    return f"{TYPES[cluster.kind]}-{cluster.tpu.chips * CORES_A_CHIP[cluster.kind]}"
