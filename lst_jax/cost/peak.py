"""The peak FLOP rate that MFU is measured against.

MFU = analytic model FLOPs of a step / (seconds of the step × peak FLOP/s of all its devices). For accelerators the peak
is the vendor's dense bf16 figure; for a CPU, which has none, it is the best rate of a large float32 matrix product
measured at start-up on the same machine.
"""

import functools
import time

import jax
import jax.numpy as jnp

from lst_jax.cost.accelerators import registry


@functools.cache
def peak_flops() -> tuple[float, str]:
    """Peak FLOP/s of all devices of this job together, and where the figure comes from."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        accelerator = registry.find(device.device_kind)
        if accelerator is None:
            return 0.0, f"unknown for {device.device_kind}: MFU is not reported"
        peak = accelerator.device_flops_per_sec * jax.device_count()
        return peak, f"vendor, {device.device_kind}, dense bf16"
    return measured_matmul_flops(), "measured, float32 matrix product on this CPU"


def measured_matmul_flops(size: int = 1024, repeats: int = 5) -> float:
    """Best FLOP/s over `repeats` products of two `size`×`size` float32 matrices on the default device."""
    a = jnp.ones((size, size), jnp.float32)
    product = jax.jit(lambda a: a @ a)
    product(a).block_until_ready()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        product(a).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
