"""How fast groups of chips talk, from where they are; figures against the vendor's own arithmetic."""

import dataclasses
import math

import numpy as np
import pytest
from jax.sharding import Mesh

from lst_jax.core.errors import ConfigError
from lst_jax.cost import links as torus
from lst_jax.cost.accelerators import registry
from lst_jax.cost.accelerators.tpus import TPUS

BY_NAME = {tpu.name: tpu for tpu in TPUS}


@dataclasses.dataclass(frozen=True)
class Device:
    """What is read of a JAX device; hashable, as a mesh needs it."""

    device_kind: str
    coords: tuple[int, ...]
    slice_index: int | None = None


def devices(kind, sides, slices=1):
    """A slice's devices, the first coordinate changing fastest; several slices have the same coordinates."""
    return [
        Device(kind, at[::-1], index if slices > 1 else None)
        for index in range(slices)
        for at in np.ndindex(*sides[::-1])
    ]


def mesh(kind, sides, shape, slices=1):
    array = np.empty(len(found := devices(kind, sides, slices)), object)
    array[:] = found
    return Mesh(array.reshape(shape), ("replica", "data", "tensor"))


@pytest.mark.parametrize(
    "kind, sides, links",
    [
        ("TPU v5 lite", (4, 4, 1), 2),  # two open lines
        ("TPU v5 lite", (8, 16, 1), 1 + 2),  # a line and a ring
        ("TPU v6 lite", (16, 16, 1), 2 + 2),
        ("TPU v6 lite", (2, 2, 1), 2),
        ("TPU v5", (4, 4, 4), 6),
        ("TPU v5", (4, 8, 12), 6),
        ("TPU v5", (2, 4, 4), 3),  # not of whole cubes: no switch closes any of its axes
        ("TPU v5", (2, 2, 1), 2),
        ("TPU v4", (4, 4, 8), 6),
    ],
)
def test_a_whole_slice_talks_over_all_its_links(kind, sides, links):
    group = devices(kind, sides)
    assert torus.group_bandwidth(group, group) == links * registry.tpu_of_device(kind).link_bytes_per_sec


def test_a_part_of_an_axis_is_an_open_line():
    everyone = devices("TPU v6 lite", (16, 16, 1))
    row = [d for d in everyone if d.coords[1] == 3]
    link = BY_NAME["v6e"].link_bytes_per_sec
    assert torus.group_bandwidth(row, everyone) == 2 * link
    assert torus.group_bandwidth(row[4:8], everyone) == link


def test_groups_between_each_other_share_their_links():
    everyone = devices("TPU v6 lite", (16, 16, 1))
    row = [d for d in everyone if d.coords[1] == 3]
    link = BY_NAME["v6e"].link_bytes_per_sec
    assert torus.group_bandwidth(row[::2], everyone) == link  # half of a ring's two
    assert torus.group_bandwidth(row[:8:4], everyone) == link / 4


def test_slices_talk_over_the_data_centre_network_of_all_their_devices_together():
    everyone = devices("TPU v5 lite", (4, 4, 1), slices=2)
    dcn, link = BY_NAME["v5e"].network_bytes_per_sec, BY_NAME["v5e"].link_bytes_per_sec
    twins = [d for d in everyone if d.coords == (1, 2, 0)]
    assert torus.group_bandwidth(twins, everyone) == dcn
    assert torus.group_bandwidth(everyone, everyone) == 16 * dcn < 2 * link
    assert torus.group_bandwidth(everyone[:16], everyone) == 2 * link
    large = devices("TPU v6 lite", (16, 16, 1), slices=2)
    assert (
        torus.group_bandwidth(large, large) == 4 * BY_NAME["v6e"].link_bytes_per_sec
    )  # the slices are the slower part


def test_the_axes_of_a_mesh_have_the_bandwidth_of_their_slowest_group():
    link = BY_NAME["v5p"].link_bytes_per_sec
    cube = mesh("TPU v5", (4, 4, 4), (1, 16, 4))
    assert torus.mesh_bandwidth(cube, ("data",)) == 4 * link
    assert torus.mesh_bandwidth(cube, ("tensor",)) == 2 * link
    assert torus.mesh_bandwidth(cube, ("data", "tensor")) == 6 * link
    assert torus.mesh_bandwidth(cube, ("replica",)) == torus.mesh_bandwidth(cube, ()) == math.inf
    two = mesh("TPU v5", (4, 4, 4), (2, 64, 1), slices=2)
    assert torus.mesh_bandwidth(two, ("replica",)) == BY_NAME["v5p"].network_bytes_per_sec
    assert torus.mesh_bandwidth(two, ("data",)) == 6 * link


@pytest.mark.parametrize(
    "name, gbits_a_chip", [("v5e", 1600), ("v5p", 4800), ("v6e", 3200), ("v4", 2400), ("tpu7x", 4800)]
)
def test_all_links_of_a_chip_are_a_tenth_below_the_vendor_s_interconnect_bandwidth(name, gbits_a_chip):
    chip = BY_NAME[name]
    assert 2 * chip.torus_axes * chip.link_bytes_per_sec == pytest.approx(0.9 * gbits_a_chip * 1e9 / 8, rel=0.01)


@pytest.mark.parametrize("name, terabits_a_pod", [("v5e", 6.4), ("v6e", 25.6)])
def test_the_data_centre_network_of_a_pod_is_that_of_its_256_chips(name, terabits_a_pod):
    assert BY_NAME[name].network_bytes_per_sec * 256 * 8 == pytest.approx(terabits_a_pod * 1e12)


def test_a_chip_that_is_not_known_is_one_line_with_those_that_are():
    with pytest.raises(
        ConfigError, match=r"^device_kind='cpu': no figures of it; use one of v4, v5e, v5p, v6e, tpu7x$"
    ):
        torus.group_bandwidth([Device("cpu", (0, 0, 0))], [])


def ironwood(sides):
    """Two devices for each chip, at the same place, one after the other."""
    return [TwinDevice("TPU7x", at[::-1], core=core) for at in np.ndindex(*sides[::-1]) for core in (0, 1)]


@dataclasses.dataclass(frozen=True)
class TwinDevice(Device):
    """One of the devices of a chip that has several."""

    core: int = 0


def test_both_devices_of_a_chip_share_its_links_unless_they_are_of_one_group():
    everyone = ironwood((4, 4, 4))
    link = BY_NAME["tpu7x"].link_bytes_per_sec
    assert torus.group_bandwidth(everyone, everyone) == 6 * link
    assert torus.group_bandwidth(everyone[::2], everyone) == 3 * link
    line = [d for d in everyone if d.coords[1:] == (0, 0)]
    assert torus.group_bandwidth(line, everyone) == 2 * link
    assert torus.group_bandwidth(line[::2], everyone) == link


def test_the_devices_of_a_chip_talk_faster_than_over_links():
    everyone = ironwood((2, 2, 1))
    assert torus.group_bandwidth(everyone[:2], everyone) == 6 * BY_NAME["tpu7x"].link_bytes_per_sec
    assert torus.group_bandwidth(everyone[:1], everyone) == math.inf
