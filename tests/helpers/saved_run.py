"""A run directory with a checkpoint that was never trained: quick to make, and as good as any other to be scored."""

import dataclasses
import pathlib

import jax
import numpy as np
import training_run

from lst_jax import config as cfg
from lst_jax.checkpoints.store import Checkpoints
from lst_jax.data.rows import initial_state
from lst_jax.parallel import sharding
from lst_jax.runs.directory import RunDirectory
from lst_jax.step import update


def make(folder: pathlib.Path, make_config=training_run.make_config) -> RunDirectory:
    """The run of `training_run`, with its data, texts among what is held out, and embeddings that matter."""
    training_run.make_data(folder)
    config = make_config(folder)
    heldout = (*config.eval.sources, cfg.SourceConfig("text", "text", str(folder / "text"), 1.0))
    config = dataclasses.replace(config, eval=dataclasses.replace(config.eval, sources=heldout, batches=50))
    return save(RunDirectory(folder / "run"), config)


def save(run: RunDirectory, config: cfg.Config, step: int = 0) -> RunDirectory:
    """Writes the configuration, and a checkpoint of drawn parameters at `step`."""
    run.write_config(config)
    mesh = sharding.make_mesh(config.mesh)
    shapes = update.state_shape(config, update.build_model(config, mesh), mesh)
    rng = np.random.default_rng(7)
    params = jax.tree.map(lambda s: rng.normal(0, 2 * s.shape[0] ** -0.5, s.shape), shapes.params)
    state = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes)._replace(params=params, step=np.int32(step))
    state = jax.tree.map(lambda x, s: jax.device_put(x.astype(s.dtype), s.sharding), state, shapes)
    checkpoints = Checkpoints(run.checkpoints_path, 1)
    checkpoints.save(state, initial_state(config.data.rows, len(config.data.sources)), {})
    checkpoints.close()
    return run
