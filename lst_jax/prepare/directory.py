"""A directory in the making: what it is made from, which shards are finished, and how it is closed.

Beside the shards and `metadata.json` there are

    prepare.json                  the identity of the input; another input is refused
    shard-00003-of-00007.json     written after its shard: counts, checksum, what was rejected
    report.json                   what was rejected and why, over all shards

All are written whole or not at all, so that a run killed at any time can be repeated and then ends with the same bytes.
The directory may lie in a bucket: shards are made on this machine, one at a time, and copied there.
"""

import collections
import dataclasses
import fnmatch
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import lst_jax
from lst_jax.core import files
from lst_jax.core.errors import DataError, storage_error
from lst_jax.data import shards
from lst_jax.storage import objects
from lst_jax.storage.place import Place, in_bucket, to_place

IDENTITY_NAME = "prepare.json"
REPORT_NAME = "report.json"
VERSION = 1  # of what is written here and of how records are made; raise it when either changes
EXAMPLES = 5  # of each reason in the report; all are in the shards' own files


@dataclasses.dataclass(frozen=True)
class Rejection:
    """An item that was left out, the short reason it is counted under, and the line that says more."""

    id: str
    reason: str
    message: str


@dataclasses.dataclass(frozen=True)
class Made:
    """What became of one item: the record's bytes and counts, or a rejection."""

    payload: bytes | None
    frames: int
    words: int
    rejection: Rejection | None
    guessed: tuple[str, ...]
    notes: dict[str, int | float] = dataclasses.field(default_factory=dict)  # what was accepted but should be known


@dataclasses.dataclass(frozen=True)
class Sidecar:
    """What the file beside a finished shard says."""

    input_hash: str
    shard: shards.ShardInfo
    items: int
    frames: int
    words: int
    rejected: tuple[Rejection, ...]
    guessed_words: dict[str, int]  # words whose pronunciation was guessed, and how often
    notes: dict[str, int | float] = dataclasses.field(default_factory=dict)  # of all items, summed


@dataclasses.dataclass(frozen=True)
class Report:
    """The outcome: counts, rejections by reason, guessed words."""

    directory: Place
    items: int
    prepared: int
    rejected: tuple[Rejection, ...]
    guessed_words: dict[str, int]
    notes: dict[str, int | float] = dataclasses.field(default_factory=dict)

    def line(self) -> str:
        """One line for the log."""
        text = f"{self.directory}: {self.prepared} prepared, {len(self.rejected)} rejected"
        if self.rejected:
            text += f" ({', '.join(f'{count} {reason}' for reason, count in self.reasons())})"
        if self.guessed_words:
            text += f", {len(self.guessed_words)} words with guessed pronunciation"
        for what, amount in self.notes.items():
            text += f", {amount:g} {what}"
        return f"{text}; {self.directory / REPORT_NAME} says more"

    def reasons(self) -> list[tuple[str, int]]:
        """Reasons and counts, the commonest first."""
        return collections.Counter(rejection.reason for rejection in self.rejected).most_common()

    def mapping(self) -> dict[str, Any]:
        """What `report.json` holds."""
        reasons = {}
        for reason, count in self.reasons():
            examples = [r for r in self.rejected if r.reason == reason][:EXAMPLES]
            reasons[reason] = {"count": count, "examples": {r.id: r.message for r in examples}}
        return {
            "items": self.items,
            "prepared": self.prepared,
            "rejected": len(self.rejected),
            "reasons": reasons,
            "guessed_words": dict(sorted(self.guessed_words.items(), key=lambda pair: (-pair[1], pair[0]))),
            "notes": self.notes,
        }


