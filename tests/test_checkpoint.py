import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lst_jax.checkpoint import Checkpoints
from lst_jax.errors import CheckpointError
from lst_jax.step import TrainState


def make_state(step):
    params = {"layers_0": {"w": jnp.arange(6.0).reshape(2, 3) + step}}
    return TrainState(jnp.int32(step), params, {"mu": params, "count": jnp.int32(step)}, {"skipped": jnp.int32(step)})


def data_state(step):
    return np.full((2, 1, 4), step, np.int64)


@pytest.fixture
def checkpoints(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    for step in (1, 2, 3):
        checkpoints.save(make_state(step), data_state(step), {"identity": {"seed": step}})
        checkpoints.wait()
    return checkpoints


def test_a_step_comes_back_as_it_was(checkpoints):
    assert checkpoints.latest() == 3
    got = checkpoints.restore(3, make_state(0), data_state(0))
    jax.tree.map(np.testing.assert_array_equal, got.state, make_state(3))
    np.testing.assert_array_equal(got.data_state, data_state(3))
    assert got.data_state.dtype == np.int64
    assert got.meta["identity"] == {"seed": 3}
    params = checkpoints.restore_params(2, make_state(0).params)
    jax.tree.map(np.testing.assert_array_equal, params, make_state(2).params)


def test_only_the_newest_are_kept(checkpoints):
    assert sorted(p.name for p in checkpoints.directory.iterdir()) == ["00000002", "00000003"]


def test_a_damaged_step_is_named_and_the_one_before_offered(checkpoints):
    shutil.rmtree(checkpoints.directory / "00000003" / "params")
    with pytest.raises(CheckpointError) as error:
        checkpoints.restore(3, make_state(0), data_state(0))
    assert "00000003: cannot be read" in str(error.value)
    assert "move it away to go on from step 2" in str(error.value)
    assert "\n" not in str(error.value)


def test_other_shapes_are_refused_in_one_line(checkpoints):
    other = make_state(0)._replace(params={"layers_0": {"w": jnp.zeros((5, 3))}})
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoints.restore(3, other, data_state(0))
