"""SentencePiece models as text tokenizers, and their training."""

import functools
import io
import os
import re
from collections.abc import Iterable

import numpy as np
import sentencepiece
from jaxtyping import Int32
from sentencepiece import SentencePieceProcessor

from lst_jax.core.errors import DataError
from lst_jax.core.vocab import BOS_ID, EOS_ID, PAD_ID
from lst_jax.data.word_encoder import SPACE, WordEncoder
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

GUARDS = '.,;:!?)"-0aZ'  # characters before a text that keep the tokenizer's space away from it


class SentencePieces(SentencePieceProcessor):
    """A `TextTokenizer` that is also the processor of the sentencepiece package."""

    def __init__(self, path: str | os.PathLike, content: bytes):
        """Loads the bytes of a `.model` file. Raises: DataError where they are not one."""
        try:
            super().__init__(model_proto=content)
        except (RuntimeError, OSError, ValueError) as error:  # ValueError: pieces that are not UTF-8
            raise DataError(f"{path}: is not a SentencePiece model; give a .model file") from error
        self._path = path

    def special_ids(self) -> frozenset[int]:
        """See `TextTokenizer`: unk, BOS, EOS and pad, as far as there are such pieces."""
        return frozenset({self.unk_id(), self.bos_id(), self.eos_id(), self.pad_id()} - {-1})

    def usual_document_ids(self) -> tuple[int, int]:
        """See `TextTokenizer`: the file's own."""
        return self.bos_id(), self.eos_id()

    def check_document_ids(self, bos_id: int, eos_id: int) -> None:
        """See `TextTokenizer`: both must be what the file itself says."""
        found = (self.bos_id(), self.eos_id())
        if -1 in found:
            raise DataError(f"{self._path}: has BOS, EOS ids {found}, and needs both; train it with these pieces")
        if found != (bos_id, eos_id):
            raise DataError(
                f"vocab.bos_id={bos_id}, vocab.eos_id={eos_id}: {self._path} has BOS, EOS ids {found}; use these in the recipe"
            )

    def encode_behind(self, text: str) -> list[int]:
        """See `TextTokenizer`: SentencePiece writes a space before every text."""
        return self.encode(text)

    def encode_on(self, text: str) -> list[int]:
        """See `TextTokenizer`.

        The space that SentencePiece writes is kept out by a guard: a character that stays a piece of its own, or ends
        one, before `text`. Where there is no such guard, the space stays.
        """
        if text[:1].strip():
            for guard in GUARDS:
                alone, guarded = self.encode(guard), self.encode(guard + text)
                if guarded[: len(alone)] == alone and len(guarded) > len(alone):
                    return guarded[len(alone) :]
        return self.encode(text)

    def ids(self, text: str, behind: bool = False) -> Int32[np.ndarray, "n"]:
        """See `TextTokenizer`."""
        return self._words.encode(text)

    def space_id(self) -> int | None:
        """See `TextTokenizer`."""
        piece = self.piece_to_id(SPACE)
        return None if piece == self.unk_id() else piece

    def piece_chars(self, word: str) -> tuple[int, ...]:
        """See `TextTokenizer`. Example: a word in "▁" "na" <0xC3> <0xAF> "ve" -> (2, 1, 2)"""
        return piece_chars(self, word)

    def byte_spans(self, text: str) -> list[tuple[int, int]]:
        """See `TextTokenizer`."""
        return [(piece.begin, piece.end) for piece in self.encode(text, return_type="proto").pieces]

    @functools.cached_property
    def _words(self) -> WordEncoder:
        return WordEncoder(self)


def piece_chars(tokenizer: SentencePieceProcessor, word: str) -> tuple[int, ...]:
    """See `TextTokenizer.piece_chars`."""
    counts = []
    for index in tokenizer.encode(word):
        piece = tokenizer.id_to_piece(index)
        if tokenizer.is_byte(index):
            counts.append(int(not 0x80 <= int(piece[1:-1], 16) < 0xC0))  # UTF-8: 10xxxxxx continues a character
        else:
            counts.append(len(piece.removeprefix(SPACE)))
    return tuple(filter(None, counts)) or (1,)


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
