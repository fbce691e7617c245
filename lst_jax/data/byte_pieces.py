"""Byte-level BPE from a tokenizer.json of Hugging Face's `tokenizers`, which is an extra; and its training.

GPT-2, Qwen, Llama 3, SmolLM and OLMo have such tokenizers. A piece is a string of bytes, and a word's piece begins with
the space before the word. The file writes each byte as a visible character: "Ġriver" is " river".
"""

import json
import os
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Int32

from lst_jax.core.errors import DataError, first_line
from lst_jax.data.word_encoder import KeptWords
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

END_OF_TEXT = "<|endoftext|>"  # opens and ends documents of tokenizers that are trained here
MOST_NAMED = 4  # special tokens that an error names
MOST_HOLES = 2  # ids per piece; a file with more of them is damaged
NOT_VISIBLE = [*range(0x21), *range(0x7F, 0xA1), 0xAD]  # bytes that are written as other characters
# The byte of each character of the file: bytes that Latin-1 shows stand for themselves, the others follow from U+0100 on
BYTES = {chr(b): b for b in range(256) if b not in NOT_VISIBLE} | {chr(256 + i): b for i, b in enumerate(NOT_VISIBLE)}


class BytePieces:
    """A `TextTokenizer` of byte-level BPE. Names of special tokens within a text are text like any other."""

    def __init__(self, path: str | os.PathLike, content: bytes):
        """Loads the bytes of a tokenizer.json.

        Raises: DataError where they are not one, where it is of another kind, or where the extra is not installed.
        """
        self._path, library = path, library_for(path)
        try:
            self._settings = json.loads(content)
            self._model = library.Tokenizer.from_str(content.decode())
        except Exception as error:  # `tokenizers` raises plain Exceptions
            raise DataError(
                f"{path}: is not a file of the tokenizers library ({first_line(error)}); give a tokenizer.json"
            ) from error
        _check_kind(path, self._settings)
        self._model.no_truncation()
        self._model.no_padding()
        self._model.encode_special_tokens = True
        vocab = self._model.get_vocab(with_added_tokens=True)
        size = max(vocab.values(), default=0) + 1
        if size > MOST_HOLES * len(vocab):
            raise DataError(f"{path}: has {len(vocab)} pieces and ids up to {size - 1}; download it again")
        self._pieces = [""] * size
        for piece, index in vocab.items():
            self._pieces[index] = piece
        added = {int(one["id"]): one for one in self._settings.get("added_tokens") or ()}
        special = {index for index, one in added.items() if one.get("special")}
        self._special = frozenset(special | {i for i, piece in enumerate(self._pieces) if not piece})
        self._words = KeptWords(self.encode) if _parts_at_spaces(self._settings) else None
        self._bytes = [self._bytes_of(i, i in added) for i in range(len(self._pieces))]

    def get_piece_size(self) -> int:
        """See `TextTokenizer`."""
        return len(self._pieces)

    def id_to_piece(self, index: int) -> str:
        """See `TextTokenizer`."""
        return self._pieces[index]

    def special_ids(self) -> frozenset[int]:
        """See `TextTokenizer`."""
        return self._special

    def usual_document_ids(self) -> tuple[int, int]:
        """See `TextTokenizer`: the first special token does both. Raises: DataError where there is none."""
        first = next((i for i in sorted(self._special) if self._pieces[i]), None)
        if first is None:
            raise DataError(f"{self._path}: has no special token to open and end documents; add one to the file")
        return first, first

    def check_document_ids(self, bos_id: int, eos_id: int) -> None:
        """See `TextTokenizer`: both must be special tokens of the file, and may be the same one."""
        some = [f"{i} {self._pieces[i]}" for i in sorted(self._special) if self._pieces[i]]
        for name, index in (("bos_id", bos_id), ("eos_id", eos_id)):
            if index not in self._special or not self._pieces[index]:
                what = f"the text piece {self._pieces[index]!r}" if index < len(self._pieces) else "no piece"
                raise DataError(
                    f"vocab.{name}={index}: is {what} of {self._path}; use a special token, as "
                    f"{', '.join(some[:MOST_NAMED]) or 'soon as the file has one'}"
                )

    def encode(self, text: str) -> list[int]:
        """See `TextTokenizer`."""
        return self._model.encode(text, add_special_tokens=False).ids

    def encode_behind(self, text: str) -> list[int]:
        """See `TextTokenizer`: a text without a space in front gets one."""
        return self.encode(text if text[:1].isspace() or not text else f" {text}")

    def encode_on(self, text: str) -> list[int]:
        """See `TextTokenizer`."""
        return self.encode(text)

    def ids(self, text: str, behind: bool = False) -> Int32[np.ndarray, "n"]:
        """See `TextTokenizer`. A text whose words are parted by single spaces is encoded word by word."""
        first, *others = text.split(" ")
        if self._words is None or not first or [first, *others] != text.split():
            return np.array(self.encode_behind(text) if behind else self.encode(text), np.int32)
        return self._words.pieces([f" {first}" if behind else first, *[f" {word}" for word in others]])

    def decode(self, ids: Sequence[int]) -> str:
        """See `TextTokenizer`."""
        content = b"".join([self._bytes[i] for i in ids if i not in self._special])
        return content.decode(errors="replace").removeprefix(" ")

    def space_id(self) -> int | None:
        """See `TextTokenizer`."""
        return next((i for i, content in enumerate(self._bytes) if content == b" "), None)

    def piece_chars(self, word: str) -> tuple[int, ...]:
        """See `TextTokenizer`. Example: "naïve" in " na" <0xC3> <0xAF> "ve" -> (2, 1, 2)"""
        pieces = [self._bytes[i] for i in self.encode_behind(word)]
        pieces[:1] = [piece.removeprefix(b" ") for piece in pieces[:1]]
        counts = (sum(not 0x80 <= byte < 0xC0 for byte in piece) for piece in pieces)
        return tuple(filter(None, counts)) or (1,)

    def byte_spans(self, text: str) -> list[tuple[int, int]]:
        """See `TextTokenizer`. Pieces that share a character have the same span."""
        before = np.cumsum([0, *(len(char.encode()) for char in text)]).tolist()
        offsets = self._model.encode(text, add_special_tokens=False).offsets
        return [(before[begin], before[end]) for begin, end in offsets]

    def extended(self, names: dict[str, int], opening: Sequence[str]) -> dict[str, Any]:
        """The contents of a tokenizer.json with further special tokens by name, whose ids follow those of the file.

        Args: `opening` names the special tokens that come before every text; what the file itself puts around a text
            is left out.
        """
        settings = dict(self._settings)
        added = [{"id": i, "content": name, "special": True} | dict.fromkeys(FLAGS, False) for name, i in names.items()]
        settings["added_tokens"] = [*(settings.get("added_tokens") or ()), *added]
        kept = settings.get("post_processor")
        kept = kept.get("processors", [kept]) if kept else []
        kept = [one for one in kept if one["type"] != "TemplateProcessing"]
        ids = {name: names.get(name, self._model.token_to_id(name)) for name in opening}
        front = [{"SpecialToken": {"id": name, "type_id": 0}} for name in opening]
        first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
        template = {
            "type": "TemplateProcessing",
            "single": [*front, first],
            "pair": [*front, first, second],
            "special_tokens": {name: {"id": name, "ids": [i], "tokens": [name]} for name, i in ids.items()},
        }
        settings["post_processor"] = {"type": "Sequence", "processors": [*kept, template]}
        return settings

    def differs_from(self, other: "BytePieces") -> str | None:
        """The first part of the file in which texts may become other pieces, as a sentence; None where there is none."""
        ours, theirs = (json.loads(one._model.to_str()) for one in (self, other))
        parts = ("normalizer", "pre_tokenizer", "model")
        return next((f"its {part} is another one" for part in parts if ours[part] != theirs[part]), None)

    def _bytes_of(self, index: int, is_added: bool) -> bytes:
        piece = self._pieces[index]
        return piece.encode() if is_added or not set(piece) <= BYTES.keys() else bytes(map(BYTES.__getitem__, piece))


CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
# The rules for words of Llama 3 and OLMo 2, and of Qwen: only the first character of a part can be a space
PATTERNS = frozenset(
    rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for digits in ("{1,3}", "")
)
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")  # of an added token


def library_for(path: str | os.PathLike) -> ModuleType:
    """The package `tokenizers`. Raises: DataError where it is not installed."""
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise DataError(
            f"{path}: needs the package tokenizers, an extra that is not installed; "
            "run pip install -e '.[tokenizers]' in a clone"
        ) from error
    return tokenizers


def train_byte_pieces(texts: Iterable[str], path: str | os.PathLike, size: int) -> None:
    """Trains byte-level BPE of `size` pieces with GPT-2's rule for words; `END_OF_TEXT` has id 0.

    The same texts in the same order give the same file.
    Raises: DataError where `size` does not suit the texts; StorageError where the file cannot be written.
    """
    library = library_for(path)
    if size <= len(BYTES):
        raise DataError(
            f"{path}: no tokenizer of {size} pieces can be trained: bytes and {END_OF_TEXT} alone are {len(BYTES) + 1}; "
            f"use --size {len(BYTES) + 1} or more"
        )
    model = library.Tokenizer(library.models.BPE())
    model.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size, special_tokens=[END_OF_TEXT], initial_alphabet=sorted(BYTES), show_progress=False
    )
    model.train_from_iterator(texts, trainer)
    if (found := model.get_vocab_size()) != size:
        raise DataError(
            f"{path}: no tokenizer of {size} pieces can be trained on these texts (they have at most {found}); give "
            f"more text, or --size {found}"
        )
    objects.write_bytes(to_place(path), model.to_str().encode())


