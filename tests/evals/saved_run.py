"""A run directory with a checkpoint that was never trained: quick to make, and as good as any other to be scored."""

import dataclasses
import pathlib

import jax
import training_run

from lst_jax import config as cfg
from lst_jax import sharding, step
from lst_jax.checkpoint import Checkpoints
from lst_jax.data.rows import initial_state
from lst_jax.run_dir import RunDirectory


def make(folder: pathlib.Path) -> RunDirectory:
    """The run of `training_run`, with its data, texts among what is held out, and embeddings that matter."""
    training_run.make_data(folder)
    config = training_run.make_config(folder)
    heldout = (*config.eval.sources, cfg.SourceConfig("text", "text", str(folder / "text"), 1.0))
    config = dataclasses.replace(config, eval=dataclasses.replace(config.eval, sources=heldout))
    run = RunDirectory(folder / "run")
    run.write_config(config)
    mesh = sharding.make_mesh(config.mesh)
    state = step.init_state(config, step.build_model(config, mesh), mesh)
    state = state._replace(params=jax.tree.map(lambda x: 2 * x, state.params))
    checkpoints = Checkpoints(run.checkpoints_path, 1)
    checkpoints.save(state, initial_state(config.data.rows, len(config.data.sources)), {})
    checkpoints.close()
    return run
