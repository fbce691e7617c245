"""Nested frozen dataclasses from nested mappings, strictly: known fields only, each of its annotated type."""

import dataclasses
import difflib
import types
import typing
from typing import Any, Literal, Union

from lst_jax.core.errors import ConfigError

LONGEST_SHOWN = 200  # characters of a value in an error
SCALARS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def fail(path: str, value: Any, rule: str, fix: str) -> typing.NoReturn:
    """Raises the one-line ConfigError about the field at `path`."""
    raise ConfigError(f"{path}={_shown(value)}: {rule}; {fix}")


def _shown(value: Any) -> str:
    """The value as Python writes it, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write integers of more than 4,300 digits
        return "an integer of thousands of digits"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


def build(kind: Any, value: Any, path: str, complete: bool = False) -> Any:
    """`value` as the annotated type `kind`. A field with a default may be absent, unless the value must be `complete`.

    Raises: ConfigError naming the field by its dotted `path`.
    """
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, path, complete)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (inner,) = [a for a in typing.get_args(kind) if a is not type(None)]
        return build(inner, value, path, complete)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            fail(path, value, "must be a list", "write [...]")
        return tuple(build(typing.get_args(kind)[0], v, f"{path}.{i}", complete) for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            fail(path, value, "must be a mapping", "write {...}")
        key_kind, value_kind = typing.get_args(kind)
        return {
            build(key_kind, k, path, complete): build(value_kind, v, f"{path}.{k}", complete) for k, v in value.items()
        }
    if origin is Literal:
        return _build_choice(typing.get_args(kind), value, path)
    return _build_scalar(kind, value, path)


def _build_dataclass(kind: Any, value: Any, path: str, complete: bool) -> Any:
    if not isinstance(value, dict):
        fail(path or "config", value, "must be a mapping", "nest its fields")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    dot = f"{path}." if path else ""
    for key in value:
        if key not in fields:
            fail(f"{dot}{key}", value[key], "unknown field", f"nearest: {dot}{nearest(str(key), fields)}")
    for name, field in fields.items():
        if name not in value and (complete or field.default is dataclasses.MISSING):
            fail(f"{dot}{name}", None, "missing", "it has no default: add it" if not complete else "add it")
    hints = typing.get_type_hints(kind)
    return kind(**{n: build(hints[n], value[n], f"{dot}{n}", complete) for n in fields if n in value})


def _build_choice(choices: tuple, value: Any, path: str) -> Any:
    if value not in choices:
        fail(path, value, f"must be one of {', '.join(choices)}", f"nearest: {nearest(_shown(value), choices)}")
    return value


def _build_scalar(kind: type, value: Any, path: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            fail(path, value, "must be finite", "give a smaller number")
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        given = "None" if value is None else type(value).__name__
        fail(path, value, f"must be {kind.__name__}, not {given}", f"give {SCALARS[kind]}")
    if kind is str and not _is_utf8(value):
        fail(path, value, "is not UTF-8", "write it in UTF-8")
    return value


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def nearest(word: str, words) -> str:
    """The one of `words` that looks most like `word`."""
    return (difflib.get_close_matches(word, words, n=1, cutoff=0.0) or ["?"])[0]
