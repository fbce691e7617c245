"""Runs that begin with the parameters of another one."""

import contextlib
import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
import synthetic_data
from training_run import make_base_config, make_data, tokenizer_of

from lst_jax import config as cfg
from lst_jax.checkpoints.store import Checkpoints
from lst_jax.core import json_files
from lst_jax.core.errors import CheckpointError, ConfigError
from lst_jax.parallel import sharding
from lst_jax.recipes.validate import validate
from lst_jax.runs.directory import RunDirectory
from lst_jax.step import update
from lst_jax.train import loop, session


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_data(folder)
    tokenizer_of(folder)
    tell_codebook(folder, "ours")
    return folder


def tell_codebook(folder, fingerprint):
    path = folder / "speech" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"codebook_fingerprint": fingerprint}))


def short(data, init_from=None, **changes):
    """Three steps, saved after each; parameters would be drawn from another seed than the first run's."""
    settings = dict(
        steps=3, checkpoint_every=1, checkpoint_keep=9, init_from=None if init_from is None else str(init_from)
    )
    config = dataclasses.replace(make_base_config(data, **settings | changes), seed=int(init_from is not None))
    return dataclasses.replace(config, eval=dataclasses.replace(config.eval, sources=(), completion_items=0))


@pytest.fixture(scope="module")
def first(data, tmp_path_factory):
    run = RunDirectory(tmp_path_factory.mktemp("runs") / "first")
    assert loop.train(run, short(data)) == 0
    return run


def opened(run, config):
    """What training would begin with; the directory is let go of."""
    with contextlib.ExitStack() as held:
        return session.open_session(run, config, held)


def parameters(run, number):
    """Of a step, on the host."""
    config = run.load_config()
    mesh = sharding.make_mesh(config.mesh)
    like = update.state_shape(config, update.build_model(config, mesh), mesh).params
    return jax.device_get(Checkpoints(run.checkpoints_path, 9).restore_params(number, like))


@pytest.mark.parametrize("path, number", [("", 3), ("checkpoints/00000002", 2)])
def test_a_run_begins_with_the_parameters_and_nothing_else_of_a_run_or_of_one_of_its_checkpoints(
    first, data, tmp_path, path, number
):
    begun = opened(RunDirectory(tmp_path / "second"), short(data, first.path / path))
    theirs = parameters(first, number)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(begun.state.params), theirs)
    like = update.state_shape(begun.config, begun.model, begun.mesh)
    assert jax.tree.all(jax.tree.map(lambda x, y: x.sharding == y.sharding, begun.state, like))
    assert int(begun.state.step) == 0 and begun.stream.get_state()["step"] == 0
    assert not any(np.asarray(x).any() for x in jax.tree.leaves((begun.state.opt_state, begun.state.watch)))
    assert sorted(p.name for p in first.checkpoints_path.iterdir()) == ["00000001", "00000002", "00000003"]


def test_a_run_goes_on_from_its_own_checkpoint_without_the_other_run(first, data, tmp_path):
    shutil.copytree(first.path, tmp_path / "gone")
    config, whole, broken = (
        short(data, tmp_path / "gone"),
        RunDirectory(tmp_path / "whole"),
        RunDirectory(tmp_path / "broken"),
    )
    assert loop.train(whole, config) == 0
    shutil.copytree(whole.path, broken.path)
    for later in (2, 3):
        shutil.rmtree(broken.checkpoint_path(later))
    shutil.rmtree(tmp_path / "gone")
    assert loop.train(broken, None) == 0
    jax.tree.map(np.testing.assert_array_equal, parameters(broken, 3), parameters(whole, 3))
    origins = [start["init_from"] for start in json_files.read_lines(broken.starts_path)]
    assert origins == [str(tmp_path / "gone" / "checkpoints" / "00000003"), None]
    drawn = [r["loss"] for r in first.read_metrics() if r["kind"] == "train"]
    learned = [r["loss"] for r in whole.read_metrics() if r["kind"] == "train"]
    assert learned[0] < drawn[0] - 0.1


def test_that_there_is_another_run_belongs_to_the_identity_and_where_it_is_does_not(data):
    hashes = [cfg.config_hash(dataclasses.replace(short(data, path), seed=0)) for path in (None, "runs/a", "runs/b")]
    assert hashes[0] != hashes[1] == hashes[2]


def refused(run, config):
    with pytest.raises(CheckpointError) as error:
        opened(run, config)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_no_run_or_has_no_checkpoint_is_refused(first, data, tmp_path):
    run = RunDirectory(tmp_path / "second")
    assert "init_from='nowhere': is neither a run with checkpoints nor one of them" in refused(
        run, short(data, "nowhere")
    )
    assert "is neither a run" in refused(run, short(data, first.checkpoint_path(7)))
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    assert "empty': holds no checkpoint; train it first" in refused(run, short(data, tmp_path / "empty"))
    with pytest.raises(ConfigError, match="train.init_from='': must be a run directory or a checkpoint in one"):
        validate(short(data, ""))


def test_another_model_is_refused_by_field_with_both_values(first, data, tmp_path):
    config = short(data, first.path)
    other = dataclasses.replace(config, model=dataclasses.replace(config.model, rope_theta=1e4))
    said = refused(RunDirectory(tmp_path / "second"), other)
    assert "model.rope_theta=10000.0: " in said and "00000003 (train.init_from) was trained with 500000.0; use" in said


def test_how_the_same_function_is_computed_may_differ(first, data, tmp_path):
    config = short(data, first.path)
    other = dataclasses.replace(config, model=dataclasses.replace(config.model, logits_chunk=64, attention_block=64))
    assert opened(RunDirectory(tmp_path / "second"), other).origin == first.checkpoint_path(3)


def test_another_tokenizer_or_codebook_is_refused_with_both_fingerprints(first, data, tmp_path):
    run, meta = RunDirectory(tmp_path / "second"), Checkpoints(first.checkpoints_path, 9).meta(3)
    ours = meta["vocabulary"]["tokenizer"]
    other = tmp_path / "other.model"
    synthetic_data.text.train_tokenizer([" ".join(synthetic_data.WORDS)] * 200, other, synthetic_data.TEXT_SIZE)
    config = short(data, first.path)
    said = refused(run, dataclasses.replace(config, data=dataclasses.replace(config.data, tokenizer=str(other))))
    assert said.startswith("data.tokenizer: tokenizer has the fingerprint ") and f"was trained with {ours}; " in said

    for codebook in ("theirs", None):
        folder = tmp_path / str(codebook)
        shutil.copytree(data, folder)
        tell_codebook(folder, codebook)
    said = refused(run, short(tmp_path / "theirs", first.path))
    assert "data.sources: codebook has the fingerprint theirs, " in said and "was trained with ours; " in said
    # a codebook that tells nothing is believed
    assert opened(run, short(tmp_path / "None", first.path)).origin == first.checkpoint_path(3)


def test_a_run_from_before_there_was_the_field_is_read_and_begun_from(first, data, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(first.path, old)
    config = json.loads((old / "config.json").read_text())
    del config["train"]["init_from"], config["data"]["documents"]
    (old / "config.json").write_text(json.dumps(config))
    assert cfg.config_hash(RunDirectory(old).load_config()) == cfg.config_hash(short(data))
    (meta,) = pathlib.Path(old / "checkpoints" / "00000003" / "meta").glob("metadata")
    content = json.loads(meta.read_text())
    del content["vocabulary"]
    meta.write_text(json.dumps(content | {"format_version": 2}))
    assert opened(RunDirectory(tmp_path / "second"), short(data, old)).origin
