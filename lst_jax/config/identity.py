"""Which values define what is learned, and which may differ between a checkpoint and the run that resumes it.

What each field means for the identity stands at the field (`lst_jax.config.fields`). Stored identities keep the names
that fields had first, so that hashes stay.
"""

import functools
import hashlib
import json
import re
from typing import Any

from lst_jax.config.fields import NOTHING, Declared, declared_leaves, leaves
from lst_jax.config.schema import Config
from lst_jax.core.errors import ConfigError


def identity(config: Config) -> dict[str, Any]:
    """The values that define what is learned, by the dotted paths that stored identities have."""
    found = {}
    for leaf in leaves(config):
        notes = leaf.field.notes
        if leaf.is_free or (notes.since is not NOTHING and leaf.value == notes.since):
            continue
        value = notes.former_value(leaf.value)
        found[leaf.former_path] = value and "FILE" if notes.meaning == "presence" else value
    return found


def config_hash(config: Config) -> str:
    """Sixteen hex digits of the identity; equal hashes train the same thing."""
    return hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()[:16]


def other_function(ours: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    """The first field of two identities by which equal parameters would mean another function of the same tokens.

    A field that only one of them has is passed over: the older run did what the field's absence means.
    """
    for path in sorted(ours.keys() & theirs.keys()):
        found = _by_former_path(path)
        if found and found[1].notes.meaning == "function" and ours[path] != theirs[path]:
            return path
    return None


def check_same_identity(ours: Config, theirs: dict[str, Any], where: str) -> None:
    """Refuses a stored identity that differs from that of `ours`.

    Raises: ConfigError naming the first field that differs, and both values.
    """
    mine = identity(ours)
    for key in sorted(mine.keys() | theirs.keys()):
        if mine.get(key) != theirs.get(key):
            path, ours_now, theirs_now = _in_present_names(key, mine.get(key), theirs.get(key))
            raise ConfigError(
                f"{path}={ours_now!r}: {where} was made with {theirs_now!r}; use that value, or another run directory"
            )


def _in_present_names(key: str, *values: Any) -> tuple[Any, ...]:
    found = _by_former_path(key)
    if found is None:
        return (key, *values)
    path, field = found
    for index in re.findall(r"(?<=\.)\d+(?=\.)", key):
        path = path.replace("*", index, 1)
    return (path, *map(field.notes.present_value, values))


def _by_former_path(key: str) -> tuple[str, Declared] | None:
    """The present path and the declaration of a field in a stored identity; None where there is no such field now."""
    return _fields_by_former_path().get(re.sub(r"\.\d+\.", ".*.", key))


@functools.cache
def _fields_by_former_path() -> dict[str, tuple[str, Declared]]:
    return {former: (path, field) for path, former, field in declared_leaves(Config)}
