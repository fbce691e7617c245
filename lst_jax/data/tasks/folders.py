"""What the readers of benchmarks of audio share: folders of recordings, and texts beside them."""

from lst_jax.core.errors import DataError
from lst_jax.storage import objects
from lst_jax.storage.place import Place

SUFFIX = ".wav"


def recordings(path: Place) -> dict[str, list[str]]:
    """{folder: names of its .wav files without suffix, in order}.

    The only folder is "", which is `path` itself, where `path` has recordings. Otherwise they are the folders in `path`
    that have some. Files whose names begin with a dot are passed over, as unpacking leaves some behind.
    Raises: DataError where `path` is no folder, or there are no recordings.
    Example: a/s_0.wav, a/s_1.wav, b/notes.txt -> {"a": ["s_0", "s_1"]}
    """
    if not objects.is_folder(path):
        raise DataError(f"{path}: is no folder; give the folder of the unpacked benchmark")
    found: dict[str, list[str]] = {}
    for name in objects.sizes(path):
        folder, _, file = name.rpartition("/")
        if "/" not in folder and file.endswith(SUFFIX) and not file.startswith("."):
            found.setdefault(folder, []).append(file.removesuffix(SUFFIX))
    if not found:
        raise DataError(
            f"{path}: has no .wav files, and none in its folders; give the folder of the unpacked benchmark"
        )
    chosen = [""] if "" in found else sorted(found)
    return {folder: sorted(found[folder]) for folder in chosen}


def inside(path: Place, folder: str) -> Place:
    """The place of a folder that `recordings` names."""
    return path / folder if folder else path


def below(folder: str, name: str) -> str:
    """The name of a recording as its part of an item has it. Example: below("a", "s_0") -> "a/s_0"."""
    return f"{folder}/{name}" if folder else name


def text_beside(path: Place, name: str) -> str | None:
    """The text of `path/NAME.txt` without blanks at its edges; None where there is no such file, or it is blank.

    Raises: DataError where the file is not UTF-8.
    """
    file = path / f"{name}.txt"
    if objects.look(file) is None:
        return None
    try:
        return objects.read_bytes(file).decode("utf-8-sig").strip() or None
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is not UTF-8 text ({error.reason}); convert it") from error
