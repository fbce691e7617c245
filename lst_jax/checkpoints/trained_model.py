"""The model of a run with the parameters of a checkpoint, on devices and ready to be asked."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from jax.sharding import Mesh

from lst_jax.checkpoints.newest import read_newest
from lst_jax.checkpoints.store import Checkpoints
from lst_jax.config import Config, MeshConfig
from lst_jax.core.errors import CheckpointError, ConfigError
from lst_jax.model.architectures.architecture import Architecture
from lst_jax.parallel import sharding
from lst_jax.recipes.load import changed
from lst_jax.runs.directory import RunDirectory
from lst_jax.step import update
from lst_jax.storage import objects


class TrainedModel(NamedTuple):
    """A run's model and parameters; `step` is that of the checkpoint."""

    run: RunDirectory
    config: Config
    mesh: Mesh
    model: Architecture
    params: Any
    step: int


def load_trained_model(
    run: RunDirectory, mesh_changes: Sequence[str] = (), one_device: bool = False, step: int | None = None
) -> TrainedModel:
    """Reads the parameters alone, of the newest checkpoint or of that at `step`; each device reads its own parts.

    Where a training that goes on removes the newest checkpoint meanwhile, the one that is newest then is read.

    Args:
        mesh_changes: "mesh.FIELD=VALUE", as `--set` takes them; fields that are not named are chosen. Without any it
            is the run's mesh, or what of it suits this process's devices (`mesh_sizes.sizes_to_use`).
        one_device: whatever the run's mesh is.
    Raises: CheckpointError where the run has no such checkpoint; ConfigError where a mesh that was asked for does not suit.
    """
    config = run.load_config()
    asked = _asked_mesh(config, ["mesh.data=1"] if one_device else mesh_changes)
    missing = CheckpointError(f"{run.checkpoints_path}: holds no checkpoint; train first with lst train {run.path}")
    if not objects.is_folder(run.checkpoints_path):  # opening it would make it
        raise missing
    mesh = sharding.mesh_to_use(config, asked)
    model = update.build_model(config, mesh)
    like = update.state_shape(config, model, mesh).params

    def read() -> TrainedModel:
        with Checkpoints(run.checkpoints_path, config.train.checkpoint_keep) as checkpoints:
            there = checkpoints.all_steps()
            if not there:
                raise missing
            if step is not None and step not in there:
                listed = ", ".join(map(str, there))
                raise CheckpointError(f"--step {step}: {run.checkpoints_path} holds {listed}; give one of these")
            chosen = there[-1] if step is None else step
            return TrainedModel(run, config, mesh, model, checkpoints.restore_params(chosen, like), chosen)

    return read_newest(read, run.path)


def _asked_mesh(config: Config, changes: Sequence[str]) -> MeshConfig | None:
    for change in changes:
        if not change.startswith("mesh."):
            raise ConfigError(f"--set {change}: of a trained run only the mesh may change; write it as mesh.tensor=4")
    return changed(dataclasses.replace(config, mesh=MeshConfig()), changes).mesh if changes else None
