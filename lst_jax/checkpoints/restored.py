"""A run as it stands: its configuration and the parameters of its newest checkpoint, on devices."""

from typing import Any, NamedTuple

from jax.sharding import Mesh

from lst_jax.checkpoints.newest import read_newest
from lst_jax.checkpoints.store import Checkpoints
from lst_jax.config import Config
from lst_jax.core.errors import CheckpointError
from lst_jax.model import lst
from lst_jax.parallel import sharding
from lst_jax.runs.directory import RunDirectory
from lst_jax.step import update


class Restored(NamedTuple):
    """What is needed to ask a run anything; `step` is that of the checkpoint."""

    run: RunDirectory
    config: Config
    mesh: Mesh
    model: lst.Model
    params: Any
    step: int


def restore(run: RunDirectory, one_device: bool = False) -> Restored:
    """The parameters alone, on one device or on the run's mesh over all devices of this job.

    The newest checkpoint is taken again where a training that goes on removes it meanwhile.
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

    def read() -> Restored:
        checkpoints = Checkpoints(run.checkpoints_path, config.train.checkpoint_keep)
        newest = checkpoints.latest()
        if newest is None:
            raise missing
        params = checkpoints.restore_params(newest, like)
        checkpoints.close()
        return Restored(run, config, mesh, model, params, newest)

    return read_newest(read, run.path)
