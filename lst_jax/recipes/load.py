"""Loading recipes: `configs/NAME.py` has `get_config(arg)` returning an `ml_collections.ConfigDict`."""

import contextlib
import functools
import importlib.util
import inspect
import json
import pathlib
import sys
import traceback
import types
from collections.abc import Iterator, Sequence
from typing import Any

import ml_collections

from lst_jax.config import Config, flatten, from_mapping, to_mapping
from lst_jax.config.stored import in_present_names, path_in_present_names
from lst_jax.core.errors import ConfigError, UserError, first_line
from lst_jax.core.paths import is_address
from lst_jax.recipes.validate import validate
from lst_jax.storage import objects
from lst_jax.storage.at_hand import as_given, at_hand
from lst_jax.storage.place import to_place

RECIPE_MODULE = "recipe_"  # what the names of modules made from recipes begin with
PYTHON_WORDS = {"None": None, "True": True, "False": False}  # as recipes and our messages write them


def split(reference: str) -> tuple[str, str]:
    """The file and the argument of `PATH.py[:ARG]`. Example: "gs://b/lst.py:1b" -> ("gs://b/lst.py", "1b")"""
    scheme, address, rest = reference.partition("://") if is_address(reference) else ("", "", reference)
    path, _, arg = rest.partition(":")
    return f"{scheme}{address}{path}", arg


def load_recipe_module(path: str) -> types.ModuleType:
    """Imports a recipe's file, here or in a bucket.

    Raises: ConfigError where there is none, or it is not Python that can be imported; StorageError.
    """
    given = as_given(path)  # of a recipe beside one in a bucket, whose copy alone is here
    place = to_place(given)
    if not objects.look(place):
        raise ConfigError(f"{given}: no such recipe; give a file such as configs/demo.py")
    if place.suffix != ".py":
        raise ConfigError(
            f"{given}: a recipe is a Python file with get_config(arg); give a file such as configs/demo.py"
        )
    path = path if isinstance(place, pathlib.Path) else str(at_hand(place))
    spec = importlib.util.spec_from_file_location(RECIPE_MODULE + pathlib.Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    with mistakes_of_recipe(path):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def mistakes_of_recipe(path: str) -> Iterator[None]:
    """Turns whatever a recipe's code raises into a ConfigError that names the recipe's file and line."""
    try:
        yield
    except UserError:
        raise
    except SyntaxError as error:
        where = f"{error.filename or path}: line {error.lineno}" if error.lineno else path
        raise ConfigError(f"{where}: not valid Python ({first_line(error)}); mend it") from error
    except Exception as error:
        frames = [
            (frame.f_code.co_filename, line)
            for frame, line in traceback.walk_tb(error.__traceback__)
            if frame.f_globals.get("__name__", "").startswith(RECIPE_MODULE)
        ]
        where = f"{frames[-1][0]}: line {frames[-1][1]}" if frames else path
        raise ConfigError(f"{where}: {type(error).__name__}: {first_line(error)}; mend the recipe") from error


def load_recipe(reference: str, changes: Sequence[str] = ()) -> Config:
    """Loads `PATH.py` or `PATH.py:ARG` (ARG is handed to the recipe's `get_config`), with some fields changed.

    Former names of fields are accepted with a warning.
    Args: `changes` are `FIELD.PATH=VALUE`, the value as JSON or a bare word. Example: ("train.accumulate=4",)
    Raises: ConfigError where the file, its `get_config`, a key, a type or a rule is wrong.
    """
    path, arg = split(reference)
    config = from_mapping(_in_present_names(_mapping_of(path, arg)))
    return changed(config, changes)


def changed(config: Config, changes: Sequence[str]) -> Config:
    """A checked configuration with some fields changed, see `load_recipe`. Raises: ConfigError."""
    if changes:
        mapping = to_mapping(config)
        for change in changes:
            _change(mapping, change)
        config = from_mapping(_in_present_names(mapping))
    validate(config)
    return config


def _mapping_of(path: str, arg: str) -> dict[str, Any]:
    """What the recipe's `get_config` returns. Raises: ConfigError."""
    module = load_recipe_module(path)
    get_config = getattr(module, "get_config", None)
    if not callable(get_config):
        raise ConfigError(f"{path}: has no get_config(arg); define it to return an ml_collections.ConfigDict")
    try:
        inspect.signature(get_config).bind(arg)
    except TypeError as error:
        raise ConfigError(f"{path}: get_config must take one argument; define it as get_config(arg)") from error
    with mistakes_of_recipe(path):
        found = get_config(arg)
    if not isinstance(found, ml_collections.ConfigDict):
        raise ConfigError(
            f"{path}: get_config returned {'None' if found is None else f'a {type(found).__name__}'}; "
            "return an ml_collections.ConfigDict"
        )
    with mistakes_of_recipe(path):  # what only shows when the fields are read, such as a reference to none
        return found.to_dict()


def _in_present_names(mapping: dict[str, Any]) -> dict[str, Any]:
    mapping, sentences = in_present_names(mapping)
    for sentence in sentences:
        _warn(sentence)
    return mapping


@functools.cache  # once per process: sweeps load a recipe many times
def _warn(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr)


def _change(mapping: dict[str, Any], change: str) -> None:
    given, equals, text = change.partition("=")
    path = path_in_present_names(given)
    if path != given:
        _warn(f"--set {given}: is called {path} now; the former name still works")
    *parents, name = path.split(".")
    section: Any = mapping
    for parent in parents:
        section = _member(section, parent)
    if not equals or _key(section, name) is None:
        raise ConfigError(
            f"--set {change}: must be FIELD=VALUE of a field that the recipe has; write it as "
            "train.accumulate=4, or data.sources.0.share=4 for the first of several sources, or "
            "data.sources.NAME.share=4"
        )
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # not JSON, or numbers and nesting beyond what Python reads
        value = PYTHON_WORDS.get(text, text)
    section[_key(section, name)] = value


def _member(section: Any, word: str) -> Any:
    """What a word of a path names in a mapping or a list; None where there is nothing."""
    key = _key(section, word)
    return None if key is None else section[key]


def _key(section: Any, word: str) -> str | int | None:
    """The key or place that a word of a path names: a key of a mapping, or a place or an item's name of a list."""
    if isinstance(section, dict):
        return word if word in section else None
    if isinstance(section, list):
        places = {item["name"]: place for place, item in enumerate(section) if isinstance(item, dict)}
        return (places | {str(place): place for place in range(len(section))}).get(word)
    return None


def as_changes(config: Config, recipe: Config) -> tuple[str, ...]:
    """The changes that make `config` out of `recipe`, as `load_recipe` takes them: one per field that differs.

    Raises: ConfigError where they do not have the same fields, as with lists of another length.
    """
    ours, theirs = flatten(to_mapping(config)), flatten(to_mapping(recipe))
    for key in ours.keys() ^ theirs.keys():
        raise ConfigError(f"{key}: is not in both {config.name} and its recipe; give it in the recipe's argument")
    return tuple(f"{key}={json.dumps(ours[key])}" for key in sorted(ours) if ours[key] != theirs[key])
