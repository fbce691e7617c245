"""Unit pieces: a SentencePiece BPE model over speech units (paper §7, BPE SpeechLLM; docs/formats.md).

To SentencePiece a unit is one character, in a private plane of Unicode to which no rule about spaces, scripts or digits
applies. Every unit of the codebook is also a piece, so any sequence of units can be written in pieces.

Example: the units 7 7 are piece 0, and the units 7 and 9 alone are pieces 2 and 3. Then the units 7 7 9 7 are the pieces
0 3 2, which stand for 2, 1 and 1 frames. Where a word begins at the second of the four frames, a segment of a document
may begin at the third, which is the first one from there on that opens a unit piece:

    >>> piece_cuts(np.array([True, True, False, False]), np.array([2, 1, 1])).tolist()
    [True, True, False]
"""

import hashlib
import io
import json
import os
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import sentencepiece
from jaxtyping import Bool, Float32, Int32, Integer, UInt16

from lst_jax.config import Config
from lst_jax.core.errors import DataError
from lst_jax.data.shards import Metadata
from lst_jax.storage import objects
from lst_jax.storage.place import Place, to_place

FIRST_CHARACTER = 0xF0000  # of unit 0: Supplementary Private Use Area-A
MOST_UNITS = 0xFFFE  # characters of that area
FIRST_PIECE = 2  # SentencePiece id of piece 0, behind <unk> and the codebook's name
KIND, VERSION = "unit_pieces", 1
LONGEST_LINE = 1 << 30  # bytes. SentencePiece leaves out longer sequences; its default is 42 seconds of units


class Codebook(NamedTuple):
    """The codebook of units: its size, and the fingerprint of the quantizer, None where that is not known."""

    size: int
    fingerprint: str | None

    def fits(self, other: "Codebook") -> bool:
        """Whether the two may be the same codebook: equal sizes, and no different fingerprints."""
        return self.size == other.size and len({self.fingerprint, other.fingerprint} - {None}) < 2

    def __str__(self) -> str:
        return f"{self.size} units ({self.fingerprint or 'of unknown making'})"


