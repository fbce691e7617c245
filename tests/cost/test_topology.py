"""Topologies to compile for."""

import pytest

from lst_jax.core.errors import ConfigError
from lst_jax.cost import topology
from lst_jax.cost.accelerators import registry


@pytest.mark.parametrize("name", ["v9z:4x4", "nonsense", ""])
def test_a_topology_that_cannot_be_compiled_for_is_one_line_with_the_fix(name):
    with pytest.raises(ConfigError) as error:
        topology.devices(name)
    message = str(error.value)
    assert message.startswith(f"topology={name!r}: cannot be compiled for") and "'.[tpu]'" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "name, slices, count",
    [("v5e:4x4", 1, 16), ("v4:2x2x1", 1, 4), ("v5p:2x2x1", 2, 8), ("tpu7x:2x2x1", 1, 8)],
)
def test_a_topology_has_the_devices_that_the_table_says(name, slices, count):
    pytest.importorskip("libtpu")
    found = topology.devices(name, slices)
    tpu = registry.tpu_of_device(found[0].device_kind)
    places = {(getattr(d, "slice_index", 0), *d.coords) for d in found}
    assert len(found) == count == len(places) * tpu.devices_per_chip
    assert tpu.name == name.split(":")[0]
