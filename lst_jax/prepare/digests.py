"""Digests of what something is made from, and single directories that say it of themselves."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lst_jax.core.errors import DataError, storage_error
from lst_jax.storage import objects
from lst_jax.storage.place import Place


def begin(out: Place, name: str, identity: Mapping[str, Any], made: Sequence[str], overwrite: bool) -> None:
    """Makes a directory whose file `name` holds what it is made from, or goes on with one of the same identity.

    `overwrite` removes the files and folders `made`, in this order, and the identity last.
    Raises: DataError where the directory holds something else, StorageError.
    """
    note = out / name
    try:
        is_begun = objects.look(note) is not None
        if not is_begun and objects.exists(out) and not (objects.is_folder(out) and not objects.names(out)):
            raise DataError(f"{out}: is not empty and has no {name}; choose another directory")
        if is_begun and overwrite:
            for old in (out / child for child in made):
                objects.delete_folder(old) if objects.is_folder(old) else objects.delete(old)
            objects.delete(note)
            is_begun = False
        if not is_begun:
            objects.write_json(note, identity)
            return
        before = json.loads(objects.read_text(note))
        differing = sorted(k for k in identity.keys() | before.keys() if identity.get(k) != before.get(k))
        if differing:
            raise DataError(
                f"{out}: was begun with another input ({', '.join(differing)} differ); choose another "
                "directory or pass --overwrite"
            )
    except OSError as error:
        raise storage_error(out, error) from error


def digest(parts: Iterable[str]) -> str:
    """Sixteen hex digits over a sequence of strings, their order and borders included."""
    total = hashlib.sha256()
    for part in parts:
        total.update(f"{len(part)}:{part}".encode())
    return total.hexdigest()[:16]
