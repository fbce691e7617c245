"""Loading recipes: `configs/NAME.py` has `get_config(arg)` returning an `ml_collections.ConfigDict`."""

import importlib.util
import json
import pathlib
import types
from collections.abc import Sequence
from typing import Any

from lst_jax.config import Config, flatten, from_mapping, to_mapping
from lst_jax.core.errors import ConfigError
from lst_jax.recipes.validate import validate


def load_recipe_module(path: str) -> types.ModuleType:
    """Imports a recipe's file. Raises: ConfigError where there is none."""
    if not pathlib.Path(path).is_file():
        raise ConfigError(f"{path}: no such recipe; give a file such as configs/demo.py")
    spec = importlib.util.spec_from_file_location(f"recipe_{pathlib.Path(path).stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_recipe(reference: str, changes: Sequence[str] = ()) -> Config:
    """Loads `PATH.py` or `PATH.py:ARG` (ARG is handed to the recipe's `get_config`), with some fields changed.

    Args: `changes` are `FIELD.PATH=VALUE`, the value as JSON or a bare word. Example: ("train.accumulate=4",)
    Raises: ConfigError where the file, its `get_config`, a key, a type or a rule is wrong.
    """
    path, _, arg = reference.partition(":")
    module = load_recipe_module(path)
    if not hasattr(module, "get_config"):
        raise ConfigError(f"{path}: has no get_config(arg); define it to return an ml_collections.ConfigDict")
    mapping = to_mapping(from_mapping(module.get_config(arg).to_dict()))  # with the fields that have defaults
    for change in changes:
        _change(mapping, change)
    config = from_mapping(mapping)
    validate(config)
    return config


def _change(mapping: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    *parents, name = path.split(".")
    for parent in parents:
        mapping = _members(mapping).get(parent)
    if not equals or name not in _members(mapping):
        raise ConfigError(
            f"--set {change}: must be FIELD=VALUE of a field that the recipe has; write it as "
            "train.accumulate=4, or data.sources.0.share=4 for the first of several"
        )
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    mapping[name if isinstance(mapping, dict) else int(name)] = value


def _members(mapping: Any) -> dict[str, Any]:
    """What a path's next word may name: the keys of a mapping, or the places of a list."""
    return (
        mapping
        if isinstance(mapping, dict)
        else dict(zip(map(str, range(len(mapping))), mapping, strict=True))
        if isinstance(mapping, list)
        else {}
    )


def as_changes(config: "Config", recipe: "Config") -> tuple[str, ...]:
    """What makes `config` out of `recipe`, as `load_recipe` takes it: one change a field that differs.

    Raises: ConfigError where they do not have the same fields, as a list of another length.
    """
    ours, theirs = flatten(to_mapping(config)), flatten(to_mapping(recipe))
    for key in ours.keys() ^ theirs.keys():
        raise ConfigError(f"{key}: is not in both {config.name} and its recipe; give it in the recipe's argument")
    return tuple(f"{key}={json.dumps(ours[key])}" for key in sorted(ours) if ours[key] != theirs[key])
