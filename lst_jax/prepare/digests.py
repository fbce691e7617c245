"""Digests of what something is made from, and single directories that say it of themselves."""

import hashlib
import json
import pathlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lst_jax.core import files
from lst_jax.core.errors import DataError, storage_error


def begin(out: pathlib.Path, name: str, identity: Mapping[str, Any], made: Sequence[str], overwrite: bool) -> None:
    """Makes a directory whose file `name` holds what it is made from, or goes on with one of the same identity.

    `overwrite` removes the files and folders `made`, in this order, and the identity last.
    Raises: DataError where the directory holds something else, StorageError.
    """
    note = out / name
    try:
        if not note.is_file() and out.exists() and any(out.iterdir()):
            raise DataError(f"{out}: is not empty and has no {name}; choose another directory")
        if note.is_file() and overwrite:
            for old in (out / child for child in made):
                if old.is_dir():
                    shutil.rmtree(old, ignore_errors=True)
                else:
                    old.unlink(missing_ok=True)
            note.unlink()
        if note.is_file():
            before = json.loads(note.read_text(encoding="utf-8"))
            differing = sorted(k for k in identity.keys() | before.keys() if identity.get(k) != before.get(k))
            if differing:
                raise DataError(
                    f"{out}: was begun with another input ({', '.join(differing)} differ); choose another "
                    "directory or pass --overwrite"
                )
        else:
            files.write_json(note, identity)
    except OSError as error:
        raise storage_error(out, error) from error


def digest(parts: Iterable[str]) -> str:
    """Sixteen hex digits over a sequence of strings, their order and borders included."""
    total = hashlib.sha256()
    for part in parts:
        total.update(f"{len(part)}:{part}".encode())
    return total.hexdigest()[:16]
