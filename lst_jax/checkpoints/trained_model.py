"""The model of a run with the parameters of its newest checkpoint, on devices and ready to be asked."""

from typing import Any, NamedTuple

from jax.sharding import Mesh

from lst_jax.checkpoints.newest import read_newest
from lst_jax.checkpoints.store import Checkpoints
from lst_jax.config import Config
from lst_jax.core.errors import CheckpointError
from lst_jax.model.architectures.architecture import Architecture
from lst_jax.parallel import sharding
from lst_jax.runs.directory import RunDirectory
from lst_jax.step import update


class TrainedModel(NamedTuple):
    """A run's model and parameters; `step` is that of the checkpoint."""

    run: RunDirectory
    config: Config
    mesh: Mesh
    model: Architecture
    params: Any
    step: int


def load_trained_model(run: RunDirectory, one_device: bool = False) -> TrainedModel:
    """Reads the parameters alone, onto one device or onto the run's mesh over all devices of this job.

    Where a training that goes on removes the newest checkpoint meanwhile, the one that is newest then is read.
    Raises: CheckpointError where the run has no checkpoint; ConfigError where the mesh does not suit it.
    """
    config = run.load_config()
    missing = CheckpointError(f"{run.checkpoints_path}: holds no checkpoint; train first with lst train {run.path}")
    if not run.checkpoints_path.is_dir():  # opening it would make it
        raise missing
    mesh = sharding.one_device() if one_device else sharding.make_mesh(config.mesh)
    sharding.check(config, mesh)
    model = update.build_model(config, mesh)
    like = update.state_shape(config, model, mesh).params

    def read() -> TrainedModel:
        with Checkpoints(run.checkpoints_path, config.train.checkpoint_keep) as checkpoints:
            newest = checkpoints.latest()
            if newest is None:
                raise missing
            return TrainedModel(run, config, mesh, model, checkpoints.restore_params(newest, like), newest)

    return read_newest(read, run.path)
