"""`lst prepare unit-tokenizer`: pieces of units from directories of utterance records."""

import bisect
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm

from lst_jax.core.errors import DataError
from lst_jax.data.records import check_utterance
from lst_jax.data.rng import permuted
from lst_jax.data.shards import METADATA_NAME
from lst_jax.data.sources import RecordSource, open_records
from lst_jax.data.unit_pieces import Codebook, UnitPieces, codebook_of, train_unit_pieces
from lst_jax.prepare.digests import digest

SIZE, SEQUENCES = 1000, 100_000  # the paper's (§7)


class Trained(NamedTuple):
    """The pieces, the utterances that they were trained on, and how many frames of these a piece stands for."""

    pieces: UnitPieces
    utterances: int
    mean_frames: float


def open_speech(paths: Sequence[str]) -> tuple[list[RecordSource], Codebook]:
    """Opens directories of utterances of one codebook. Raises: DataError where they have several, or no record."""
    directories = [open_records(path, "utterance") for path in paths]
    where = [f"{d.path / METADATA_NAME}" for d in directories]
    codebooks = [codebook_of(d.metadata, name) for d, name in zip(directories, where, strict=True)]
    common = next((c for c in codebooks if c.fingerprint is not None), codebooks[0])
    for name, codebook in zip(where, codebooks, strict=True):
        if not codebook.fits(common):
            raise DataError(
                f"{name}: has a codebook of {codebook}, another --data has {common}; give directories "
                "whose units one quantizer made"
            )
    if not any(map(len, directories)):
        raise DataError(f"{', '.join(paths)}: no records; give directories with utterances")
    return directories, common


def identity(
    directories: Sequence[RecordSource], codebook: Codebook, size: int, sequences: int, seed: int
) -> dict[str, Any]:
    """What a unit tokenizer is made from, for `made.begin`."""
    return {
        "size": size,
        "sequences": sequences,
        "seed": seed,
        "codebook": str(codebook),
        "records": digest(shard.sha256 for d in directories for shard in d.metadata.shards),
    }


def check_settings(size: int, sequences: int, codebook: Codebook) -> None:
    """Raises: DataError where the settings can give no unit tokenizer, before an old one makes way."""
    if size < codebook.size:
        raise DataError(
            f"--size {size}: is less than the codebook's {codebook.size} units, each of which is a piece; "
            f"use at least {codebook.size}"
        )
    if sequences < 1:
        raise DataError(f"--sequences {sequences}: must be at least 1; use {SEQUENCES}")


def train(
    directories: Sequence[RecordSource],
    codebook: Codebook,
    out_path: str | os.PathLike,
    size: int = SIZE,
    sequences: int = SEQUENCES,
    seed: int = 0,
    progress: bool = False,
) -> Trained:
    """Trains on a sample of at most `sequences` utterances, the same one for the same seed and records.

    Raises: DataError where a record is damaged or `size` is too large for the sample; StorageError.
    """
    end = np.cumsum([len(d) for d in directories]).tolist()  # of each directory among all utterances
    chosen = sorted(permuted(i, end[-1], seed, "unit-tokenizer") for i in range(min(sequences, end[-1])))
    units = []
    for i in tqdm.tqdm(chosen, desc="read", unit="utterance", disable=not progress):
        number = bisect.bisect(end, i)
        units.append(_units(directories[number], i - end[number] + len(directories[number]), codebook.size))
    train_unit_pieces(units, out_path, size, codebook)
    pieces = UnitPieces(out_path)
    written = sum(len(pieces.encode(one)) for one in units)
    return Trained(pieces, len(units), sum(map(len, units)) / written)


def _units(directory: RecordSource, index: int, codebook_size: int) -> np.ndarray:
    record = directory[index]
    try:
        check_utterance(record, codebook_size)
    except DataError as error:
        raise DataError(f"{directory.path}: record {index}: {error}") from error
    return record.units
