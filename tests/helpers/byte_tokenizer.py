"""A small byte-level BPE tokenizer, and configurations with it. Needs the package tokenizers."""

import dataclasses
import functools
import pathlib
import tempfile

import synthetic_data

from lst_jax.data import text

SIZE = 360
TEXTS = [document.text for document in synthetic_data.texts(40)]


@functools.cache
def path() -> str:
    """The file; `<|endoftext|>` has id 0, and opens and ends documents."""
    file = pathlib.Path(tempfile.mkdtemp(prefix="lst_jax_test_")) / "tokenizer.json"
    text.train_byte_pieces(TEXTS, file, SIZE)
    return str(file)


@functools.cache
def tokenizer():
    """The same, loaded."""
    return text.load_tokenizer(path())


def with_bytes(config):
    """The configuration over this tokenizer."""
    return dataclasses.replace(
        config,
        vocab=dataclasses.replace(config.vocab, text_size=SIZE, bos_id=0, eos_id=0),
        data=dataclasses.replace(config.data, tokenizer=path()),
    )
