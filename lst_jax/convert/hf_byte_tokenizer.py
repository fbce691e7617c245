"""Byte-level BPE as the tokenizer of an exported model: its own tokenizer.json, with markers and units added to it.

    BOS <|text|> a word     encode("a word")                                          special tokens added

A text is encoded as it stands. Behind speech, training writes a space before it: `<|text|> a word`.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from lst_jax.config import Config
from lst_jax.core import files
from lst_jax.core.errors import DataError
from lst_jax.data.byte_pieces import BytePieces, library_for


def write(config: Config, model: BytePieces, added: dict[str, int], marker: str, out: pathlib.Path) -> dict[str, Any]:
    """Writes tokenizer.json into `out`; returns the special tokens for tokenizer_config.json.

    Args: `added` are the ids of the joint vocabulary that are no text pieces, by name; `marker` opens every text.
    Raises: DataError where a name is a piece already, or the file cannot give the names their ids.
    """
    pieces = {model.id_to_piece(i) for i in range(model.get_piece_size())}
    if both := set(added) & pieces:
        raise DataError(
            f"{config.data.tokenizer}: has the piece {min(both)}, which is the name of another token; use a tokenizer "
            "without it"
        )
    bos, eos = (model.id_to_piece(i) for i in (config.vocab.bos_id, config.vocab.eos_id))
    path = out / "tokenizer.json"
    files.write_json(path, model.extended(added, [bos, marker]))
    _check_ids(path, config, added)
    return {"bos_token": bos, "eos_token": eos}


def _check_ids(path: pathlib.Path, config: Config, added: Mapping[str, int]) -> None:
    """The library gives added tokens the ids that follow those it has, whatever the file says."""
    found = library_for(path).Tokenizer.from_file(str(path))
    for name, index in added.items():
        if found.token_to_id(name) != index:
            raise DataError(
                f"{config.data.tokenizer}: has ids without a piece, so that {name} would become "
                f"{found.token_to_id(name)} and not {index}; give these ids special tokens in the file"
            )
