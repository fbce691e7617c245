"""The table of accelerators: what is in it, and what it refuses."""

import dataclasses

import pytest

from lst_jax.core.errors import ConfigError
from lst_jax.cost.accelerators import registry
from lst_jax.cost.accelerators.gpus import GPUS
from lst_jax.cost.accelerators.kinds import Gpu
from lst_jax.cost.accelerators.tpus import TPU7X, TPUS, V5E, V5P


def test_every_kind_of_device_is_found_and_belongs_to_one_accelerator():
    kinds = [kind for accelerator in (*TPUS, *GPUS) for kind in accelerator.device_kinds]
    assert len(set(kinds)) == len(kinds)
    assert all(registry.find(kind).device_flops_per_sec > 1e14 for kind in kinds)
    assert registry.find("cpu") is None


def test_a_device_of_ironwood_is_half_a_chip():
    assert TPU7X.device_flops_per_sec == 2307e12 / 2 and TPU7X.device_hbm_bytes_per_sec == 7.38e12 / 2
    assert TPU7X.devices_per_chip * TPU7X.hbm_bytes_per_device == pytest.approx(192 * 2**30, rel=0.02)


@pytest.mark.parametrize("topology, ok", [("2x2x1", True), ("4x4x8", True), ("8x4x4", False), ("16x16", False)])
def test_slices_of_a_3d_torus_are_small_ones_and_whole_cubes(topology, ok):
    assert V5P.has_topology(topology) is ok


@pytest.mark.parametrize(
    "topology, chips, ok", [("2x4", 8, True), ("2x4", 4, True), ("4x4", 8, False), ("1x1", 4, False)]
)
def test_hosts_divide_a_slice(topology, chips, ok):
    assert V5E.allows_chips_per_host(topology, chips) is ok


@pytest.mark.parametrize(
    "accelerator, message",
    [
        (V5P, "accelerator v5p: 'TPU v5' is registered already"),
        (Gpu(("NVIDIA H200",), 1e15), "'NVIDIA H200' is registered already"),
        (Gpu((), 1e15), "must not be empty"),
        (Gpu(("Toy GPU",), 0.0), "flops_per_sec=0.0: must be above 0"),
        (
            dataclasses.replace(V5P, name="toy", device_kinds=("toy",), torus_axes=2),
            "topology '2x2x1': must have 2 sides",
        ),
    ],
)
def test_what_is_incomplete_or_taken_fails_when_it_is_registered(accelerator, message):
    before = registry.tpu_names()
    with pytest.raises(ConfigError, match=message):
        registry.register(accelerator)
    assert registry.tpu_names() == before and registry.find("toy") is None and registry.find("Toy GPU") is None
