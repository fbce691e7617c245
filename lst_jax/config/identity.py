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

    A field that only one of them has is compared with what its absence means. It is passed over where that is unknown:
    the older run did what it means.
    """
    for path in sorted(ours.keys() | theirs.keys()):
        found = _by_former_path(path)
        if not found or found[1].notes.meaning != "function":
            continue
        absent = found[1].notes.since
        if absent is NOTHING and not (path in ours and path in theirs):
            continue
        if ours.get(path, absent) != theirs.get(path, absent):
            return path
    return None


def value_in(found: dict[str, Any], path: str) -> Any:
    """The value of a field in an identity, or what its absence there means; None where that is unknown."""
    field = _by_former_path(path)
    absent = NOTHING if field is None else field[1].notes.since
    return found.get(path, None if absent is NOTHING else absent)


def check_same_identity(ours: Config, theirs: dict[str, Any], where: str) -> None:
    """Refuses a stored identity that differs from that of `ours`.

    Raises: ConfigError naming the first field that differs, and both values.
    """
    mine = identity(ours)
    for key in sorted(mine.keys() | theirs.keys()):
        if mine.get(key) != theirs.get(key):
            path, ours_now, theirs_now = _in_present_names(key, value_in(mine, key), value_in(theirs, key))
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
