import itertools
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from lst_jax.checkpoints.store import Checkpoints, SaveClock, checksums
from lst_jax.config import MeshConfig
from lst_jax.core.errors import CheckpointError
from lst_jax.parallel.sharding import make_mesh
from lst_jax.step.update import TrainState


def make_state(step):
    params = {"layers_0": {"w": jnp.arange(600.0).reshape(20, 30) + step}}  # too large to be stored in an index
    return TrainState(jnp.int32(step), params, {"mu": params, "count": jnp.int32(step)}, {"skipped": jnp.int32(step)})


def data_state(step):
    return np.random.default_rng(step).integers(0, 2**40, (64, 2, 5))


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


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_damaged_file_is_named_in_one_line_with_the_way_on(checkpoints, tmp_path):
    newest = checkpoints.directory / "00000003"
    shutil.copytree(newest, tmp_path / "whole")
    like, data_like = make_state(0), data_state(0)
    readers = {
        "params": lambda: checkpoints.restore_params(3, like.params),
        "data": lambda: checkpoints.restore_data_state(3, data_like),
    }
    for item, damage in itertools.product(("params", "train", "data"), (flip, cut, pathlib.Path.unlink)):
        damage(max((p for p in (newest / item).rglob("*") if p.is_file()), key=lambda path: path.stat().st_size))
        for read in (lambda: checkpoints.restore(3, like, data_like), readers.get(item)):
            if read is None:
                continue
            with pytest.raises(CheckpointError) as error:
                read()
            said = str(error.value)
            assert said.startswith(f"{newest}: cannot be read (") and "\n" not in said
            assert len(said) < 300 + 3 * len(str(newest))  # the path stands there three times
            assert said.endswith(f"); move it away to go on from step 2: mv {newest} {newest}.damaged")
        shutil.rmtree(newest)
        shutil.copytree(tmp_path / "whole", newest)
    assert checkpoints.restore(3, make_state(0), data_state(0)).meta["identity"] == {"seed": 3}


def test_a_step_that_was_moved_away_as_told_is_passed_over_and_left_alone(checkpoints):
    (checkpoints.directory / "00000003").rename(checkpoints.directory / "00000003.damaged")
    reopened = Checkpoints(checkpoints.directory, keep=2)
    assert reopened.latest() == 2
    jax.tree.map(np.testing.assert_array_equal, reopened.restore(2, make_state(0), data_state(0)).state, make_state(2))
    for step in (3, 4):
        reopened.save(make_state(step), data_state(step), {})
    reopened.close()
    assert sorted(p.name for p in reopened.directory.iterdir()) == ["00000003", "00000003.damaged", "00000004"]


def test_any_change_of_an_array_changes_its_checksum_and_its_sharding_does_not():
    whole = np.random.default_rng(0).normal(size=(16, 24)).astype(np.float32) * 1000
    split = NamedSharding(make_mesh(MeshConfig(1, None, 1)), PartitionSpec("data"))
    for kind in (jnp.float32, jnp.bfloat16, jnp.int32):
        ours = jnp.asarray(whole, kind)
        number = checksums({"w": ours})
        assert checksums({"w": jax.device_put(ours, split)}) == number
        swapped = ours.at[3, 5].set(ours[3, 6]).at[3, 6].set(ours[3, 5])
        for other in (ours.at[15, 23].multiply(-1), swapped, jnp.zeros_like(ours)):
            assert checksums({"w": other}) != number


def test_multiples_are_kept_for_ever(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1, keep_every=2)
    for step in (1, 2, 3, 4, 5):
        checkpoints.save(make_state(step), data_state(step), {})
    checkpoints.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000002", "00000004", "00000005"]


def test_a_save_is_due_by_time_since_the_last_one():
    now = [50.0]
    clock, never = SaveClock(30.0, lambda: now[0]), SaveClock(None, lambda: now[0])
    for seconds, due in ((1799, False), (1, True), (500, True)):
        now[0] += seconds
        assert clock.minutes_passed() == due and not never.minutes_passed()
    clock.saved()
    assert not clock.minutes_passed()


def test_other_shapes_are_refused_in_one_line(checkpoints):
    other = make_state(0)._replace(params={"layers_0": {"w": jnp.zeros((5, 3))}})
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoints.restore(3, other, data_state(0))
