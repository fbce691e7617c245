"""Tells addresses (`gs://bucket/folder`) from paths of this machine."""

import os
import pathlib
import re

from lst_jax.core.errors import ConfigError

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
SCHEME_FOLDER = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)
FIX = "mount the bucket and give the folder that it is mounted at, or give a local path and copy it afterwards"


def is_address(path: str | os.PathLike) -> bool:
    """Whether `path` is a URL. Example: "gs://bucket/speech" -> True, "/data/speech" -> False."""
    return ADDRESS.match(os.fspath(path)) is not None


def check_local(name: str, value: str | os.PathLike | None) -> None:
    """Refuses a value that has an address in it, such as `gs://b/d`, `NAME=gs://b/d` or `whisper:gs://b/d`.

    Args: `name` is the option or the field, for the message.
    Raises: ConfigError.
    """
    if value is None:
        return
    text = os.fspath(value)
    if isinstance(value, pathlib.PurePath):  # which has made one slash of two
        text = re.sub(f"^({SCHEME_FOLDER.pattern})/", r"\1//", text, flags=re.IGNORECASE)
    if ADDRESS.search(text):
        raise ConfigError(f"{name}={text!r}: must be a path of this machine, not an address; {FIX}")


def check_writable_place(path: str | os.PathLike) -> None:
    """Refuses to write into a folder `gs:`, which is what becomes of an address that is used as a path.

    Raises: ConfigError.
    """
    first = os.fspath(path).partition("/")[0]
    if SCHEME_FOLDER.fullmatch(first):
        raise ConfigError(
            f"{os.fspath(path)}: looks like an address, and would be written to a folder {first!r}; {FIX}"
        )
