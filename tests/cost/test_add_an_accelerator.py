"""How to add an accelerator: one entry, registered from outside of the package, is planned with and launched on."""

import dataclasses
import json
import pathlib
import tomllib

import numpy as np
import pytest
import yaml
from jax.sharding import Mesh

from lst_jax.cli.main import main
from lst_jax.cost import links, plan
from lst_jax.cost.accelerators import registry
from lst_jax.cost.accelerators.kinds import TpuGeneration
from lst_jax.cost.program import Costs
from lst_jax.jobs.launch.cluster import load_cluster
from lst_jax.jobs.sweeps.render import topology_of

TOY = TpuGeneration(
    name="v99toy",
    device_kinds=("TPU v99 toy",),
    devices_per_chip=2,
    tensorcores_per_chip=4,
    flops_per_sec=2e15,
    estimated_cycles_per_sec=2e9,
    hbm_bytes_per_device=64e9,
    hbm_bytes_per_sec=4e12,
    torus_axes=2,
    link_bytes_per_sec=1e11,
    network_bytes_per_sec=1e10,
    topologies=("2x2", "4x4"),
    chips_per_host=4,
    chips_of_single_hosts={},
    gke_name="tpu-v99-toy",
    gcloud_name="v99toy",
    xpk_name="v99toy",
)


class Device:
    """What is read of a JAX device."""

    device_kind = "TPU v99 toy"

    def __init__(self, *coords):
        self.coords = coords


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(registry, "_TPUS", dict(registry._TPUS))
    monkeypatch.setattr(registry, "_BY_DEVICE_KIND", dict(registry._BY_DEVICE_KIND))
    registry.register(TOY)


@pytest.fixture
def cluster(tmp_path):
    mapping = tomllib.loads(pathlib.Path("launch/tpu7x_gke.toml").read_text())
    mapping["kind"], mapping["tpu"]["topology"] = "v99toy", "4x4"
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(mapping))
    return str(path)


def test_a_new_generation_is_planned_with(toy, cluster):
    assert topology_of(load_cluster(cluster)) == ("v99toy:4x4", 1)
    assert load_cluster(cluster).devices == 32
    devices = np.array([Device(x, y) for y in range(4) for x in range(4) for _ in range(2)], object)
    mesh = Mesh(devices.reshape(1, 32, 1), ("replica", "data", "tensor"))
    assert links.mesh_bandwidth(mesh, ("data",)) == 2 * TOY.link_bytes_per_sec
    costs = Costs(flops=2e15, bytes_accessed=4e12)
    assert plan.floors_sec(costs, TOY, mesh) == {"arithmetic": 2.0, "memory": 2.0, "network": 0.0}


def test_products_in_8_bits_take_their_own_peak(toy):
    mesh = Mesh(np.array([[[Device(0, 0)]]], object), ("replica", "data", "tensor"))
    costs = Costs(flops=4e15, int8_flops=2e15, fp8_flops=1e15)
    assert plan.floors_sec(costs, TOY, mesh)["arithmetic"] == 4.0
    quicker = dataclasses.replace(TOY, int8_flops_per_sec=8e15, fp8_flops_per_sec=4e15)
    assert plan.floors_sec(costs, quicker, mesh)["arithmetic"] == 1.0 + 0.5 + 0.5


@pytest.mark.parametrize("target, expected", [("jobset", "tpu-v99-toy"), ("xpk", "--tpu-type=v99toy-4x4")])
def test_a_new_generation_is_launched_on(toy, cluster, target, expected, capsys):
    words = ["launch", "r", "--config", "configs/lst.py:1b", "--cluster", cluster, "--to", target]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert expected in text
    if target == "jobset":
        job = yaml.safe_load(text)["spec"]["replicatedJobs"][0]["template"]["spec"]
        assert job["parallelism"] == 4
