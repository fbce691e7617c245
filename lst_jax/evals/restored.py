"""A run as it stands: its configuration and the parameters of its newest checkpoint, on the devices of this job."""

from typing import Any, NamedTuple

from jax.sharding import Mesh

from lst_jax import sharding, step
from lst_jax.checkpoint import Checkpoints
from lst_jax.config import Config
from lst_jax.errors import CheckpointError
from lst_jax.model import lst
from lst_jax.run_dir import RunDirectory


class Restored(NamedTuple):
    """What any evaluation needs; `step` is that of the checkpoint."""

    config: Config
    mesh: Mesh
    model: lst.Model
    params: Any
    step: int


def restore(run: RunDirectory) -> Restored:
    """Raises: CheckpointError where the run has no checkpoint; ConfigError where the mesh does not suit it."""
    config = run.load_config()
    checkpoints = Checkpoints(run.checkpoints_path, config.train.checkpoint_keep)
    newest = checkpoints.latest()
    if newest is None:
        raise CheckpointError(f"{run.checkpoints_path}: holds no checkpoint; train first with lst train {run.path}")
    mesh = sharding.make_mesh(config.mesh)
    sharding.check(config, mesh)
    model = step.build_model(config, mesh)
    params = checkpoints.restore_params(newest, step.state_shape(config, model, mesh).params)
    return Restored(config, mesh, model, params, newest)