def _parts_at_spaces(settings: dict[str, Any]) -> bool:
    """Whether each single space begins a part of the text that is merged by itself, whatever stands before it."""
    before = settings.get("pre_tokenizer") or {"type": ""}
    steps = before["pretokenizers"] if before["type"] == "Sequence" else [before]
    normalizer, added = settings.get("normalizer"), settings.get("added_tokens") or ()
    return (
        (normalizer is None or normalizer["type"] == "NFC")
        and not any(" " in one["content"] or one["lstrip"] or one["rstrip"] for one in added if not one["special"])
        and all(
            one["type"] == "Digits"
            or (one["type"] == "ByteLevel" and (one.get("use_regex", True) or len(steps) > 1))
            or (one["type"] == "Split" and one["pattern"].get("Regex") in PATTERNS and one["behavior"] == "Isolated")
            for one in steps
        )
        and any(one["type"] == "Split" or one.get("use_regex", True) for one in steps if one["type"] != "Digits")
    )


def _check_kind(path: str | os.PathLike, settings: dict[str, Any]) -> None:
    """Raises: DataError where the file is not byte-level BPE, or writes a space before every text."""
    steps = [one for name in ("pre_tokenizer", "normalizer") if (one := settings.get(name))]
    steps = [inner for one in steps for inner in (one.get("pretokenizers") or one.get("normalizers") or [one])]
    levels = [one for one in steps if one["type"] == "ByteLevel"]
    if settings["model"]["type"] != "BPE" or not levels:
        raise DataError(
            f"{path}: holds no byte-level BPE; give the SentencePiece .model of the same directory, or another tokenizer"
        )
    if any(one.get("add_prefix_space") for one in levels):
        raise DataError(
            f"{path}: its ByteLevel has add_prefix_space=true, a space before every text; use a tokenizer without it"
        )
