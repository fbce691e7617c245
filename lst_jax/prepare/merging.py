"""Consecutive parts become the shards of a directory: how they are grouped, and how a group is merged by any process.

    shard-00003-of-00007.array_record
    shard-00003-of-00007.json             counts, checksum, the parts it is made of, what was rejected

Nothing that is there is lost at any moment: a part goes only when all shards are there, or by becoming one.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Sequence

from lst_jax.core import files
from lst_jax.core.errors import DataError, storage_error
from lst_jax.data import shards
from lst_jax.prepare import accounts
from lst_jax.prepare.accounts import Account, PartState
from lst_jax.prepare.part_files import Known, PartFiles
from lst_jax.storage import objects
from lst_jax.storage.place import Place

SHARD_MB = 100  # at least, so that a bucket holds few objects
SAME_IDS = "with the id of an earlier one"  # a note of an account
PADDING = 1 << 17  # bytes of a file that hold no records: ArrayRecord fills blocks of 64 KiB


@dataclasses.dataclass(frozen=True)
class Size:
    """How large shards are: `records` items at most, or else at least so many megabytes."""

    megabytes: float = SHARD_MB
    records: int | None = None

    def check(self) -> None:
        """Raises: DataError where no shard can have this size."""
        if self.records is not None and self.records < 1:
            raise DataError(f"shard_records={self.records}: must be at least 1; use 1000")
        if not self.megabytes > 0:
            raise DataError(f"--shard-mb {self.megabytes:g}: must be above 0; use {SHARD_MB}")


@dataclasses.dataclass(frozen=True)
class Group:
    """The parts of one shard."""

    number: int
    count: int  # of all shards
    parts: tuple[PartState, ...]
    repeated: int = 0  # items of these parts whose id an earlier item of the directory has

    @property
    def stem(self) -> str:
        """File name of the shard without suffix."""
        return f"shard-{self.number:05d}-of-{self.count:05d}"


@dataclasses.dataclass(frozen=True)
class Sidecar:
    """What the file beside a shard says."""

    shard: shards.ShardInfo
    parts: tuple[PartState, ...]
    account: Account


def plan(parts: Iterable[PartState], size: Size) -> list[Group]:
    """The shards of all parts, in order. A part is never cut: where it is larger than a shard, it is one.

    Example: parts of 2, 2 and 1 items with Size(records=2) -> three shards; with Size(records=4) -> two
    """
    groups: list[list[PartState]] = [[]]
    held = 0
    for part in parts:
        if size.records is not None:
            is_full = bool(groups[-1]) and held + part.items > size.records
            weight = part.items
        else:
            is_full = held >= size.megabytes * 1e6
            weight = max(part.bytes - PADDING, 0)
        if is_full:
            groups.append([])
            held = 0
        groups[-1].append(part)
        held += weight
    if size.records is None and len(groups) > 1 and held < size.megabytes * 1e6:
        rest = groups.pop()  # too small for a shard of its own
        groups[-1] += rest
    return [Group(number, len(groups), tuple(group)) for number, group in enumerate(groups)]


def merge(parts: PartFiles, group: Group) -> shards.ShardInfo:
    """Writes a shard and its sidecar from its parts. It does nothing but say so again where that was done before.

    Raises: StorageError, DataError where a part cannot be read.
    """
    account = accounts.total(
        parts.parsed(content)[1]
        for content in objects.read_many([parts.folder / part.sidecar_name for part in group.parts])
    )
    if group.repeated:
        account = dataclasses.replace(account, notes={**account.notes, SAME_IDS: group.repeated})
    name = f"{group.stem}.array_record"
    if len(group.parts) == 1:
        (part,) = group.parts
        info = shards.ShardInfo(name, part.records, part.bytes, part.sha256)
        _write_sidecar(parts, group, info, account)  # first: it counts only when its shard is there
        _move(parts.folder / part.file_name, parts.path / name)
        return info
    with parts.new_file(parts.path, name) as file, objects.scratch("parts") as scratch:
        for part in group.parts:
            for payload in shards.read_payloads(at_hand(parts.folder / part.file_name, pathlib.Path(scratch))):
                file.write(payload)
    _write_sidecar(parts, group, file.info(), account)
    return file.info()


def read_sidecar(content: bytes, input_hash: str) -> Sidecar | None:
    """What a shard's sidecar holds; None where it is not whole, or of other settings."""
    try:
        mapping = json.loads(content)
        if mapping.pop("input_hash") != input_hash:
            return None
        shard = shards.ShardInfo(**mapping.pop("shard"))
        parts = tuple(PartState(**part) for part in mapping.pop("parts"))
        return Sidecar(shard, parts, Account.parsed(mapping))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def known_of(parts: Sequence[PartState]) -> list[Known]:
    """The names of parts."""
    return [Known(part.name, part.digest, part.audio_files) for part in parts]


def _write_sidecar(parts: PartFiles, group: Group, info: shards.ShardInfo, account: Account) -> None:
    mapping = {
        "input_hash": parts.input_hash,
        "shard": dataclasses.asdict(info),
        "parts": [dataclasses.asdict(part) for part in group.parts],
        **dataclasses.asdict(account),
    }
    objects.write_json(parts.path / f"{group.stem}.json", mapping)


def _move(source: Place, target: Place) -> None:
    """On a disk the file gets another name; in a bucket it is copied there, and goes with all parts."""
    if not isinstance(source, pathlib.Path) or not isinstance(target, pathlib.Path):
        objects.copy(source, target)
        return
    try:
        os.replace(source, target)
        files.sync_folder(target.parent)
    except FileNotFoundError as error:
        if not target.is_file():  # else moved by a worker that was lost afterwards
            raise storage_error(target, error) from error
    except OSError as error:
        raise storage_error(target, error) from error


def at_hand(place: Place, scratch: pathlib.Path) -> pathlib.Path:
    """The file, or a copy of it that replaces the one before."""
    if isinstance(place, pathlib.Path):
        return place
    objects.download(place, scratch / "part")
    return scratch / "part"
