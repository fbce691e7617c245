"""Single files that are made once: a second call with the same input has nothing to do, another input is refused.

Beside FILE stands FILE.made-from.json with what it was made from, written before FILE is.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

from lst_jax.core.errors import DataError
from lst_jax.storage import objects
from lst_jax.storage.place import to_place


def begin(path: str | os.PathLike, inputs: Mapping[str, Any], overwrite: bool) -> bool:
    """True where `path` is to be made now, False where it was made from the same `inputs` (JSON values) before.

    Raises: DataError where it was made from others and `overwrite` is not set.
    """
    place = to_place(path)
    note = place.with_name(f"{place.name}.made-from.json")
    if objects.exists(place) and not overwrite:
        before = json.loads(objects.read_text(note)) if objects.exists(note) else {}
        differing = sorted(k for k in inputs.keys() | before.keys() if inputs.get(k) != before.get(k))
        if not differing:
            return False
        raise DataError(
            f"{path}: is there already, made from another input ({', '.join(differing)} differ); choose "
            "another name or pass --overwrite"
        )
    objects.delete(place)
    objects.write_json(note, inputs)
    return True
