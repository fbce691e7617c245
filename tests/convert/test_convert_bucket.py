"""`lst convert` to a bucket, from it, and within it."""

import json

import numpy as np
import pytest
from convert_cases import config_of, make_run

from lst_jax.checkpoints.steps import whole_steps
from lst_jax.checkpoints.store import Checkpoints
from lst_jax.cli import main
from lst_jax.convert import orbax
from lst_jax.runs.directory import RunDirectory
from lst_jax.storage import folders, objects
from lst_jax.storage.place import to_place

pytestmark = pytest.mark.usefixtures("no_appends")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "lst", config_of("lst"), (3, 5))


def convert(*args):
    """By the command line; its exit code."""
    return main.main(["convert", *map(str, args)])


def assert_equal(ours, theirs):
    ours, theirs = orbax.open_source(to_place(ours)), orbax.open_source(to_place(theirs))
    assert ours.arrays.keys() == theirs.arrays.keys()
    for path, one in ours.arrays.items():
        np.testing.assert_array_equal(one.read(), theirs.arrays[path].read(), strict=True, err_msg=path)


@pytest.mark.slow
def test_a_model_goes_up_changes_its_format_there_and_comes_back_bit_equal(run, bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    up, there = f"{bucket}/{tmp_path.name}/up", f"{bucket}/{tmp_path.name}/there"
    assert convert(run, up, "--to", "orbax") == 0
    assert RunDirectory(up).load_config().data.tokenizer == f"{up}/tokenizer.model"
    assert convert(up, there, "--to", "ancestor") == 0
    assert convert(there, tmp_path / "back", "--to", "orbax") == 0
    assert_equal(up, run)
    assert_equal(tmp_path / "back", run)
    report = json.loads(objects.read_text(to_place(there) / "conversion.json"))
    assert report["source"] == {"format": "orbax", "path": up, "step": 5}
    assert set(report["files"]) == {"consolidated.pth", "params.json", "lst_config.json", "tokenizer.model"}
    params = json.loads(objects.read_text(to_place(there) / "params.json"))
    assert params["data"]["tokenizer_args"]["init_kwargs"]["bpe_tokenizer_path"] == "tokenizer.model"
    assert json.loads((tmp_path / "back" / "conversion.json").read_text())["source"]["path"] == there
    assert [path.name for path in tmp_path.iterdir()] == ["back"]


@pytest.mark.slow
def test_shards_of_the_ancestors_trainer_are_refused_before_they_are_copied(bucket, tmp_path, capsys, monkeypatch):
    place = to_place(f"{bucket}/{tmp_path.name}/0000000007")
    for name in ("params.json", "__0_0.distcp"):
        objects.write_text(place / name, "{}")
    monkeypatch.setattr(objects, "download", lambda *_: pytest.fail("it was copied"))
    assert convert(place, tmp_path / "out", "--to", "orbax") == 3
    assert f"python -m lst.checkpoint consolidate {place}" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_state_goes_up_and_comes_down(run, bucket, tmp_path):
    up = f"{bucket}/{tmp_path.name}/state"
    assert convert(run, up, "--to", "orbax", "--state") == 0
    assert whole_steps(RunDirectory(up).checkpoints_path) == [5]
    assert convert(up, tmp_path / "down", "--to", "orbax", "--state") == 0
    with Checkpoints(tmp_path / "down" / "checkpoints", 1) as down, Checkpoints(run / "checkpoints", 2) as ours:
        assert down.latest() == 5 and down.meta(5) == ours.meta(5)
        down.check_whole(5)
    assert_equal(tmp_path / "down", run)


@pytest.mark.slow
def test_a_conversion_that_was_killed_begins_again_and_one_that_is_done_does_not(run, bucket, tmp_path, capsys):
    target = to_place(f"{bucket}/{tmp_path.name}/target")
    objects.write_text(target / folders.MARK, "unfinished")
    objects.write_text(target / "half", "half")
    assert convert(run, target, "--to", "orbax") == 0
    there = objects.sizes(target)
    assert "half" not in there and folders.MARK not in there and "conversion.json" in there
    first = objects.read_bytes(target / "conversion.json")
    assert convert(run, target, "--to", "orbax") == 0
    assert objects.read_bytes(target / "conversion.json") == first
    objects.write_text(target / "conversion.json", "{}")
    assert convert(run, target, "--to", "orbax") == 2
    assert "is not empty, and this conversion did not make it" in capsys.readouterr().err


def test_runs_are_not_written_where_orbax_cannot(run, capsys):
    assert convert(run, "s3://b/run", "--to", "orbax") == 2
    assert "Orbax has no s3://" in capsys.readouterr().err
