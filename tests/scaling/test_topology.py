"""Topologies to compile for."""

import pytest

from lst_jax.errors import ConfigError
from lst_jax.scaling import topology


@pytest.mark.parametrize("name", ["v9z:4x4", "nonsense", ""])
def test_a_topology_that_cannot_be_compiled_for_is_one_line_with_the_fix(name):
    with pytest.raises(ConfigError) as error:
        topology.devices(name)
    message = str(error.value)
    assert message.startswith(f"topology={name!r}: cannot be compiled for") and "'.[tpu]'" in message
    assert "\n" not in message
