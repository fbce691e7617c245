"""The ancestor's directory as a format: params.json beside consolidated.pth or consolidated.safetensors.

Tensors have the ancestor's names (`lst_jax.convert.ancestor`). A consolidated.pth holds them under "model", and beside them
perhaps the optimizer's under "optim". It is a pickle; no code in it runs.
"""

import dataclasses
import pathlib
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from lst_jax.config import Config, ModelConfig
from lst_jax.convert import ancestor_params, companions, safetensors_files, streamed, torch_file
from lst_jax.convert.ancestor import EMBEDDING_PATH, from_ancestor, to_ancestor
from lst_jax.convert.ancestor_params import Params
from lst_jax.convert.inputs import Inputs
from lst_jax.convert.plain import check_plain, check_sentence_pieces
from lst_jax.convert.source import Source, Stored
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.core.files import write_json
from lst_jax.storage import objects
from lst_jax.storage.place import Place

NAME = "ancestor"
PARAMS, STEM, PICKLED = "params.json", "consolidated", "consolidated.pth"
MODEL = "model"  # the key that holds the model in consolidated.pth
SHARD = re.compile(r"__\d+_\d+\.distcp")  # a file of torch.distributed.checkpoint, as the trainer saves
TOKENIZER = companions.FILES["tokenizer"]
# fields of ModelConfig that say how the function is computed; the ancestor's arguments do not have them
COMPUTED = ("compute_dtype", "attention_block", "logits_chunk", "scan_layers", "remat")


def recognises(path: pathlib.Path) -> bool:
    """Whether it is a directory with params.json and weights, consolidated or in the trainer's shards."""
    consolidated = (path / PICKLED).is_file() or safetensors_files.is_there(path, STEM)
    return (path / PARAMS).is_file() and (consolidated or _is_in_shards(path))


def refuse_shards(path: Place) -> None:
    """Raises: DataError, with the trainer's own command, where the place is a folder as its trainer saves it."""
    if not objects.exists(path / PICKLED) and _is_in_shards(path):
        done = path / STEM / PICKLED
        raise DataError(
            f"{path}: holds shards of the trainer, not one file; "
            + (
                f"give {done.parent}"
                if objects.exists(done)
                else f"run `python -m lst.checkpoint consolidate {path}` with the ancestor's code, and give {done.parent}"
            )
        )


def _is_in_shards(path: Place) -> bool:
    return any(SHARD.fullmatch(name) for name in objects.names(path))


def open_source(path: pathlib.Path, recipe: Config | None = None, tokenizer: str | None = None) -> Source:
    """Opens the directory; its configuration is lst_config.json, or else the recipe, or else what params.json says.

    Args: `tokenizer` is a SentencePiece model, for a directory without lst_config.json and no recipe. Without it,
        tokenizer.model beside params.json is taken, or the file that params.json names.
    Raises: DataError where files are damaged, or the model, its vocabulary or a tokenizer is not the configuration's.
    """
    refuse_shards(path)
    params = ancestor_params.read(path / PARAMS)
    config = _configuration(path, params, recipe, tokenizer)
    if params.vocab_size != config.joint_vocab.size:
        raise DataError(
            f"{path / PARAMS}: vocab_size={params.vocab_size}, the configuration has "
            f"{config.joint_vocab.size} (vocab.text_size={config.vocab.text_size}, 6 markers and unused "
            f"ids, vocab.unit_slots={config.vocab.unit_slots}); give the recipe it was trained with"
        )
    pickled = path / PICKLED
    tensors = _read_pickled(pickled) if pickled.is_file() else safetensors_files.open_safetensors(path, STEM)
    arrays = from_ancestor(tensors, config.model, f"{pickled if pickled.is_file() else path}")
    if arrays[EMBEDDING_PATH].shape[0] != config.joint_vocab.size:
        raise DataError(
            f"{path}: has embeddings of {arrays[EMBEDDING_PATH].shape[0]} ids, {PARAMS} says {params.vocab_size}; copy the "
            "directory again"
        )
    return Source(config, arrays, companions.origin(NAME, path))


def _configuration(path: pathlib.Path, params: Params, recipe: Config | None, tokenizer: str | None) -> Config:
    stored = path / companions.CONFIG
    if recipe is None and not stored.is_file():
        config = params.config(_tokenizer_of(path, params) if tokenizer is None else tokenizer)
        companions.check_vocabulary(config, companions.read_report(path), path)
        return config
    if tokenizer is not None:
        other = f"{stored} names" if recipe is None else "--config gives"
        raise ConfigError(f"--tokenizer: {other} the tokenizer already; leave --tokenizer out")
    config = companions.read_companions(path, recipe)
    _check_model(params.model, config.model, path / PARAMS)
    return config


