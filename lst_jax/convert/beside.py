"""What lies beside weights of a foreign format, so that a directory opens again by itself (docs/formats_external.md).

    lst_config.json        the whole configuration
    tokenizer.model        SentencePiece, data.tokenizer
    unit_tokenizer.model   SentencePiece over units, data.unit_tokenizer, if there is one
"""

import dataclasses
import pathlib
import shutil

from lst_jax import config as cfg
from lst_jax import files
from lst_jax.acoustic.weights import read_json
from lst_jax.config import Config
from lst_jax.data.text import tokenizer_fingerprint
from lst_jax.data.unit_pieces import unit_tokenizer_fingerprint
from lst_jax.errors import DataError

CONFIG, TOKENIZER, UNIT_TOKENIZER = "lst_config.json", "tokenizer.model", "unit_tokenizer.model"
FINGERPRINTS = {"tokenizer": tokenizer_fingerprint, "unit_tokenizer": unit_tokenizer_fingerprint}
PLACES = {"tokenizer": TOKENIZER, "unit_tokenizer": UNIT_TOKENIZER}
# What must be equal for parameters to mean the same function of the same tokens, and what of it only says how it runs
ALIKE = ("model.", "vocab.", "data.unit_rate")
COMPUTED = ("model.compute_dtype", "model.attention_block", "model.logits_chunk", "model.scan_layers", "model.remat")


def write_beside(config: Config, out: pathlib.Path) -> None:
    """Writes the three. Raises: DataError where a tokenizer of the configuration is not there."""
    files.write_json(out / CONFIG, cfg.to_mapping(config))
    for field, name in PLACES.items():
        if (path := getattr(config.data, field)) is not None:
            FINGERPRINTS[field](path)  # says so if it is not there
            shutil.copyfile(path, out / name)


def config_beside(path: pathlib.Path, recipe: Config | None) -> Config:
    """The configuration of a directory's weights: the recipe's where one is given, else that of lst_config.json.

    Its tokenizers are the directory's own where they lie there.
    Raises: DataError where there is neither, and where recipe and directory differ, naming both sides.
    """
    found = _read(path) if (path / CONFIG).is_file() else None
    if recipe is None:
        if found is None:
            raise DataError(f"{path / CONFIG}: no such file, so the model's configuration is unknown; give --config "
                            "RECIPE")
        return found
    if found is not None:
        _check_alike(path, recipe, found)
    return _with_files(path, recipe, check=True)


def _read(path: pathlib.Path) -> Config:
    return _with_files(path, cfg.from_mapping(cfg.with_later_fields(read_json(path / CONFIG))), check=False)


def _with_files(path: pathlib.Path, config: Config, check: bool) -> Config:
    """The configuration with the tokenizers that lie in the directory; with `check`, they must be equal to its own."""
    changes = {}
    for field, name in PLACES.items():
        ours, theirs = getattr(config.data, field), path / name
        if not theirs.is_file():
            continue
        if check and ours is None:
            raise DataError(f"data.{field}=None: {path} has {name}; name it in the recipe")
        if check and FINGERPRINTS[field](ours) != FINGERPRINTS[field](theirs):
            raise DataError(f"data.{field}={ours}: has the fingerprint {FINGERPRINTS[field](ours)}, {theirs} has "
                            f"{FINGERPRINTS[field](theirs)}; use the one in the directory")
        if ours is not None:
            changes[field] = str(theirs)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))


def _check_alike(path: pathlib.Path, recipe: Config, found: Config) -> None:
    ours, theirs = cfg.identity(recipe), cfg.identity(found)
    for key in sorted(ours.keys() | theirs.keys()):
        if key.startswith(ALIKE) and key not in COMPUTED and (key not in ours or key not in theirs
                                                              or ours[key] != theirs[key]):
            both = [repr(side[key]) if key in side else "no such field" for side in (ours, theirs)]
            raise DataError(f"{key}={both[0]}: {path} was made with {both[1]}; use that value, or leave --config out")
