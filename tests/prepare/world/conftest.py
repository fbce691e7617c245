"""One world for all tests of this folder."""

import pytest
import world_cases

from lst_jax.prepare.world import write


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> world_cases.Written:
    path = tmp_path_factory.mktemp("world") / "world"
    write.write_world(path, world_cases.SETTINGS)
    return world_cases.read(path)
