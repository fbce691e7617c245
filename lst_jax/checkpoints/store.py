"""Checkpoints of a run through Orbax: parameters, optimizer state and data state, saved while training goes on.

A checkpoint directory holds one folder per step. Its items are `params`, `train` (optimizer state, step, watch over bad
steps), `data` (the data state, one integer array) and `meta`. The last is JSON: the configuration's identity, the
data's fingerprint, versions, and a checksum of each array.

A save that was cut short leaves no folder under a step's name, so every folder that is listed is complete. Later damage
is found when a step is read: Orbax's checksums cover its own files, ours cover the arrays.
"""

import contextlib
import errno
import os
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from lst_jax.checkpoints import one_replica, steps
from lst_jax.checkpoints.quiet import quiet_orbax, stay_quiet
from lst_jax.core.errors import (
    DISK_FULL_ERRNOS,
    PASSING_ERRNOS,
    CheckpointError,
    CheckpointGoneError,
    StorageError,
    first_line,
    storage_error,
)
from lst_jax.step.update import TrainState
from lst_jax.storage import bucket, objects
from lst_jax.storage.place import BucketPath, Place, in_bucket

FORMAT_VERSION = 3  # 1 had no checksums, 2 had no fingerprints of the vocabulary
REMOVAL_SEC = 3.0  # that the removal of a step's files may take
REFUSED_WORDS = (
    "Permission denied",
    "PERMISSION_DENIED",
    "Too many open files",
    "Cannot allocate memory",
    "Out of memory",
    "out of memory",
    "Stale file handle",
    "Input/output error",
    "Transport endpoint",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
)
FULL_DISK_WORDS = ("No space left", "RESOURCE_EXHAUSTED", "File too large", "Disk quota")


class SavedStep(NamedTuple):
    """Everything that a checkpoint holds of a step."""

    state: TrainState
    data_state: np.ndarray
    meta: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, directory: Place, keep: int, keep_every: int | None = None):
        """Opens (and makes) `directory`; saves leave the `keep` newest steps, and all multiples of `keep_every`."""
        self.directory = steps.absolute(directory)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            keep_period=keep_every,
            enable_async_checkpointing=True,
            step_format_fixed_length=8,
            atomicity_options=steps.atomicity(self.directory),
        )
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(quiet_orbax())
        with storage_errors(self.directory):
            steps.commit_copied(self.directory)
            self._manager = ocp.CheckpointManager(steps.for_orbax(self.directory), options=options)

    def latest(self) -> int | None:
        """The newest whole step, or None."""
        return self._manager.latest_step()

    def all_steps(self) -> list[int]:
        """The whole steps, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, data_state: np.ndarray, meta: dict[str, Any]) -> None:
        """Starts writing the state at `state.step`; returns when the arrays are copied. Raises StorageError."""
        items = {"params": state.params, "train": _train_item(state), "data": {"state": data_state}}
        args = ocp.args.Composite(
            **{name: ocp.args.StandardSave(item) for name, item in items.items()},
            meta=ocp.args.JsonSave(
                {
                    "format_version": FORMAT_VERSION,
                    **meta,
                    "checksums": {name: checksums(item) for name, item in items.items()},
                }
            ),
        )
        with storage_errors(self.directory):
            self._manager.save(int(state.step), args=args)

    def meta(self, step: int) -> dict[str, Any]:
        """The JSON item of a step."""
        with self._reading(step):
            return self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta

    def check_whole(self, step: int) -> None:
        """Refuses a step that holds parameters alone, from which no run can go on. Raises CheckpointError."""
        folder = self.directory / f"{step:08d}"
        if objects.is_folder(folder / "params") and not objects.is_folder(folder / "train"):
            raise CheckpointError(
                f"{folder}: holds parameters alone, as lst convert writes them; begin another run "
                "with train.init_from and this path"
            )

    def restore(self, step: int, like: TrainState, data_like: np.ndarray, by_one_replica: bool = False) -> SavedStep:
        """Reads a step into the shapes and shardings of `like`. Raises CheckpointError naming the folder.

        Args: `by_one_replica`: as `lst_jax.checkpoints.one_replica` reads it.
        """
        like = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        items = {"params": like.params, "train": _train_item(like)}
        args = {"data": ocp.args.StandardRestore({"state": data_like}), "meta": ocp.args.JsonRestore()}
        if not by_one_replica:
            args |= {name: ocp.args.StandardRestore(item) for name, item in items.items()}
        with self._reading(step):
            got = dict(self._manager.restore(step, args=ocp.args.Composite(**args)).items())
            if by_one_replica:
                folder = steps.for_orbax(self.directory / f"{step:08d}")
                got |= {n: one_replica.restore(folder / n, item, self._reading(step)) for n, item in items.items()}
            for name in ("params", "train", "data"):
                _verify(got["meta"], name, got[name])
        state = TrainState(params=got["params"], **got["train"])
        return SavedStep(state, np.asarray(got["data"]["state"]), got["meta"])

    def restore_params(self, step: int, like: Any) -> Any:
        """Reads only the parameters of a step."""
        args = ocp.args.Composite(params=ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, like)))
        meta = self.meta(step)
        with self._reading(step):
            params = self._manager.restore(step, args=args).params
            _verify(meta, "params", params)
        return params

    def before(self, step: int) -> int | None:
        """The newest whole step before `step`, or None."""
        return max((s for s in self.all_steps() if s < step), default=None)

    def restore_data_state(self, step: int, like: np.ndarray) -> np.ndarray:
        """Reads only the data state of a step."""
        args = ocp.args.Composite(data=ocp.args.StandardRestore({"state": like}))
        meta = self.meta(step)
        with self._reading(step):
            data = self._manager.restore(step, args=args).data
            _verify(meta, "data", data)
        return np.asarray(data["state"])

    def wait(self) -> None:
        """Returns when the last save is on disk. Raises StorageError where it failed."""
        with storage_errors(self.directory):
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def close(self) -> None:
        """Waits for the last save and closes the directory. Raises StorageError where the save failed."""
        self.wait()
        self._manager.close()
        self._quiet.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _reading(self, step: int):
        return read_errors(self.directory / f"{step:08d}", [s for s in self.all_steps() if s < step])


def _train_item(state: TrainState) -> dict[str, Any]:
    return {name: value for name, value in state._asdict().items() if name != "params"}


def checksums(item: Any) -> dict[str, int]:
    """A number for each array of a tree, by its path; the same however the array is split over devices."""
    found = {
        jax.tree_util.keystr(path, simple=True, separator="/"): _checksum(leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(item)[0]
    }
    return {path: int(number) for path, number in jax.device_get(found).items()}


def _checksum(array: np.ndarray | jax.Array):
    if isinstance(array, np.ndarray):
        return zlib.crc32(np.ascontiguousarray(array).tobytes())
    if array.sharding.memory_kind == "pinned_host":  # moments with train.offload_moments
        array = jax.device_put(array, array.sharding.with_memory_kind("device"))
    return _weighted_bits(array)


@jax.jit
def _weighted_bits(array: jax.Array) -> jax.Array:
    """The sum modulo 2³² of every element's bits times an odd number of its place, where the array is.

    An odd factor loses no bit, so that no change of one element can go unseen.
    """
    bits = jax.lax.bitcast_convert_type(array, jnp.dtype(f"uint{8 * array.dtype.itemsize}")).astype(jnp.uint32)
    place = jnp.zeros(array.shape, jnp.uint32)
    for axis, size in enumerate(array.shape):
        place = place * np.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, array.shape, axis)
    return jnp.sum(bits * (2 * place + 1), dtype=jnp.uint32)


def _verify(meta: dict[str, Any], name: str, item: Any) -> None:
    """Raises ValueError naming the first array that is not what was saved."""
    if meta["format_version"] == 1:
        return
    saved, found = meta["checksums"][name], checksums(item)
    for path in sorted(saved.keys() | found.keys()):
        if saved.get(path) != found.get(path):
            raise ValueError(f"{name}/{path} is not what was saved")


def _system_error(error: BaseException) -> int | None:
    """The system's code for a failed write that a library tells in words, or None where it tells something else."""
    text = str(error)
    if any(words in text for words in FULL_DISK_WORDS):
        return min(DISK_FULL_ERRNOS)
    codes = (errno.EMFILE, *sorted(PASSING_ERRNOS))
    return next((code for code in codes if os.strerror(code) in text), None)


