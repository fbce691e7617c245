"""Configurations that are older than the code: fields by former names, and fields that did not exist yet."""

from typing import Any

from lst_jax.config.fields import NOTHING, Declared, declared
from lst_jax.config.schema import Config
from lst_jax.core.errors import ConfigError
from lst_jax.core.strict import build


def from_stored(mapping: Any) -> Config:
    """Builds the `Config` that a run or a conversion stored, of any age.

    Fields that the file is older than mean what was done before they existed; all others must be there.
    Raises: ConfigError where a key is unknown, a field is missing, or a type is wrong.
    """
    return build(Config, complete(in_present_names(mapping)[0]), "", complete=True)


def in_present_names(mapping: Any) -> tuple[Any, list[str]]:
    """A copy of a configuration's mapping without former names, and one sentence per former name found.

    Raises: ConfigError where a field is given by both names.
    Example: {"data": {"row_units": 512}} -> {"data": {"row_patches": 512}}, ["data.row_units: is called …"]
    """
    sentences: list[str] = []
    return _renamed(Config, mapping, "", sentences), sentences


def path_in_present_names(path: str) -> str:
    """A dotted path by present names. Example: "data.row_units" -> "data.row_patches" """
    kinds: tuple[type, ...] = (Config,)
    words, is_item = [], False
    for word in path.split("."):
        if is_item:  # the place or the name of an item of a list
            words.append(word)
            is_item = False
            continue
        field = next((f for kind in kinds for f in declared(kind) if word in (f.name, f.notes.formerly)), None)
        words.append(field.name if field else word)
        kinds, is_item = (field.inner, field.is_list) if field else ((), False)
    return ".".join(words)


def complete(mapping: Any) -> Any:
    """A copy of a stored configuration's mapping, by present names, with the fields that it is older than."""
    return _completed(Config, mapping)


def _renamed(kind: type, mapping: Any, path: str, sentences: list[str]) -> Any:
    if not isinstance(mapping, dict):
        return mapping
    fields = {name: field for field in declared(kind) for name in (field.name, field.notes.formerly) if name}
    renamed = {}
    for name, value in mapping.items():
        field = fields.get(name)
        if field is None:
            renamed[name] = value
            continue
        here = f"{path}{field.name}"
        if name != field.name:
            if field.name in mapping:
                raise ConfigError(f"{path}{name}={value!r}: is called {here} now, which is given too; leave one out")
            sentences.append(f"{path}{name}: is called {here} now; the former name still works")
        renamed[field.name] = _renamed_value(field, value, here, sentences)
    return renamed


def _renamed_value(field: Declared, value: Any, path: str, sentences: list[str]) -> Any:
    for inner in field.inner:
        if field.is_list and isinstance(value, (list, tuple)):
            value = [_renamed(inner, item, f"{path}.{i}.", sentences) for i, item in enumerate(value)]
        elif not field.is_list:
            value = _renamed(inner, value, f"{path}.", sentences)
    present = field.notes.present_value(value)
    if present is not value:
        sentences.append(f"{path}={value!r}: is called {present!r} now; the former name still works")
    return present


def _completed(kind: type, mapping: Any) -> Any:
    if not isinstance(mapping, dict):
        return mapping
    completed = dict(mapping)
    for field in declared(kind):
        if field.name not in completed and field.notes.older is not NOTHING:
            completed[field.name] = field.notes.older
        if field.is_list or field.name not in completed:
            continue
        for inner in field.inner:
            completed[field.name] = _completed(inner, completed[field.name])
    return completed
