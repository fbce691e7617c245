"""The files at a place that a user names: a file, a folder with all below it, or a pattern such as gs://b/part-*.jsonl.

One listing gives names, sizes and versions, as a question for each of 50 million objects would take days.
"""

import pathlib
from collections.abc import Callable

from lst_jax.core.errors import DataError
from lst_jax.data import line_files
from lst_jax.prepare.corpora.protocol import InputFile
from lst_jax.storage import objects
from lst_jax.storage.place import Place

WILDCARDS = frozenset("*?[")
HIDDEN = (".", "_")  # how names begin that programs leave beside their files: _SUCCESS, .part.crc
Fits = Callable[[str], bool]


def is_pattern(place: Place) -> bool:
    """Whether the place is a pattern, and no file or folder of that very name."""
    return bool(WILDCARDS & set(str(place))) and not objects.exists(place)


def input_files(place: Place, fits: Fits) -> list[InputFile]:
    """The file; or those of a folder whose name `fits`, or those that a pattern matches. They are sorted by name.

    The name of an `InputFile` is the whole address: who knows all files makes it short.
    Raises: DataError where there is nothing; StorageError.
    """
    if is_pattern(place):
        return [InputFile(path, *state, str(path)) for path, state in objects.matching(place).items()]
    state = objects.look(place)
    if state is not None:
        return [InputFile(place, *state, str(place))]
    if not objects.exists(place):
        raise DataError(f"{place}: no such file or directory; correct the path")
    if not objects.is_folder(place):
        raise DataError(f"{place}: is no regular file; give a file, a folder or a pattern")
    return [
        InputFile(place / name, *state, str(place / name))
        for name, state in objects.listing(place).items()
        if fits(name) and not any(part.startswith(HIDDEN) for part in name.split("/"))
    ]


def suffix(name: str) -> str:
    """What a name ends with, that of a compression left out. Example: "a/part.jsonl.gz" -> ".jsonl"."""
    return line_files.suffix(pathlib.PurePosixPath(name))