class UnitPieces:
    """A unit tokenizer: units to unit pieces 0..n-1 and back, without loss. `frames` is the length of each piece."""

    def __init__(self, path: str | os.PathLike):
        """Loads a file of `train_unit_pieces`. Raises: DataError where it is not such a file."""
        self.path = to_place(path)
        self._model = sentencepiece.SentencePieceProcessor()
        try:
            self._model.load_from_serialized_proto(_content(self.path))
            settings = json.loads(self._model.id_to_piece(FIRST_PIECE - 1))
            self.codebook = Codebook(settings["codebook_size"], settings["codebook_fingerprint"])
            found = settings["kind"], settings["version"]
            texts = [self._model.id_to_piece(i) for i in range(FIRST_PIECE, self._model.get_piece_size())]
        except (RuntimeError, OSError, IndexError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(
                f"{self.path}: is not a SentencePiece model over units; make one with `lst prepare unit-tokenizer`"
            ) from error
        if found != (KIND, VERSION):
            raise DataError(
                f"{self.path}: is {found[0]} of version {found[1]}, this program reads {KIND} of version "
                f"{VERSION}; make it again with `lst prepare unit-tokenizer`"
            )
        self._units = [_units_of(text) for text in texts]
        self.frames = np.array([len(units) for units in self._units], np.int32)
        if {int(units[0]) for units in self._units if len(units) == 1} != set(range(self.codebook.size)):
            raise DataError(
                f"{self.path}: does not have each of the {self.codebook.size} units as a piece; make it "
                "again with `lst prepare unit-tokenizer`"
            )

    def __len__(self) -> int:
        """The number n of pieces."""
        return len(self._units)

    def encode(self, units: Integer[np.ndarray, "frames"]) -> Int32[np.ndarray, "pieces"]:
        """The unit pieces of these units. Raises: DataError where a unit is not in the codebook."""
        if units.size and not 0 <= units.min() <= units.max() < self.codebook.size:
            raise DataError(
                f"{self.path}: units {units.min()}..{units.max()} are outside its codebook of "
                f"{self.codebook.size}; use the units that it was trained on"
            )
        return np.array(self._model.encode(_text_of(units)), np.int32) - FIRST_PIECE

    def decode(self, pieces: Integer[np.ndarray, "pieces"]) -> UInt16[np.ndarray, "frames"]:
        """The units of the pieces: the inverse of `encode`."""
        return np.concatenate([np.zeros(0, np.uint16), *[self._units[piece] for piece in pieces.tolist()]])


def piece_cuts(edge: Bool[np.ndarray, "frames"], frames: Integer[np.ndarray, "pieces"]) -> Bool[np.ndarray, "pieces"]:
    """Marks the first piece at or after each frame of `edge`. The pieces have `frames` each. Example: in the module."""
    first = np.cumsum(frames) - frames
    cut = np.zeros(len(frames) + 1, bool)
    cut[np.searchsorted(first, np.flatnonzero(edge))] = True
    return cut[:-1]  # an edge inside the last piece falls to what follows the run, which may be cut there anyway


def open_unit_pieces(config: Config) -> UnitPieces | None:
    """Loads `data.unit_tokenizer`, if the run has one. Raises: DataError where it has more pieces than `unit_slots`."""
    if config.data.unit_tokenizer is None:
        return None
    pieces = UnitPieces(config.data.unit_tokenizer)
    if len(pieces) > config.vocab.unit_slots:
        raise DataError(
            f"{pieces.path}: has {len(pieces)} pieces, the run has vocab.unit_slots="
            f"{config.vocab.unit_slots}; use at least as many slots"
        )
    return pieces


def check_codebook(pieces: UnitPieces, found: Metadata, where: str) -> None:
    """Compares the codebook of a directory with the unit tokenizer's. Raises: DataError naming both."""
    theirs = codebook_of(found, where)
    if not pieces.codebook.fits(theirs):
        raise DataError(
            f"{where}: has a codebook of {theirs}, the unit tokenizer {pieces.path} was trained on "
            f"{pieces.codebook}; train one on these units with `lst prepare unit-tokenizer`"
        )


def codebook_of(found: Metadata, where: str) -> Codebook:
    """The codebook of a directory. Raises: DataError where its metadata do not give a size."""
    if found.codebook_size is None:
        raise DataError(f"{where}: codebook_size=None; a unit tokenizer needs to know it: prepare the records again")
    return Codebook(found.codebook_size, found.codebook_fingerprint)


def unit_tokenizer_fingerprint(path: str | os.PathLike) -> str:
    """First 16 hex digits of the file's SHA-256. Raises: DataError where there is no file."""
    return hashlib.sha256(_content(to_place(path))).hexdigest()[:16]


def token_frames(config: Config) -> Float32[np.ndarray, "V"] | None:
    """Frames that each token of the joint vocabulary stands for, 0 for text. None where each speech token is a unit."""
    pieces = open_unit_pieces(config)
    if pieces is None:
        return None
    frames_V = np.zeros(config.joint_vocab.size, np.float32)
    frames_V[config.joint_vocab.unit_offset :][: len(pieces)] = pieces.frames
    return frames_V


def train_unit_pieces(
    sequences: Iterable[Integer[np.ndarray, "_"]], path: str | os.PathLike, size: int, codebook: Codebook
) -> None:
    """Trains a BPE model of `size` pieces: every unit of the codebook, and the most frequent joins of units.

    The same sequences in the same order give the same file. A piece has at most 16 units (SentencePiece's default).

    Raises: DataError where `size` does not suit codebook or sequences; StorageError where the file cannot be written.
    """
    if codebook.size > MOST_UNITS:
        raise DataError(
            f"{path}: a codebook of {codebook.size} units is too large for a unit tokenizer; use at most {MOST_UNITS}"
        )
    if size < codebook.size:
        raise DataError(
            f"{path}: size={size} is less than the codebook's {codebook.size} units, each of which is a "
            f"piece; use at least {codebook.size}"
        )
    settings = {
        "kind": KIND,
        "version": VERSION,
        "codebook_size": codebook.size,
        "codebook_fingerprint": codebook.fingerprint,
    }
    # SentencePiece keeps only characters that it has seen. So each unit is also given once, as a sequence of its own.
    lines = [*map(chr, range(FIRST_CHARACTER, FIRST_CHARACTER + codebook.size)), *map(_text_of, sequences)]
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            vocab_size=FIRST_PIECE + size,
            model_type="bpe",
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            control_symbols=[json.dumps(settings)],
            byte_fallback=False,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            split_by_whitespace=False,
            split_by_unicode_script=False,
            split_by_number=False,
            character_coverage=1.0,
            max_sentence_length=LONGEST_LINE,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        cause, fix = str(error).splitlines()[-1].replace(";", ",").strip(), "another size"
        if most := re.search(r"value <= (\d+)", cause):
            cause = fix = f"at most {int(most[1]) - FIRST_PIECE}"
        raise DataError(
            f"{path}: no unit tokenizer of {size} pieces can be trained on these sequences ({cause}); use "
            f"{fix}, or give more speech"
        ) from error
    objects.write_bytes(to_place(path), model.getvalue())


def _content(path: Place) -> bytes:
    try:
        return objects.read_bytes(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise DataError(f"{path}: no such file; make it with `lst prepare unit-tokenizer`") from error


def _text_of(units: Integer[np.ndarray, "frames"]) -> str:
    return (units.astype("<u4") + np.uint32(FIRST_CHARACTER)).tobytes().decode("utf-32-le")


def _units_of(text: str) -> UInt16[np.ndarray, "frames"]:
    return (np.frombuffer(text.encode("utf-32-le"), "<u4") - np.uint32(FIRST_CHARACTER)).astype(np.uint16)
