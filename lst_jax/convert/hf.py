"""Directories of `transformers`: Base as a Llama or a relative (`hf_llama`), an LST with its own code (`hf_lst`)."""

import pathlib
from types import ModuleType

from lst_jax.config import Config
from lst_jax.convert import hf_llama, hf_lst
from lst_jax.convert.hf_families import FAMILIES
from lst_jax.convert.inputs import Inputs
from lst_jax.convert.source import Source
from lst_jax.core import json_files
from lst_jax.core.errors import DataError
from lst_jax.core.shapes import Float, ndarray
from lst_jax.model.architectures.registry import architecture_named

NAME = "hf"
KINDS = dict.fromkeys(FAMILIES, hf_llama) | {hf_lst.MODEL_TYPE: hf_lst}  # model_type in config.json -> what reads it


def recognises(path: pathlib.Path) -> bool:
    """Whether config.json names a kind of model that can be read."""
    try:
        _kind(path)
    except DataError:
        return False
    return True


def other_model_type(path: pathlib.Path) -> str | None:
    """The `model_type` of config.json where it is none of those that can be read; None where there is no such field."""
    try:
        found = json_files.read_model_file(path / "config.json")
    except DataError:
        return None
    kind = found["model_type"] if "model_type" in found else None
    return kind if isinstance(kind, str) and kind not in KINDS else None


def open_source(path: pathlib.Path, recipe: Config | None = None) -> Source:
    """Opens a directory, nothing read yet. Raises: DataError."""
    return _kind(path).open_source(path, recipe)


def write(source: Source, out: pathlib.Path, progress: bool = False, dtype: str = "float32") -> None:
    """Writes the model in the form that its architecture has, with weights of that type. Raises: DataError where it has none."""
    name = source.config.model.architecture
    model_type = architecture_named(name).conversions.transformers
    if model_type is None:
        raise DataError(
            f"model.architecture={name!r}: has no form for transformers; convert it to orbax, or ask it with "
            "`lst evaluate` and `lst generate`"
        )
    KINDS[model_type].write(source, out, progress, dtype)


def logits(path: pathlib.Path, inputs: Inputs) -> tuple[Float[ndarray, "B T V"], str]:
    """Float32 logits of the rows, computed by transformers where it is installed, and what computed them. Raises: DataError."""
    return _kind(path).logits(path, inputs)


def _kind(path: pathlib.Path) -> ModuleType:
    file = path / "config.json"
    mapping = json_files.read_model_file(file)
    kind = mapping["model_type"] if "model_type" in mapping else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise DataError(f"{file}: model_type={kind!r}: must be one of {', '.join(KINDS)}; give such a model")
    return KINDS[kind]
