"""Text tokenizers: loading one of any kind, and its identity."""

import hashlib
import os

from lst_jax.core.errors import DataError
from lst_jax.data.byte_pieces import BytePieces, train_byte_pieces
from lst_jax.data.sentence_pieces import SentencePieces, train_tokenizer
from lst_jax.data.text_tokenizer import TextTokenizer
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

__all__ = ["is_json", "load_tokenizer", "tokenizer_fingerprint", "train_byte_pieces", "train_tokenizer"]


def load_tokenizer(path: str | os.PathLike) -> TextTokenizer:
    """Loads a SentencePiece `.model`, or a tokenizer.json of byte-level BPE. Raises: DataError where it is neither."""
    content = _content(path)
    return (BytePieces if is_json(content) else SentencePieces)(path, content)


def is_json(content: bytes) -> bool:
    """Whether a tokenizer's file is a tokenizer.json; a SentencePiece model begins with the byte 0x0A."""
    return content[:1] == b"{"


def tokenizer_fingerprint(path: str | os.PathLike) -> str:
    """First 16 hex digits of the file's SHA-256. Raises: DataError where there is no file."""
    return hashlib.sha256(_content(path)).hexdigest()[:16]


def _content(path: str | os.PathLike) -> bytes:
    try:
        return objects.read_bytes(to_place(path))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise DataError(f"{path}: no such file; give a SentencePiece .model or a tokenizer.json") from error
    except OSError as error:
        raise DataError(f"{path}: is not a SentencePiece model; give a .model file") from error
