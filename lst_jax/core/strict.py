"""Nested frozen dataclasses from nested mappings, strictly: exactly the fields, each of its annotated type."""

import dataclasses
import difflib
import types
import typing
from typing import Any, Literal, Union

from lst_jax.core.errors import ConfigError


def fail(path: str, value: Any, rule: str, fix: str) -> typing.NoReturn:
    """Raises the one-line ConfigError about the field at `path`."""
    raise ConfigError(f"{path}={value!r}: {rule}; {fix}")


def build(kind: Any, value: Any, path: str) -> Any:
    """`value` as the annotated type `kind`. Raises: ConfigError naming the field by its dotted `path`."""
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, path)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (inner,) = [a for a in typing.get_args(kind) if a is not type(None)]
        return build(inner, value, path)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            fail(path, value, "must be a list", "write [...]")
        return tuple(build(typing.get_args(kind)[0], v, f"{path}.{i}") for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            fail(path, value, "must be a mapping", "write {...}")
        key_kind, value_kind = typing.get_args(kind)
        return {build(key_kind, k, path): build(value_kind, v, f"{path}.{k}") for k, v in value.items()}
    if origin is Literal:
        if value not in typing.get_args(kind):
            fail(
                path,
                value,
                f"must be one of {', '.join(typing.get_args(kind))}",
                f"nearest: {nearest(str(value), typing.get_args(kind))}",
            )
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        fail(path, value, f"must be {kind.__name__}, not {type(value).__name__}", f"give a {kind.__name__}")
    return value


def _build_dataclass(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        fail(path or "config", value, "must be a mapping", "nest its fields")
    names = [f.name for f in dataclasses.fields(kind)]
    dot = f"{path}." if path else ""
    for key in value:
        if key not in names:
            fail(f"{dot}{key}", value[key], "unknown field", f"nearest: {dot}{nearest(key, names)}")
    for name in names:
        if name not in value:
            fail(f"{dot}{name}", None, "missing", "every field is written out: add it")
    hints = typing.get_type_hints(kind)
    return kind(**{n: build(hints[n], value[n], f"{dot}{n}") for n in names})


def nearest(word: str, words) -> str:
    """The one of `words` that looks most like `word`."""
    return (difflib.get_close_matches(word, words, n=1, cutoff=0.0) or ["?"])[0]
