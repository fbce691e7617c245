"""The pictures and sounds of a run that its page may embed."""

import pathlib


def own_files(run_path: pathlib.Path, folder: str, pattern: str) -> tuple[list[pathlib.Path], list[str]]:
    """The regular files of RUN/FOLDER that match `pattern`, and one line for each that was passed over.

    A symbolic link that leads out of the run is passed over: the page is passed on, and must not hold other files.
    """
    root = run_path.resolve()
    found, passed_over = [], []
    for path in sorted((run_path / folder).glob(pattern)):
        if not is_inside(path, root):
            passed_over.append(f"{path}: passed over, it leads out of the run; copy the file here to have it shown")
        elif path.is_file():
            found.append(path)
    return found, passed_over


def is_inside(path: pathlib.Path, root: pathlib.Path) -> bool:
    """Whether `path`, with symbolic links followed, lies in the folder `root`, which is resolved already."""
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a circle of links
        return False
