"""The steps of a folder of checkpoints, and how Orbax is to commit one there.

On a disk a step is written under another name and renamed. A bucket cannot rename a folder: there a step is whole once it
holds `COMMIT_FILE`, which is written last. So it is on the mount of a bucket, for runs that began there.
"""

import pathlib

from etils import epath
from orbax.checkpoint.options import AtomicityMode, AtomicityOptions

from lst_jax.runs.directory import COMMIT_FILE, RunDirectory
from lst_jax.storage import objects
from lst_jax.storage.place import BucketPath, Place


def absolute(directory: Place) -> Place:
    """The place, independent of the working directory."""
    return directory if isinstance(directory, BucketPath) else pathlib.Path(directory).absolute()


def for_orbax(directory: Place) -> epath.Path:
    """The same place as Orbax takes it."""
    return epath.Path(str(directory))


def commits_by_file(directory: Place) -> bool:
    """Whether a step of the run's folder of checkpoints is whole once it holds `COMMIT_FILE`."""
    return RunDirectory(directory.parent).in_segments


def atomicity(directory: Place) -> AtomicityOptions:
    """Orbax's option of how a step of this folder is committed."""
    return AtomicityOptions(AtomicityMode.COMMIT_FILE if commits_by_file(directory) else AtomicityMode.ATOMIC_RENAME)


def whole_steps(directory: Place) -> list[int]:
    """The whole steps, ascending; names that are no number are passed over."""
    run = RunDirectory(directory.parent)
    return [
        step for step in sorted(map(int, filter(str.isdecimal, objects.names(directory)))) if run.has_checkpoint(step)
    ]


def copy_step(source: Place, target: Place) -> None:
    """Copies the folder of a whole step, and commits it as the run of `target` commits its steps. Raises: StorageError."""
    by_file = commits_by_file(target.parent)
    for name in objects.sizes(source):
        if name.rpartition("/")[2] != COMMIT_FILE:
            objects.copy(source / name, target / name)
    if by_file:
        _commit(target, f"copied from {source}\n")


def commit_copied(directory: Place) -> None:
    """Commits the steps that a run had on the disk that it was copied from, as Orbax lists no others in a bucket."""
    run = RunDirectory(directory.parent)
    if run.in_segments and objects.exists(run.starts_path):
        for step in whole_steps(directory):
            if not objects.exists(run.checkpoint_path(step) / COMMIT_FILE):
                _commit(run.checkpoint_path(step), "copied from a disk\n")


def _commit(folder: Place, text: str) -> None:
    for item in [name for name in objects.names(folder) if objects.is_folder(folder / name)]:
        objects.write_text(folder / item / COMMIT_FILE, text)
    objects.write_text(folder / COMMIT_FILE, text)
