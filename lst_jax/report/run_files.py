"""The pictures and sounds of a run that its page may embed."""

import pathlib

from lst_jax.storage import objects
from lst_jax.storage.place import Place


def own_files(run_path: Place, folder: str, suffix: str) -> tuple[list[Place], list[str]]:
    """The regular files of RUN/FOLDER whose names end in `suffix`, and one line for each that was passed over.

    A symbolic link that leads out of the run is passed over: the page is passed on, and must not hold other files.
    """
    there = [run_path / folder / name for name in objects.names(run_path / folder) if name.endswith(suffix)]
    if not isinstance(run_path, pathlib.Path):
        return there, []  # a bucket has no links
    root = run_path.resolve()
    found, passed_over = [], []
    for path in there:
        if not is_inside(path, root):
            passed_over.append(f"{path}: passed over, it leads out of the run; copy the file here to have it shown")
        elif path.is_file():
            found.append(path)
    return found, passed_over


def is_inside(path: Place, root: Place) -> bool:
    """Whether `path`, with symbolic links followed, lies in the folder `root`; a bucket has no links."""
    if not isinstance(path, pathlib.Path) or not isinstance(root, pathlib.Path):
        return True
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a circle of links
        return False
