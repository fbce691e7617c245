"""Utterances from importers to a directory of records, whole or not at all, with a report of what was left out."""

import collections
import dataclasses
import itertools
import os
from collections.abc import Iterable
from typing import Any

import lst_jax
from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data import records, shards
from lst_jax.storage import folders, objects
from lst_jax.storage.place import Place, to_place

SHARD_RECORDS = 1000
REPORT_NAME = "report.json"
EXAMPLES = 5  # of each reason in the report, of `message` lines


class Tally:
    """Counts bad items by reason and keeps the first messages of each; call it as an importer's `on_bad`."""

    def __init__(self) -> None:
        """Nothing counted."""
        self.reasons: collections.Counter[str] = collections.Counter()
        self.examples: dict[str, list[str]] = {}
        self.notes: collections.Counter[str] = collections.Counter()

    def __call__(self, error: RejectedItem) -> None:
        """Counts one."""
        self.reasons[error.reason] += 1
        examples = self.examples.setdefault(error.reason, [])
        if len(examples) < EXAMPLES:
            examples.append(str(error))

    def note(self, what: str) -> None:
        """Counts what a reader had to change in an item that is good."""
        self.notes[what] += 1

    def __len__(self) -> int:
        """Number of bad items."""
        return self.reasons.total()

    def mapping(self, done: int) -> dict[str, Any]:
        """What a report holds, `done` items being good."""
        reasons = {
            reason: {"count": count, "examples": self.examples[reason]} for reason, count in self.reasons.most_common()
        }
        counts = {"items": done + len(self), "prepared": done, "rejected": len(self), "reasons": reasons}
        return counts | ({"notes": dict(self.notes.most_common())} if self.notes else {})

    def line(self) -> str:
        """The counts in words. Example: "3 rejected (2 bad units, 1 no alignment)"."""
        detail = ", ".join(f"{count} {reason}" for reason, count in self.reasons.most_common())
        notes = "".join(f", {count} {what}" for what, count in self.notes.most_common())
        return f"{len(self)} rejected" + (f" ({detail})" if detail else "") + notes


@dataclasses.dataclass(frozen=True)
class Origin:
    """What the metadata says of imported units."""

    unit_rate: float
    codebook_size: int
    codebook_fingerprint: str | None
    aligner: str | None


def write_directory(
    utterances: Iterable[records.Utterance],
    out: str | os.PathLike | Place,
    origin: Origin,
    tally: Tally,
    shard_records: int = SHARD_RECORDS,
    overwrite: bool = False,
) -> shards.Metadata:
    """Writes shards, `metadata.json` and `report.json`, first beside `out`: `out` is complete, or as it was.

    Raises: DataError where `out` is there already, or nothing is left to write; StorageError.
    """
    out = to_place(out)
    check_free(out, overwrite)
    if shard_records < 1:
        raise DataError(f"shard_records={shard_records}: must be at least 1; use {SHARD_RECORDS}")
    with folders.replaced_folder(out, shards.METADATA_NAME) as folder:
        metadata = _write(iter(utterances), folder, origin, shard_records)
        objects.write_json(folder / REPORT_NAME, tally.mapping(metadata.records))
        if not metadata.records:
            first = f": {next(iter(tally.examples.values()))[0].replace(';', ',')}" if len(tally) else ""
            raise DataError(f"{out}: nothing to write, {tally.line()}{first}; mend the input")
        objects.write_json(folder / shards.METADATA_NAME, dataclasses.asdict(metadata))
    return metadata


def check_free(out: Place, overwrite: bool) -> None:
    """Raises: DataError where `out` may not be written: it is there, or is no directory of records to overwrite."""
    if not objects.exists(out) or (objects.is_folder(out) and not objects.names(out)):
        return
    if not overwrite:
        raise DataError(f"{out}: is there already; choose another name or pass --overwrite")
    if not objects.look(out / shards.METADATA_NAME):
        raise DataError(f"{out}: is no directory of records, it is not overwritten; choose another name")


def _write(
    utterances: Iterable[records.Utterance], folder: Place, origin: Origin, shard_records: int
) -> shards.Metadata:
    infos, frames, words = [], 0, 0
    for number in itertools.count():
        payloads = []
        for utterance in itertools.islice(utterances, shard_records):
            payloads.append(records.encode(utterance))
            frames, words = frames + len(utterance.units), words + len(utterance.words)
        if not payloads:
            break
        infos.append(shards.write_shard(folder / f"shard-{number:05d}.array_record", payloads))
    return shards.Metadata(
        "utterance",
        shards.FORMAT_VERSION,
        sum(i.records for i in infos),
        frames,
        words,
        origin.unit_rate,
        origin.codebook_size,
        origin.codebook_fingerprint,
        None,
        origin.aligner,
        lst_jax.__version__,
        tuple(infos),
    )
