"""Topologies to compile for."""

import pytest

from lst_jax.core.errors import ConfigError
from lst_jax.cost import chips, topology


@pytest.mark.parametrize("name", ["v9z:4x4", "nonsense", ""])
def test_a_topology_that_cannot_be_compiled_for_is_one_line_with_the_fix(name):
    with pytest.raises(ConfigError) as error:
        topology.devices(name)
    message = str(error.value)
    assert message.startswith(f"topology={name!r}: cannot be compiled for") and "'.[tpu]'" in message
    assert "\n" not in message


@pytest.mark.parametrize("name, slices, count", [("v5e:4x4", 1, 16), ("v4:2x2x1", 1, 4), ("v5p:2x2x1", 2, 8)])
def test_a_chip_is_one_device_with_a_place(name, slices, count):
    pytest.importorskip("libtpu")
    found = topology.devices(name, slices)
    assert len(found) == count == len({(getattr(d, "slice_index", 0), *d.coords) for d in found})
    assert chips.of(found[0]).name == name.split(":")[0]