def _tokenizer_of(path: pathlib.Path, params: Params) -> str:
    named = params.tokenizer_path
    if (path / TOKENIZER).is_file():
        return str(path / TOKENIZER)
    if named is not None and pathlib.Path(named).is_file():
        return named
    raise DataError(
        f"{path / PARAMS}: the text tokenizer {'is not named' if named is None else f'{named} is not here'}; give it, as "
        "--tokenizer FILE, or the recipe that the model was trained with, as --config configs/NAME.py"
    )


def write(
    source: Source,
    out: pathlib.Path,
    progress: bool = False,
    home: Place | None = None,
    safetensors: bool = False,
    dtype: str = "float32",
) -> None:
    """Writes one tensor at a time: consolidated.pth, as the ancestor's programs read, or safetensors.

    Args:
        home: where the directory will be; None = `out`. Its own programs find the tokenizer by that path.
        dtype: of the weights in the file.
    """
    config, home = source.config, out if home is None else home
    check_plain(config.model, "the ancestor")
    check_sentence_pieces(config, "the ancestor")
    beside = (home / TOKENIZER).absolute() if isinstance(home, pathlib.Path) else TOKENIZER
    params = ancestor_params.params_of(config, str(beside))
    tensors = to_ancestor(source.arrays, config.model)
    companions.write_companions(config, out)
    write_json(out / PARAMS, params)
    if safetensors:
        safetensors_files.write_safetensors(out, tensors, stem=STEM, progress=progress, dtype=dtype)
    else:
        torch_file.write_tensors(out / PICKLED, tensors, MODEL, progress, dtype=dtype)


def logits(path: pathlib.Path, inputs: Inputs) -> tuple[np.ndarray, str]:
    """Float32 logits [B, T, V] of the files, computed by lst_jax; tests/parity compares with the ancestor's own code."""
    return streamed.logits(open_source(path), inputs), "lst_jax (the files, read again)"


def _check_model(found: ModelConfig, ours: ModelConfig, path: pathlib.Path) -> None:
    """Raises: DataError naming every field in which the two differ."""
    differ = [
        f"model.{field.name}={getattr(found, field.name)!r}, the configuration has {getattr(ours, field.name)!r}"
        for field in dataclasses.fields(ModelConfig)
        if field.name not in COMPUTED and getattr(found, field.name) != getattr(ours, field.name)
    ]
    if differ:
        raise DataError(
            f"{path}: gives {'; '.join(differ)}; give the recipe it was trained with, or leave --config out and give "
            "--tokenizer FILE"
        )


def _read_pickled(path: pathlib.Path) -> dict[str, Stored]:
    """The mapped tensors of a torch file. No code in the file runs."""
    try:
        state = torch_file.read(path) if torch_file.is_archive(path) else _read_old(path)
    except (
        torch_file.NotPlainTensors,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
        struct.error,
        zlib.error,
        *(RuntimeError, OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, StopIteration),
        *(ArithmeticError, MemoryError),
    ) as error:
        raise DataError(
            f"{path}: holds more than tensors, was cut short or is damaged; no code in it was run: save "
            'torch.save({"model": model.state_dict()}) anew, or copy it again'
        ) from error
    state = state[MODEL] if isinstance(state, Mapping) and isinstance(state.get(MODEL), Mapping) else state
    if not isinstance(state, Mapping) or not all(hasattr(value, "shape") for value in state.values()):
        raise DataError(f'{path}: has no tensors by name under "model"; save model.state_dict() there')
    return {
        name: one.stored(name)
        if isinstance(one, torch_file.Tensor)
        else Stored(tuple(one.shape), lambda one=one: one.detach().float().numpy())
        for name, one in state.items()
    }


def _read_old(path: pathlib.Path) -> Any:
    """The object of a file of PyTorch before 1.6, which only PyTorch reads."""
    return _torch(path).load(path, map_location="cpu", weights_only=True)


def _torch(path: pathlib.Path | str):
    try:
        import torch
    except ImportError as error:
        raise DataError(
            f"{path}: is no archive of PyTorch 1.6 or later, and was cut short or needs torch; copy it again, or run pip "
            "install -e '.[parity]' in a clone"
        ) from error
    return torch