class Directory:
    """An output directory opened for one input, `identity`, of `count` items, `shard_records` items a shard."""

    def __init__(
        self,
        path: str | os.PathLike | Place,
        identity: Mapping[str, Any],
        count: int,
        shard_records: int,
        overwrite: bool,
    ):
        """Creates the directory, or goes on with one of the same identity.

        Raises: DataError where it holds something else and `overwrite` is not set; StorageError.
        """
        self.path = to_place(path)
        if shard_records < 1:
            raise DataError(f"shard_records={shard_records}: must be at least 1; use 1000")
        self.count, self.shard_records = count, shard_records
        self.identity = {"version": VERSION, **identity, "items": count, "shard_records": shard_records}
        self.input_hash = digest([json.dumps(self.identity, sort_keys=True)])
        self.shard_count = -(-count // shard_records)
        self._sizes: dict[str, int] = {}
        try:
            self._open(overwrite)
        except OSError as error:
            raise storage_error(self.path, error) from error

    def stem(self, number: int) -> str:
        """File name of shard `number` without suffix."""
        return f"shard-{number:05d}-of-{self.shard_count:05d}"

    def items_of(self, number: int) -> slice:
        """The items that shard `number` is made from."""
        return slice(number * self.shard_records, min((number + 1) * self.shard_records, self.count))

    def finished(self, number: int) -> Sidecar | None:
        """The sidecar of a finished shard of this input; None where the shard is to be made."""
        try:
            if in_bucket(self.path) and f"{self.stem(number)}.json" not in self._sizes:
                return None
            mapping = json.loads(objects.read_text(self.path / f"{self.stem(number)}.json"))
            sidecar = Sidecar(
                **{
                    **mapping,
                    "shard": shards.ShardInfo(**mapping["shard"]),
                    "rejected": tuple(Rejection(**r) for r in mapping["rejected"]),
                }
            )
            size = self._size(sidecar.shard.name)
        except (OSError, ValueError, TypeError, KeyError):  # missing or not whole: made again
            return None
        return sidecar if sidecar.input_hash == self.input_hash and size == sidecar.shard.bytes else None

    def write(self, number: int, made: Sequence[Made]) -> None:
        """Writes a shard, then its sidecar; `made` is of all its items, in order. Raises: StorageError."""
        info = self._write_shard(
            f"{self.stem(number)}.array_record", [m.payload for m in made if m.payload is not None]
        )
        items = self.items_of(number)
        assert len(made) == items.stop - items.start
        guessed = collections.Counter(word for m in made for word in m.guessed)
        sidecar = Sidecar(
            self.input_hash,
            info,
            len(made),
            sum(m.frames for m in made),
            sum(m.words for m in made),
            tuple(m.rejection for m in made if m.rejection),
            dict(sorted(guessed.items())),
            _total(m.notes for m in made),
        )
        objects.write_json(self.path / f"{self.stem(number)}.json", dataclasses.asdict(sidecar))

    def _write_shard(self, name: str, payloads: Sequence[bytes]) -> shards.ShardInfo:
        if isinstance(self.path, pathlib.Path):
            return shards.write_shard(self.path / name, payloads)
        with objects.scratch("shard") as folder:
            info = shards.write_shard(pathlib.Path(folder) / name, payloads)
            objects.upload(pathlib.Path(folder) / name, self.path / name)
        return info

    def _size(self, name: str) -> int:
        """Bytes of a shard. Raises: OSError or KeyError where it is not there."""
        return (self.path / name).stat().st_size if isinstance(self.path, pathlib.Path) else self._sizes[name]

    def close(self, max_rejected: float, **fields: Any) -> Report:
        """Writes `report.json` and, where there are records, `metadata.json` with `fields` beside the counts.

        Raises: DataError where a shard is missing, nothing was prepared, or more than the share `max_rejected` was
        rejected; what was prepared is kept.
        """
        self._look()
        sidecars = []
        for number in range(self.shard_count):
            if (sidecar := self.finished(number)) is None:
                raise DataError(
                    f"{self.path}: {self.stem(number)} is not there though its maker ended well; do all "
                    "workers write to this directory?"
                )
            sidecars.append(sidecar)
        guessed = collections.Counter()
        for sidecar in sidecars:
            guessed.update(sidecar.guessed_words)
        rejected = tuple(rejection for sidecar in sidecars for rejection in sidecar.rejected)
        report = Report(
            self.path,
            self.count,
            sum(s.shard.records for s in sidecars),
            rejected,
            dict(guessed),
            _total(s.notes for s in sidecars),
        )
        objects.write_json(self.path / REPORT_NAME, report.mapping())
        if report.prepared:
            self._write_metadata(
                shards.Metadata(
                    format_version=shards.FORMAT_VERSION,
                    records=report.prepared,
                    frames=sum(s.frames for s in sidecars),
                    words=sum(s.words for s in sidecars),
                    code_version=lst_jax.__version__,
                    shards=tuple(s.shard for s in sidecars),
                    **fields,
                ),
            )
        if not report.prepared or len(rejected) > max_rejected * self.count:
            reason, count = report.reasons()[0]
            example = next(r for r in rejected if r.reason == reason)
            raise DataError(
                f"{self.path}: {len(rejected)} of {self.count} items were rejected, {count} for {reason!r} "
                f"({example.id}: {example.message.replace(';', ',')}); see {REPORT_NAME}, mend the input, "
                "or raise --max-rejected"
            )
        return report

    def _write_metadata(self, metadata: shards.Metadata) -> None:
        """The file that makes the directory readable, written last."""
        objects.write_json(self.path / shards.METADATA_NAME, dataclasses.asdict(metadata))

    def _look(self) -> None:
        """Lists a bucket once, where asking for each shard would take a request each."""
        if in_bucket(self.path):
            self._sizes = objects.sizes(self.path)

    def _open(self, overwrite: bool) -> None:
        if isinstance(self.path, pathlib.Path):
            self.path.mkdir(parents=True, exist_ok=True)
        there = objects.names(self.path)
        if IDENTITY_NAME not in there and any(name for name in there if not name.endswith(".tmp")):
            raise DataError(f"{self.path}: is not empty and has no {IDENTITY_NAME}; choose another directory")
        if overwrite:
            self._clear(there)
        elif IDENTITY_NAME in there:
            self._check_identity(self.path / IDENTITY_NAME)
        for leftover in fnmatch.filter(there, ".*.tmp"):  # of a run that was killed
            objects.delete(self.path / leftover)
        objects.write_json(self.path / IDENTITY_NAME, self.identity)
        self._look()

    def _check_identity(self, path: Place) -> None:
        try:
            theirs = json.loads(objects.read_text(path))
        except ValueError:
            theirs = None
        if not isinstance(theirs, dict):
            raise DataError(
                f"{path}: is not the JSON object this program writes; choose another directory or pass --overwrite"
            )
        for key in [*self.identity, *theirs]:
            ours, other = (m[key] if key in m else None for m in (self.identity, theirs))
            if ours != other:
                raise DataError(
                    f"{self.path}: was prepared with {key}={other!r}, now it is {ours!r}; choose another "
                    "directory or pass --overwrite"
                )

    def _clear(self, there: Sequence[str]) -> None:
        """Removes what an earlier run wrote here and nothing else.

        Metadata go first, so that nobody reads a mixture, the identity last, so that a killed clearing can be repeated.
        """
        for pattern in (
            shards.METADATA_NAME,
            REPORT_NAME,
            "shard-*-of-*.json",
            "shard-*-of-*.array_record",
            IDENTITY_NAME,
        ):
            for name in fnmatch.filter(there, pattern):
                objects.delete(self.path / name)


def _total(notes: Iterable[Mapping[str, int | float]]) -> dict[str, int | float]:
    total: dict[str, int | float] = {}
    for one in notes:
        for what, amount in one.items():
            total[what] = amount + (total[what] if what in total else 0)
    return {what: round(amount, 2) for what, amount in sorted(total.items()) if amount}


def begin(out: pathlib.Path, name: str, identity: Mapping[str, Any], made: Sequence[str], overwrite: bool) -> None:
    """Makes a directory whose file `name` holds what it is made from, or goes on with one of the same identity.

    `overwrite` removes the files and folders `made`, in this order, and the identity last.
    Raises: DataError where the directory holds something else, StorageError.
    """
    note = out / name
    try:
        if not note.is_file() and out.exists() and any(out.iterdir()):
            raise DataError(f"{out}: is not empty and has no {name}; choose another directory")
        if note.is_file() and overwrite:
            for old in (out / child for child in made):
                if old.is_dir():
                    shutil.rmtree(old, ignore_errors=True)
                else:
                    old.unlink(missing_ok=True)
            note.unlink()
        if note.is_file():
            before = json.loads(note.read_text(encoding="utf-8"))
            differing = sorted(k for k in identity.keys() | before.keys() if identity.get(k) != before.get(k))
            if differing:
                raise DataError(
                    f"{out}: was begun with another input ({', '.join(differing)} differ); choose another "
                    "directory or pass --overwrite"
                )
        else:
            files.write_json(note, identity)
    except OSError as error:
        raise storage_error(out, error) from error


def digest(parts: Iterable[str]) -> str:
    """Sixteen hex digits over a sequence of strings, their order and borders included."""
    total = hashlib.sha256()
    for part in parts:
        total.update(f"{len(part)}:{part}".encode())
    return total.hexdigest()[:16]