@contextlib.contextmanager
def storage_errors(directory: Place) -> Iterator[None]:
    """Turns a failed write into a StorageError. tensorstore reports a full disk as the text of a ValueError."""
    try:
        yield
    except OSError as error:
        stay_quiet()
        raise storage_error(directory, error) from error
    except Exception as error:
        code = _system_error(error)
        if code is None and isinstance(directory, BucketPath) and bucket.is_of_requests(error):
            stay_quiet()
            raise bucket.error_of(directory, "written", error) from error
        if code is None:
            raise
        stay_quiet()
        raise storage_error(directory, OSError(code, first_line(error))) from error


@contextlib.contextmanager
def read_errors(folder: Place, earlier: list[int]) -> Iterator[None]:
    """Turns any failure to read the step in `folder` into a CheckpointError that offers the newest earlier step."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        stay_quiet()
        cause = first_line(error).partition(" See full TensorStore details")[0][:160]
        if _is_gone(folder):
            raise CheckpointGoneError(
                f"{folder}: was removed while it was being read, as a later checkpoint took its place"
            ) from error
        if isinstance(error, MemoryError) or any(words in str(error) for words in REFUSED_WORDS):
            raise CheckpointError(
                f"{folder}: cannot be read now ({cause}); mend that and run the same command again: "
                "nothing says that the checkpoint is damaged"
            ) from error
        then = f"go on from step {max(earlier)}" if earlier else "start again"
        move = "gcloud storage mv" if in_bucket(folder) else "mv"
        raise CheckpointError(
            f"{folder}: cannot be read ({cause}); move it away to {then}: {move} {folder} {folder}.damaged"
        ) from error


def _is_gone(folder: Place) -> bool:
    """Whether the folder is not there any more; while a later step is there, its removal may still go on."""
    end = time.monotonic() + REMOVAL_SEC
    while objects.is_folder(folder):
        siblings = (name for name in objects.names(folder.parent) if name.isdecimal())
        if time.monotonic() > end or not any(int(name) > int(folder.name) for name in siblings):
            return False
        time.sleep(0.05)
    return True


class SaveClock:
    """Tells when a save is due by the time since the last one."""

    def __init__(self, minutes: float | None, clock: Callable[[], float] = time.monotonic):
        """`minutes` between saves; None = never by time."""
        self._minutes, self._clock = minutes, clock
        self.saved()

    def minutes_passed(self) -> bool:
        """Whether they have passed on this process's clock; processes of a job may differ about it."""
        return self._minutes is not None and self._clock() - self._last >= 60 * self._minutes

    def saved(self) -> None:
        """Starts the minutes anew."""
        self._last = self._clock()
