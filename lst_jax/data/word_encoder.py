"""Texts into text pieces, each word once: a text repeats its words, and SentencePiece takes most of a row's time.

A BPE model whose pieces do not reach over a space merges within words alone. So the pieces of a text are those of its
words, one after the other, and a word's pieces can be kept. Every other model or text goes to SentencePiece whole.
"""

from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Int32
from sentencepiece import SentencePieceProcessor

from lst_jax.core.protobuf import FIELD, message_class

SPACE = "\u2581"  # what SentencePiece writes for one
BPE = 2  # TrainerSpec.ModelType
MOST_WORDS = 1 << 18  # that are kept at a time
LONGEST_WORD = 64  # characters of a word that is kept
MODEL = message_class(
    "lst_jax_word_encoder",
    {
        "Model": {"trainer": (2, "Trainer", None), "normalizer": (3, "Normalizer", None)},
        "Trainer": {"model_type": (3, FIELD.TYPE_INT32, "1")},
        "Normalizer": {
            "precompiled_charsmap": (2, FIELD.TYPE_BYTES, None),
            "add_dummy_prefix": (3, FIELD.TYPE_BOOL, "true"),
            "escape_whitespaces": (5, FIELD.TYPE_BOOL, "true"),
        },
    },
    "Model",
)


class WordEncoder:
    """Encodes texts as `SentencePieceProcessor.encode` does, word by word where that gives the same."""

    def __init__(self, tokenizer: SentencePieceProcessor):
        """Keeps the tokenizer, and the pieces of the words that it meets."""
        self._tokenizer = tokenizer
        self._words = KeptWords(tokenizer.encode) if merges_within_words(tokenizer) else None

    def encode(self, text: str) -> Int32[np.ndarray, "n"]:
        """The text pieces of `text`."""
        if self._words is None or SPACE in text:
            return np.array(self._tokenizer.encode(text), np.int32)
        words = text.split(" ")
        if "" in words:  # two spaces, or one at an end
            return np.array(self._tokenizer.encode(text), np.int32)
        return self._words.pieces(words)


class KeptWords(dict[str, bytes]):
    """The text pieces of words as the bytes of int32, each word encoded when it is met first."""

    def __init__(self, encode: Callable[[str], list[int]]):
        """`encode` gives the pieces of one word."""
        super().__init__()
        self._encode = encode

    def pieces(self, words: Iterable[str]) -> Int32[np.ndarray, "n"]:
        """The pieces of all words, one after the other."""
        if len(self) > MOST_WORDS:
            self.clear()
        return np.frombuffer(b"".join(map(self.__getitem__, words)), np.int32)

    def __missing__(self, word: str) -> bytes:
        pieces = np.array(self._encode(word), np.int32).tobytes()
        if len(word) <= LONGEST_WORD:
            self[word] = pieces
        return pieces


def merges_within_words(tokenizer: SentencePieceProcessor) -> bool:
    """Whether the pieces of a text without double spaces are those of its words, for any text."""
    model = MODEL.FromString(tokenizer.serialized_model_proto())
    normalizer = model.normalizer
    if model.trainer.model_type != BPE or normalizer.precompiled_charsmap:  # which could make spaces, or remove them
        return False
    if not (normalizer.add_dummy_prefix and normalizer.escape_whitespaces):
        return False
    pieces = (tokenizer.id_to_piece(number) for number in range(tokenizer.get_piece_size()))
    return all(SPACE not in piece[1:] or not piece.strip(SPACE) for piece in pieces)
