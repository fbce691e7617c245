"""The files beside the weights in a directory of any format: configuration, tokenizers, and the report.

lst_config.json         the whole configuration of the run; in run directories it is config.json
tokenizer.model         data.tokenizer where it is a SentencePiece model
text_tokenizer.json     data.tokenizer where it is byte-level BPE; a tokenizer.json beside it has markers and units too
unit_tokenizer.model    of data.unit_tokenizer, where there is one
conversion.json         see `lst_jax.convert.command`
"""

import dataclasses
import pathlib
from typing import Any

from lst_jax.config import Config, from_stored, to_mapping
from lst_jax.convert.source import Source
from lst_jax.core import json_files
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.core.files import write_json
from lst_jax.data.pipeline import open_tokenizer, vocabulary_of
from lst_jax.data.text import is_json
from lst_jax.data.unit_pieces import open_unit_pieces
from lst_jax.recipes.validate import validate
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

CONFIG, CONVERSION = "lst_config.json", "conversion.json"
BYTE_PIECES = "text_tokenizer.json"
FILES = {"tokenizer": "tokenizer.model", "unit_tokenizer": "unit_tokenizer.model"}  # field of data -> usual file


def write_companions(config: Config, out: pathlib.Path) -> None:
    """Writes lst_config.json and copies the tokenizers."""
    copy_tokenizers(config, out)
    write_json(out / CONFIG, to_mapping(config))


def copy_tokenizers(config: Config, out: Place) -> None:
    """Copies the tokenizers of the configuration, under the names that every directory uses."""
    for field in FILES:
        if getattr(config.data, field) is not None:
            content = objects.read_bytes(to_place(getattr(config.data, field)))
            name = BYTE_PIECES if field == "tokenizer" and is_json(content) else FILES[field]
            objects.write_bytes(out / name, content)


def read_companions(folder: pathlib.Path, recipe: Config | None) -> Config:
    """The configuration of a foreign directory, with its own tokenizers.

    Args: `recipe` is the configuration where the directory has no lst_config.json.
    Raises: DataError or ConfigError where there is neither or both, or a tokenizer is not the one that was converted.
    """
    stored = folder / CONFIG
    if recipe is not None and stored.is_file():
        raise ConfigError(f"--config: {stored} is there already; leave --config out, or move that file away")
    if recipe is None and not stored.is_file():
        raise DataError(
            f"{stored}: no such file; give the recipe that the model was trained with, as --config configs/NAME.py"
        )
    own = recipe if recipe is not None else _read(stored)
    config = with_files_of(own, folder)
    if recipe is not None:
        _check_same_files(own, config)
    check_vocabulary(config, read_report(folder), folder)
    return config


def with_files_of(config: Config, folder: Place) -> Config:
    """The configuration with the tokenizers of the folder, where it has them."""
    own = {
        field: str(folder / name)
        for field, name in files_in(folder).items()
        if getattr(config.data, field) is not None and objects.exists(folder / name)
    }
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **own))


def files_in(folder: Place) -> dict[str, str]:
    """The names that tokenizers have in a folder, by field."""
    return FILES | ({"tokenizer": BYTE_PIECES} if objects.exists(folder / BYTE_PIECES) else {})


def read_report(folder: Place) -> dict[str, Any]:
    """The contents of conversion.json; empty where there is no such file. Raises: DataError where it is not JSON."""
    path = folder / CONVERSION
    return objects.read_json(path, "copy it again") if objects.exists(path) else {}


def check_vocabulary(config: Config, report: dict[str, Any], where: Place) -> None:
    """Raises: DataError where a tokenizer has another size than the configuration, or another fingerprint than reported.

    Args: `report` has the fingerprints by name as its `vocabulary`, where they are known.
    """
    open_tokenizer(config)
    open_unit_pieces(config)
    found = vocabulary_of(config)
    for field in FILES:
        if "vocabulary" in report and report["vocabulary"][field] != found[field]:
            raise DataError(
                f"{getattr(config.data, field)}: has the fingerprint {found[field]}, {where} was made with "
                f"{report['vocabulary'][field]}; give that {field.replace('_', ' ')}"
            )


def _check_same_files(recipe: Config, config: Config) -> None:
    """Raises: DataError where the tokenizers of the recipe differ from those in the directory."""
    ours, theirs = vocabulary_of(recipe), vocabulary_of(config)
    for field in FILES:
        if ours[field] != theirs[field]:
            raise DataError(
                f"data.{field}={getattr(recipe.data, field)}: has the fingerprint {ours[field]}, "
                f"{getattr(config.data, field)} has {theirs[field]}; use the one in the directory"
            )


def vocabulary(source: Source) -> dict[str, str | None]:
    """Fingerprints of the tokenizers, and of the codebook where the source knows its own."""
    known = source.origin["vocabulary"] if "vocabulary" in source.origin else {"codebook": None}
    return vocabulary_of(source.config) | {"codebook": known["codebook"]}


def origin(name: str, folder: pathlib.Path) -> dict[str, Any]:
    """`Source.origin` of a foreign directory: its step and its vocabulary are from its own conversion.json."""
    found: dict[str, Any] = {"format": name, "path": str(folder), "step": None}
    if report := read_report(folder):
        found |= {"step": report["source"]["step"], "vocabulary": report["vocabulary"]}
    return found


def _read(path: pathlib.Path) -> Config:
    config = from_stored(json_files.read(path, "copy it again"))
    validate(config)
    return config
