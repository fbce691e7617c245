"""Single files that are made once: a second call with the same input has nothing to do, another input is refused.

Beside FILE stands FILE.made-from.json with what it was made from, written before FILE is.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from lst_jax.core import files
from lst_jax.core.errors import DataError


def begin(path: str | os.PathLike, inputs: Mapping[str, Any], overwrite: bool) -> bool:
    """True where `path` is to be made now, False where it was made from the same `inputs` (JSON values) before.

    Raises: DataError where it was made from others and `overwrite` is not set.
    """
    path = pathlib.Path(path)
    note = path.with_name(f"{path.name}.made-from.json")
    if path.exists() and not overwrite:
        before = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
        differing = sorted(k for k in inputs.keys() | before.keys() if inputs.get(k) != before.get(k))
        if not differing:
            return False
        raise DataError(
            f"{path}: is there already, made from another input ({', '.join(differing)} differ); choose "
            "another name or pass --overwrite"
        )
    path.unlink(missing_ok=True)
    files.write_json(note, inputs)
    return True
