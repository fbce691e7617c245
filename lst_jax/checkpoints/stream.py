"""A checkpoint read and written one array at a time, for models that do not fit in memory.

The files are the ones that `lst_jax.checkpoints.store` describes: all of it goes through Orbax's public interface.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util

from lst_jax.checkpoints.quiet import quiet_orbax
from lst_jax.checkpoints.steps import absolute, atomicity, for_orbax, whole_steps
from lst_jax.checkpoints.store import FORMAT_VERSION, checksums, read_errors, storage_errors
from lst_jax.core.errors import CheckpointError, CheckpointGoneError
from lst_jax.storage import objects
from lst_jax.storage.place import Place

HOST_ITEMS = ("data",)  # saved from NumPy arrays, whose checksums are of another kind than those of arrays on devices


class StepFolder:
    """One step of a directory of checkpoints, opened to be read array by array."""

    def __init__(self, directory: Place, step: int):
        """Reads what is kept beside the arrays. Raises: CheckpointError where that is damaged, or of a later format."""
        self.step, self.path = step, absolute(directory) / f"{step:08d}"
        self._orbax_path = for_orbax(self.path)
        whole = whole_steps(directory)
        self._earlier = [s for s in whole if s < step]
        if step not in whole:
            there = ", ".join(map(str, whole)) or "none"
            raise CheckpointGoneError(f"{self.path}: no such checkpoint; give one of those that are there: {there}")
        with self._reading(), _opened(ocp.JsonCheckpointHandler()) as checkpointer:
            self.meta: dict[str, Any] = checkpointer.restore(self._orbax_path / "meta", args=ocp.args.JsonRestore())
        if self.meta["format_version"] > FORMAT_VERSION:
            raise CheckpointError(
                f"{self.path}: format_version={self.meta['format_version']}: this program knows up "
                f"to {FORMAT_VERSION}; use the lst_jax that wrote it, or a later one"
            )

    def check_present(self) -> None:
        """Raises: CheckpointGoneError where the step was removed since."""
        if not objects.is_folder(self.path):
            raise CheckpointGoneError(f"{self.path}: was removed while it was being read")

    @property
    def items(self) -> list[str]:
        """What there is of params, train and data."""
        return [name for name in ("params", "train", "data") if objects.is_folder(self.path / name)]

    def shapes(self, item: str) -> dict[str, tuple[int, ...]]:
        """The arrays of an item by path. Raises: CheckpointError where one is missing or too many."""
        with self._reading(), _opened(ocp.PyTreeCheckpointHandler()) as checkpointer:
            tree = checkpointer.metadata(self._orbax_path / item).item_metadata.tree
            found = {
                jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
                for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
            }
            different = found.keys() ^ self._saved(item, found).keys()
            if different:
                raise ValueError(f"{item}/{min(different)} is not what was saved")
        return found

    def read(self, item: str, path: str) -> np.ndarray:
        """One array. Raises: CheckpointError where it cannot be read, or is not what was saved."""
        one = traverse_util.unflatten_dict({path: ocp.RestoreArgs(restore_type=np.ndarray)}, sep="/")
        args = ocp.args.PyTreeRestore(jax.tree.map(lambda _: 0, one), one, partial_restore=True)
        with self._reading(), _opened(ocp.PyTreeCheckpointHandler()) as checkpointer:
            array = np.asarray(jax.tree.leaves(checkpointer.restore(self._orbax_path / item, args=args))[0])
            if self.meta["format_version"] > 1 and _checksum(item, array) != self._saved(item, {})[path]:
                raise ValueError(f"{item}/{path} is not what was saved")
        return array

    def _reading(self):
        return read_errors(self.path, self._earlier)

    def _saved(self, item: str, unknown: Mapping[str, Any]) -> Mapping[str, Any]:
        """Checksums by path; `unknown` where the format had none."""
        return unknown if self.meta["format_version"] == 1 else self.meta["checksums"][item]


def write_params(
    directory: Place,
    step: int,
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], np.ndarray],
    meta: dict[str, Any],
) -> None:
    """Makes `directory` with one step that holds parameters alone; one array at a time is in memory.

    Args: `read` gives the array of a path, float32 of its shape. It is called twice a path: checksums go beside arrays.
    Raises: StorageError where the file system refuses.
    """
    sums = {path: _checksum("params", read(path)) for path in shapes}
    tree = traverse_util.unflatten_dict({path: _Lazy(path, shape, read) for path, shape in shapes.items()}, sep="/")
    registry = ocp.type_handlers.create_type_handler_registry((_Lazy, _InTurn(deepcopy_host_arrays=False)))
    handlers = {
        "params": ocp.PyTreeCheckpointHandler(type_handler_registry=registry),
        "meta": ocp.JsonCheckpointHandler(),
    }
    directory = absolute(directory)
    options = ocp.CheckpointManagerOptions(
        enable_async_checkpointing=False,
        step_format_fixed_length=8,
        atomicity_options=atomicity(directory),
    )
    meta = {"format_version": FORMAT_VERSION, **meta, "checksums": {"params": sums}}
    with (
        quiet_orbax(),
        storage_errors(directory),
        contextlib.closing(
            ocp.CheckpointManager(for_orbax(directory), options=options, item_handlers=handlers)
        ) as manager,
    ):
        manager.save(step, args=ocp.args.Composite(params=ocp.args.PyTreeSave(tree), meta=ocp.args.JsonSave(meta)))


class _Lazy:
    """A leaf of the tree that Orbax saves; a type of its own, so that Orbax hands it to `_InTurn`."""

    def __init__(self, path: str, shape: tuple[int, ...], read: Callable[[str], np.ndarray]):
        self.shape, self.read = shape, lambda: read(path)


class _InTurn(ocp.type_handlers.NumpyHandler):
    """Reads and writes one array after the other, where Orbax would have all of them at once."""

    async def serialize(self, values, infos, args=None):
        """Returns when all are written."""
        for value, info, arg in zip(values, infos, args, strict=True):
            for written in await super().serialize([value.read()], [info], [arg]):
                written.result()
        return []


@contextlib.contextmanager
def _opened(handler) -> Iterator[ocp.Checkpointer]:
    with quiet_orbax(), contextlib.closing(ocp.Checkpointer(handler)) as checkpointer:
        yield checkpointer


def _checksum(item: str, array: np.ndarray) -> int:
    return checksums({"array": array if item in HOST_ITEMS else jnp.asarray(array)})["array"]
