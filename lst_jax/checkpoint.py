"""Orbax behind one thin module: parameters, optimizer and data state of a step, saved without holding up the loop.

A checkpoint directory holds one folder a step with the items `params`, `train` (optimizer state, step, watch over
bad steps), `data` (the data state, one integer array) and `meta` (JSON: the configuration's identity, the data's
fingerprint, versions). A save that was cut short leaves no folder under a step's name, so whatever is listed is whole.
"""

import logging
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from lst_jax.errors import DISK_FULL_ERRNOS, CheckpointError, StorageError, storage_error
from lst_jax.step import TrainState

FORMAT_VERSION = 1
FULL_DISK_WORDS = ("No space left", "RESOURCE_EXHAUSTED", "File too large", "Disk quota")
logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax logs several lines a save; what fails is raised
logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # the siblings of a failed write; the failure itself is raised


class Restored(NamedTuple):
    """What a checkpoint gives back."""

    state: TrainState
    data_state: np.ndarray
    meta: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, directory: pathlib.Path, keep: int):
        """Opens (and makes) `directory`; the `keep` newest steps are kept."""
        self.directory = pathlib.Path(directory).absolute()
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True,
                                               step_format_fixed_length=8)
        with _storage(self.directory):
            self._manager = ocp.CheckpointManager(self.directory, options=options)

    def latest(self) -> int | None:
        """The newest whole step, or None."""
        return self._manager.latest_step()

    def save(self, state: TrainState, data_state: np.ndarray, meta: dict[str, Any]) -> None:
        """Starts writing the state at `state.step`; returns when the arrays are copied. Raises StorageError."""
        args = ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            train=ocp.args.StandardSave(_train_item(state)),
            data=ocp.args.StandardSave({"state": data_state}),
            meta=ocp.args.JsonSave({"format_version": FORMAT_VERSION, **meta}))
        with _storage(self.directory):
            self._manager.save(int(state.step), args=args)

    def meta(self, step: int) -> dict[str, Any]:
        """The JSON item of a step."""
        with self._reading(step):
            return self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta

    def restore(self, step: int, like: TrainState, data_like: np.ndarray) -> Restored:
        """Reads a step into the shapes and shardings of `like`. Raises CheckpointError naming the folder."""
        like = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        args = ocp.args.Composite(
            params=ocp.args.StandardRestore(like.params),
            train=ocp.args.StandardRestore(_train_item(like)),
            data=ocp.args.StandardRestore({"state": data_like}), meta=ocp.args.JsonRestore())
        with self._reading(step):
            got = self._manager.restore(step, args=args)
        state = TrainState(params=got.params, **got.train)
        return Restored(state, np.asarray(got.data["state"]), got.meta)

    def restore_params(self, step: int, like: Any) -> Any:
        """Reads only the parameters of a step."""
        args = ocp.args.Composite(params=ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, like)))
        with self._reading(step):
            return self._manager.restore(step, args=args).params

    def before(self, step: int) -> int | None:
        """The newest whole step before `step`, or None."""
        return max((s for s in self._manager.all_steps() if s < step), default=None)

    def restore_data_state(self, step: int, like: np.ndarray) -> np.ndarray:
        """Reads only the data state of a step."""
        args = ocp.args.Composite(data=ocp.args.StandardRestore({"state": like}))
        with self._reading(step):
            return np.asarray(self._manager.restore(step, args=args).data["state"])

    def wait(self) -> None:
        """Returns when the last save is on disk. Raises StorageError where it failed."""
        with _storage(self.directory):
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def close(self) -> None:
        """Waits and lets go."""
        self.wait()
        self._manager.close()

    def _reading(self, step: int):
        return _Reading(self.directory / f"{step:08d}", [s for s in self._manager.all_steps() if s < step])


def _train_item(state: TrainState) -> dict[str, Any]:
    return {name: value for name, value in state._asdict().items() if name != "params"}


def _disk_is_full(error: BaseException) -> bool:
    return any(words in str(error) for words in FULL_DISK_WORDS)


class _storage:
    """Turns a failed write into a StorageError; tensorstore reports a full disk as ValueError text."""

    def __init__(self, directory: pathlib.Path):
        self._directory = directory

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, OSError):
            raise storage_error(self._directory, error) from error
        if isinstance(error, Exception) and _disk_is_full(error):
            raise storage_error(self._directory, OSError(min(DISK_FULL_ERRNOS), str(error))) from error


class _Reading:
    """Turns any failure to read a step into one line that offers the step before it."""

    def __init__(self, folder: pathlib.Path, earlier: list[int]):
        self._folder, self._earlier = folder, earlier

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, Exception) and not isinstance(error, StorageError):
            first_line = (str(error).strip().splitlines() or [kind.__name__])[0][:160]
            offer = (f"move it away to go on from step {max(self._earlier)}" if self._earlier
                     else "move it away to start again")
            raise CheckpointError(f"{self._folder}: cannot be read ({first_line}); {offer}") from error
