"""SentencePiece tokenizers: loading, identity and training."""

import hashlib
import io
import os
import re
from collections.abc import Iterable

import sentencepiece

from lst_jax.core.errors import DataError
from lst_jax.core.vocab import BOS_ID, EOS_ID, PAD_ID
from lst_jax.storage import objects
from lst_jax.storage.place import to_place


def load_tokenizer(path: str | os.PathLike) -> sentencepiece.SentencePieceProcessor:
    """Loads a SentencePiece `.model` with unk 0, BOS 1 and EOS 2. Raises: DataError where it is not one."""
    content = _content(path)
    try:
        tokenizer = sentencepiece.SentencePieceProcessor(model_proto=content)
    except (RuntimeError, OSError, ValueError) as error:  # ValueError: pieces that are not UTF-8
        raise DataError(f"{path}: is not a SentencePiece model; give a .model file") from error
    found = (tokenizer.unk_id(), tokenizer.bos_id(), tokenizer.eos_id())
    if found != (PAD_ID, BOS_ID, EOS_ID):
        raise DataError(
            f"{path}: has unk, BOS, EOS ids {found}, they must be {(PAD_ID, BOS_ID, EOS_ID)}; train it with these ids"
        )
    return tokenizer


def tokenizer_fingerprint(path: str | os.PathLike) -> str:
    """First 16 hex digits of the model file's SHA-256. Raises: DataError where there is no file."""
    return hashlib.sha256(_content(path)).hexdigest()[:16]


def _content(path: str | os.PathLike) -> bytes:
    try:
        return objects.read_bytes(to_place(path))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise DataError(f"{path}: no such file; give a SentencePiece .model") from error
    except OSError as error:
        raise DataError(f"{path}: is not a SentencePiece model; give a .model file") from error


def train_tokenizer(texts: Iterable[str], path: str | os.PathLike, size: int) -> None:
    """Trains a BPE model of `size` text pieces with Llama-2's settings: byte fallback, split digits, no normalisation.

    The same texts in the same order give the same file (one thread, no sampling).

    Raises: DataError where `size` does not suit the texts; StorageError where the file cannot be written.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=size,
            model_type="bpe",
            byte_fallback=True,
            unk_id=PAD_ID,
            bos_id=BOS_ID,
            eos_id=EOS_ID,
            pad_id=-1,
            split_digits=True,
            num_threads=1,
            normalization_rule_name="identity",
            character_coverage=0.99995,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise DataError(
            f"{path}: no tokenizer of {size} pieces can be trained on these texts ({_size_fix(str(error))}"
        ) from error
    objects.write_bytes(to_place(path), model.getvalue())


def _size_fix(said: str) -> str:
    """What SentencePiece said of a size: the cause, a bracket, and the fix."""
    if most := re.search(r"value <= (\d+)", said):
        return f"they have at most {most[1]}); give more text, or --size {most[1]}"
    if least := re.search(r"required_chars\. \d+ vs (\d+)", said):
        return f"their characters alone are {least[1]}); use --size {least[1]} or more"
    return f"{said.strip().splitlines()[-1].replace(';', ',').strip()}); give more text, or another --size"
