"""What every text tokenizer does, whatever file it comes from.

A text stands in a document in one of three ways, which differ only where no piece of a tokenizer holds the space before
a word by itself:

    encode("the river")           opens the document
    encode_behind("the river")    other words, of text or speech, come before it, and one space between
    encode_on("the river")        goes on directly behind other text, without a space

SentencePiece writes a space before every text, so the first two are the same. Byte-level BPE writes what is there.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32


@runtime_checkable
class TextTokenizer(Protocol):
    """Texts to the ids of text pieces, 0 to `get_piece_size()` - 1, and back."""

    def get_piece_size(self) -> int:
        """The number of ids, the configuration's `vocab.text_size`."""

    def id_to_piece(self, index: int) -> str:
        """The name of an id in the tokenizer's file; "" where no piece has the id."""

    def special_ids(self) -> frozenset[int]:
        """Ids that no text holds: those of special tokens, and those without a piece."""

    def usual_document_ids(self) -> tuple[int, int]:
        """The ids that open and end documents where no configuration names them."""

    def check_document_ids(self, bos_id: int, eos_id: int) -> None:
        """Checks the ids that open and end documents. Raises: DataError naming the file and ids that will do."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text that opens a document."""

    def encode_behind(self, text: str) -> list[int]:
        """The ids of a text behind other words."""

    def encode_on(self, text: str) -> list[int]:
        """The ids of a text that goes on without a space, unless it begins with one."""

    def ids(self, text: str, behind: bool = False) -> Int32[np.ndarray, "n"]:
        """As `encode`, or `encode_behind`, for many texts: what was worked out for their words is kept."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these ids, without special tokens and without one space in front.

        Bytes that are no whole character, as where generation stops within one, become U+FFFD.
        """

    def space_id(self) -> int | None:
        """The id of the piece of a space alone; None where there is none."""

    def piece_chars(self, word: str) -> tuple[int, ...]:
        """Number of characters that begin in each piece of a word behind other words, without the space before it.

        A piece in which no character begins takes no frames, so it is left out. A word without characters gives (1,).
        Example: a word in the pieces "▁plea" "sant" -> (4, 4)
        """

    def byte_spans(self, text: str) -> list[tuple[int, int]]:
        """For each id of `encode(text)`, the bytes [begin, end) of the text in UTF-8 that it stands for."""
