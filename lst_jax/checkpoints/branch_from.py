"""Branching off another run (`train.branch_from`): its whole state at a checkpoint, to decay the learning rate from.

A branch is, to the last bit, what a run of the branch's own length would have been: up to the checkpoint both have the
same parameters, data and learning rates. A family of lengths therefore costs one long run, the trunk, and a decay per
length. Only the very first start of a branch reads the trunk.
"""

from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from lst_jax.checkpoints.store import Checkpoints
from lst_jax.config import Config, identity
from lst_jax.core.errors import CheckpointError
from lst_jax.data.pipeline import BatchStream
from lst_jax.data.rows import initial_state
from lst_jax.model.architectures.architecture import Architecture
from lst_jax.parallel import processes
from lst_jax.runs import directory
from lst_jax.runs.directory import RunDirectory
from lst_jax.step import update
from lst_jax.step.schedules.registry import schedule_of
from lst_jax.storage.place import Place

# Fields of the identity in which a branch may differ from its trunk: its name, its length, and how it ends
FREE_FIELDS = (
    "name",
    "train.steps",
    "train.init_from",
    "train.branch_from",
    "optim.final_lr_ratio",
    "optim.wsd.decay_steps",
    "optim.wsd.decay_shape",
)


class Branch(NamedTuple):
    """The state that a branch goes on from, the data state beside it, and the checkpoint that both are from."""

    state: update.TrainState
    data_state: np.ndarray
    origin: Place


def branch(config: Config, model: Architecture, mesh: Mesh, stream: BatchStream) -> Branch:
    """Reads the whole state of `train.branch_from` onto the mesh.

    Raises: CheckpointError where there is no such checkpoint, it is damaged, of other data or of another
    configuration, or where the learning rate of either run has left its peak there.
    """
    with processes.barrier({}):
        run, step = find(config.train.branch_from)
    with Checkpoints(run.checkpoints_path, keep=1) as checkpoints:
        with processes.barrier({}):
            checkpoints.check_whole(step)
            check_fits(config, stream.fingerprint(), checkpoints.meta(step), run, step)
        with processes.barrier({}):
            saved = checkpoints.restore(
                step,
                update.state_shape(config, model, mesh),
                initial_state(config.data.rows, len(config.data.sources)),
            )
    return Branch(saved.state, saved.data_state, run.checkpoint_path(step))


def find(path: str) -> tuple[RunDirectory, int]:
    """The run and the step that `path` names. Raises: CheckpointError where it names no checkpoint."""
    found = directory.find(path)
    if found is None or found[1] is None:
        raise CheckpointError(f"train.branch_from={path!r}: is no checkpoint of a run; give RUN/checkpoints/STEP")
    return found


def check_fits(config: Config, data_fingerprint: str, meta: dict, run: RunDirectory, step: int) -> None:
    """Refuses a checkpoint that this run would not have come to by itself, naming the field and both sides."""
    folder, ours, theirs = run.checkpoint_path(step), identity(config), meta["identity"]
    for key in sorted(ours.keys() | theirs.keys()):
        if key not in FREE_FIELDS and ours.get(key) != theirs.get(key):
            raise CheckpointError(
                f"{key}={ours.get(key)!r}: {folder} (train.branch_from) was trained with {theirs.get(key)!r}; a branch "
                f"may differ from its trunk in {', '.join(FREE_FIELDS)} alone"
            )
    if meta["data_fingerprint"] != data_fingerprint:
        raise CheckpointError(
            f"{folder} (train.branch_from): was trained on data {meta['data_fingerprint']}, the sources now are "
            f"{data_fingerprint}; restore the data"
        )
    for which, settings in (("the trunk", run.load_config()), ("this run", config)):
        optim = settings.optim
        stable = schedule_of(optim).stable(optim, settings.train.steps)
        if step not in stable:
            nowhere = f"nowhere with optim.schedule={optim.schedule!r}"
            span = f"from step {stable[0]} to {stable[-1]}" if stable else nowhere
            raise CheckpointError(
                f"train.branch_from={str(folder)!r}: the learning rate of {which} is at its peak {span}; branch there, "
                "or change train.steps and optim.wsd.decay_steps"
            )
