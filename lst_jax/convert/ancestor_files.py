"""The ancestor's directory as a format: params.json beside consolidated.pth or consolidated.safetensors.

Tensors have the ancestor's names (`lst_jax.convert.ancestor`). A consolidated.pth holds them under "model". It is a
pickle, which is read with weights-only loading, so no code in it runs.
"""

import dataclasses
import pathlib
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from lst_jax.config import Config, ModelConfig
from lst_jax.convert import companions, safetensors_files, streamed
from lst_jax.convert.ancestor import ancestor_config, from_ancestor, model_config_from_ancestor, to_ancestor
from lst_jax.convert.inputs import Inputs
from lst_jax.convert.source import Source, Stored
from lst_jax.core import json_files
from lst_jax.core.errors import DataError
from lst_jax.core.files import write_json

NAME = "ancestor"
PARAMS, STEM, PICKLED = "params.json", "consolidated", "consolidated.pth"
MODEL = "model"  # the key that holds the model in consolidated.pth, and in some params.json
# fields of ModelConfig that say how the function is computed; the ancestor's arguments do not have them
COMPUTED = ("compute_dtype", "attention_block", "logits_chunk", "scan_layers", "remat")


def recognises(path: pathlib.Path) -> bool:
    """Whether it is a directory with params.json and consolidated weights."""
    return (path / PARAMS).is_file() and ((path / PICKLED).is_file() or safetensors_files.is_there(path, STEM))


def open_source(path: pathlib.Path, recipe: Config | None = None) -> Source:
    """Opens the directory; its configuration is lst_config.json, or else the recipe.

    Raises: DataError where files are damaged, or the model, its vocabulary or a tokenizer is not the configuration's.
    """
    config = companions.read_companions(path, recipe)
    args = _read_params(path / PARAMS)
    _check_model(model_config_from_ancestor(args), config.model, path / PARAMS)
    if args["vocab_size"] != config.joint_vocab.size:
        raise DataError(
            f"{path / PARAMS}: vocab_size={args['vocab_size']}, the configuration has "
            f"{config.joint_vocab.size} (vocab.text_size={config.vocab.text_size}, 6 markers and unused "
            f"ids, vocab.unit_slots={config.vocab.unit_slots}); give the recipe it was trained with"
        )
    pickled = path / PICKLED
    tensors = _read_pickled(pickled) if pickled.is_file() else safetensors_files.open_safetensors(path, STEM)
    arrays = from_ancestor(tensors, config.model, f"{pickled if pickled.is_file() else path}")
    if arrays["patch_encoder/tok_embeddings/embedding"].shape[0] != config.joint_vocab.size:
        raise DataError(
            f"{path}: has embeddings of {arrays['patch_encoder/tok_embeddings/embedding'].shape[0]} ids, "
            f"{PARAMS} says {args['vocab_size']}; copy the directory again"
        )
    return Source(config, arrays, companions.origin(NAME, path))


def write(source: Source, out: pathlib.Path, progress: bool = False, pth: bool = False) -> None:
    """Writes safetensors one tensor at a time, or consolidated.pth with all tensors in memory at once."""
    config = source.config
    args = ancestor_config(
        config.model,
        config.joint_vocab.size,
        config.data.patching.static_size,
        config.data.row_patches,
        config.data.row_tokens,
    )
    tensors = to_ancestor(source.arrays, config.model)
    companions.write_companions(config, out)
    write_json(out / PARAMS, args)
    if pth:
        torch = _torch(PICKLED)
        torch.save({MODEL: {name: torch.from_numpy(one.read().copy()) for name, one in tensors.items()}}, out / PICKLED)
    else:
        safetensors_files.write_safetensors(out, tensors, stem=STEM, progress=progress)


def logits(path: pathlib.Path, inputs: Inputs) -> tuple[np.ndarray, str]:
    """Float32 logits [B, T, V] of the files, computed by lst_jax; tests/parity compares with the ancestor's own code."""
    return streamed.logits(open_source(path), inputs), "lst_jax (the files, read again)"


def _read_params(path: pathlib.Path) -> dict[str, Any]:
    """The arguments of the model; some files have them below "model"."""
    args = json_files.read(path, "copy it again", kind=None)
    args = args[MODEL] if isinstance(args, dict) and isinstance(args.get(MODEL), dict) else args
    if not isinstance(args, dict) or "vocab_size" not in args:
        raise DataError(f"{path}: vocab_size is missing; give the arguments of the model, as the ancestor wrote them")
    return args


def _check_model(found: ModelConfig, ours: ModelConfig, path: pathlib.Path) -> None:
    for field in dataclasses.fields(ModelConfig):
        mine, theirs = getattr(ours, field.name), getattr(found, field.name)
        if field.name not in COMPUTED and mine != theirs:
            raise DataError(
                f"{path}: gives model.{field.name}={theirs!r}, the configuration has {mine!r}; give the "
                "recipe it was trained with"
            )


def _read_pickled(path: pathlib.Path) -> dict[str, Stored]:
    """The mapped tensors of a torch file. No code in the file runs."""
    torch = _torch(path)
    try:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # an old file, not a zip archive, cannot be mapped; a damaged one fails again
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise DataError(
            f"{path}: holds more than tensors, was cut short or is damaged; no code in it was run: save "
            'torch.save({"model": model.state_dict()}) anew, or copy it again'
        ) from error
    state = state[MODEL] if isinstance(state, Mapping) and isinstance(state.get(MODEL), Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise DataError(f'{path}: has no tensors by name under "model"; save model.state_dict() there')
    return {
        name: Stored(tuple(value.shape), lambda value=value: value.detach().float().numpy())
        for name, value in state.items()
    }


def _torch(path: pathlib.Path | str):
    try:
        import torch
    except ImportError as error:
        raise DataError(
            f"{path}: needs torch; run pip install -e '.[parity]' in a clone, or use safetensors"
        ) from error
    return torch
