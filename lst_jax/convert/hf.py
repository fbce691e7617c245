"""What `transformers` loads as a format: `hf_llama` for system "base", `hf_lst` for system "lst"."""

import pathlib
from types import ModuleType

import numpy as np

from lst_jax.acoustic.weights import read_json
from lst_jax.config import Config
from lst_jax.convert import hf_llama, hf_lst
from lst_jax.convert.inputs import Inputs
from lst_jax.convert.source import Source
from lst_jax.errors import DataError

NAME = "hf"
BY_MODEL_TYPE: dict[str, ModuleType] = {"llama": hf_llama, hf_lst.MODEL_TYPE: hf_lst}


def recognises(path: pathlib.Path) -> bool:
    """Whether it is a directory whose config.json names one of the two kinds of models."""
    try:
        return _model_type(path) in BY_MODEL_TYPE
    except DataError:
        return False


def open_source(path: pathlib.Path, recipe: Config | None = None) -> Source:
    """See the two modules."""
    return BY_MODEL_TYPE[_model_type(path)].open_source(path, recipe)


def write(source: Source, out: pathlib.Path, progress: bool = False) -> None:
    """See the two modules; "lst" also says what is refused."""
    (hf_llama if source.config.model.system == "base" else hf_lst).write(source, out, progress)


def logits(path: pathlib.Path, inputs: Inputs) -> tuple[np.ndarray, str]:
    """See the two modules."""
    return BY_MODEL_TYPE[_model_type(path)].logits(path, inputs)


def _model_type(path: pathlib.Path) -> str | None:
    mapping = read_json(path / "config.json")
    return mapping["model_type"] if "model_type" in mapping else None
