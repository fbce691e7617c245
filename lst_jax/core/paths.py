"""Tells addresses (`gs://bucket/folder`) from paths of this machine."""

import os
import re

from lst_jax.core.errors import ConfigError

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
SCHEME_FOLDER = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)
FIX = "write an address with two slashes, as gs://BUCKET/FOLDER, or give a folder of another name"


def is_address(path: str | os.PathLike) -> bool:
    """Whether `path` is a URL. Example: "gs://bucket/speech" -> True, "/data/speech" -> False."""
    return ADDRESS.match(os.fspath(path)) is not None


def check_local(name: str, value: str, rule: str) -> None:
    """Refuses a value that has an address in it, such as `gs://b/d`, `NAME=gs://b/d` or `whisper:gs://b/d`.

    Args: `name` is the option or the field, and `rule` what is wrong and the fix, for the message.
    Raises: ConfigError.
    """
    if ADDRESS.search(value):
        raise ConfigError(f"{name}={value!r}: {rule}")


def check_writable_place(path: str | os.PathLike) -> None:
    """Refuses to write into a folder `gs:`, which is what becomes of an address that is used as a path.

    Raises: ConfigError.
    """
    first = os.fspath(path).partition("/")[0]
    if SCHEME_FOLDER.fullmatch(first):
        raise ConfigError(
            f"{os.fspath(path)}: looks like an address, and would be written to a folder {first!r}; {FIX}"
        )
