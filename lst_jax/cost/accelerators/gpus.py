"""The GPUs whose peak is known; the figures are dense bf16, from the vendor's data sheets."""

from lst_jax.cost.accelerators.kinds import Gpu

GPUS = (
    Gpu(("NVIDIA A100-SXM4-80GB",), 312e12),
    Gpu(("NVIDIA H100 80GB HBM3",), 989e12),
    Gpu(("NVIDIA H200",), 989e12),
)
