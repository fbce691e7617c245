"""A directory in the making: what it is made from, which parts are finished, and how it is closed.

Beside the shards and `metadata.json` there are

    prepare.json                  settings, and the names of the input's files; other ones are refused
    parts/                        the parts that are finished, until the directory is closed (`part_files`)
    shard-00003-of-00007.json     of a closed directory: counts, checksum, parts, what was rejected (`merging`)
    report.json                   what was rejected and why, over all shards

All are written whole or not at all, so that a run killed at any time can be repeated and then ends with the same bytes.
Whether the input is the same is compared part by part. The directory may lie in a bucket.
"""

import dataclasses
import fnmatch
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import lst_jax
from lst_jax.core.errors import DataError, storage_error
from lst_jax.core.paths import check_writable_place
from lst_jax.data import shards
from lst_jax.prepare import merging, same_ids
from lst_jax.prepare.accounts import REPORT_NAME, PartState, Report
from lst_jax.prepare.corpora.protocol import Part
from lst_jax.prepare.digests import digest
from lst_jax.prepare.merging import Group, Sidecar, Size
from lst_jax.prepare.part_files import FOLDER, Known, PartFiles
from lst_jax.storage import objects
from lst_jax.storage.place import Place, in_bucket, to_place

IDENTITY_NAME = "prepare.json"
VERSION = 2  # of what is written here and of how records are made; raise it when either changes
MANY = 64  # sidecars that are read at a time


class Directory:
    """An output directory opened for one input, of which `identity` tells the settings and the names of files.

    `content` is what messages call the parts' digests: "transcripts" or "documents".
    """

    def __init__(
        self, path: str | os.PathLike | Place, identity: Mapping[str, Any], size: Size, overwrite: bool, content: str
    ):
        """Creates the directory, or goes on with one of the same identity.

        Raises: DataError where it holds something else and `overwrite` is not set; StorageError.
        """
        self.path = to_place(path)
        size.check()
        chosen = {"shard_mb": size.megabytes} if size.records is None else {"shard_records": size.records}
        self.size, self._content = size, content
        self.identity = {"version": VERSION, **identity, **chosen}
        self.parts = PartFiles(self.path, digest([json.dumps(self.identity, sort_keys=True)]))
        self._order: list[Known] = []
        try:
            self._open(overwrite)
        except OSError as error:
            raise storage_error(self.path, error) from error
        self._there = {known.name: known for sidecar in self._sidecars() for known in merging.known_of(sidecar.parts)}
        self._closed = frozenset(self._there)
        self._there |= {name: known for name, known in self.parts.finished().items() if name not in self._there}

    def finished(self, part: Part) -> Known | None:
        """What is known of a part that is finished; None where it is to be made. Ask in the order of the input.

        Raises: DataError where the directory has the part of another content.
        """
        known = self._there.get(part.name)
        if known is not None and known.digest != part.digest:
            raise self._other(self._content, f"{part.name} of {part.place}", known.digest, part.digest)
        if known is not None and known.name not in self._closed and not self._is_whole(known):
            known = None
        self._order.append(known or Known(part.name, part.digest, ""))
        return known

    def check_audio(self, part: Part, known: Known, audio_files: str) -> None:
        """Raises: DataError where a part was made from other recordings."""
        if known.audio_files != audio_files:
            raise self._other("audio_files", f"{part.name} of {part.place}", known.audio_files, audio_files)

    def check_order(self) -> None:
        """Call it when `finished` was asked of all parts. Raises: DataError where the directory has more parts."""
        more = self._there.keys() - {known.name for known in self._order}
        if more:
            known = self._there[min(more)]
            raise self._other(self._content, known.name, known.digest, None)

    def to_merge(self, compare_ids: bool) -> list[Group]:
        """The groups of parts that are to become shards; those that are shards already are left out.

        Args: with `compare_ids`, items whose id an earlier item has are counted, and one line says so.
        Raises: DataError where a part is missing.
        """
        there = {sidecar.shard.name: sidecar for sidecar in self._sidecars()}
        states = {part.name: part for sidecar in there.values() for part in sidecar.parts}
        self._groups = merging.plan(self._states(states), self.size)
        done = {f"{group.stem}.array_record": group.parts for group in self._groups}
        for name, sidecar in there.items():
            if done.get(name) == sidecar.parts:
                del done[name]
        groups = [group for group in self._groups if f"{group.stem}.array_record" in done]
        return self._compared(groups) if groups and compare_ids else groups

    def _compared(self, groups: Sequence[Group]) -> list[Group]:
        """The groups, with the number of items that have the id of an earlier one; all are kept."""
        found = same_ids.find(self.parts, self._order)
        if found.counts:
            print(
                f"{self.path}: {sum(found.counts.values())} items have the id of an earlier one, the first "
                f"{f'is {found.first_id!r}' if found.first_id else 'is'} in part {found.first_part}; all are kept: give each "
                "an id of its own where ids matter",
                file=sys.stderr,
            )
        return [
            dataclasses.replace(group, repeated=sum(found.counts.get(part.name, 0) for part in group.parts))
            for group in groups
        ]

    def close(self, max_rejected: float, empty: Callable[[], DataError], **fields: Any) -> Report:
        """Writes `report.json` and, where there are records, `metadata.json` with `fields` beside the counts.

        Raises: DataError where a shard is missing, nothing was prepared, or more than the share `max_rejected` was
        rejected; what was prepared is kept. `empty` says what is wrong where there were no items.
        """
        report, infos = Report(self.path), []
        wanted = {f"{group.stem}.array_record" for group in self._groups}
        for sidecar in self._sidecars():
            if sidecar.shard.name in wanted:
                report.add(sidecar.shard, sidecar.account)
                infos.append(sidecar.shard)
        missing = sorted(wanted - {info.name for info in infos})
        if missing:
            raise self._not_there(missing[0])
        if not report.items:
            raise empty()
        self._write(REPORT_NAME, report.mapping())
        if report.prepared:
            metadata = shards.Metadata(
                format_version=shards.FORMAT_VERSION,
                records=report.prepared,
                frames=report.frames,
                words=report.words,
                code_version=lst_jax.__version__,
                shards=tuple(infos),
                **fields,
            )
            self._write(shards.METADATA_NAME, dataclasses.asdict(metadata))
        self._remove_parts(wanted)
        if not report.prepared or report.rejected > max_rejected * report.items:
            reason, count = report.reasons()[0]
            example = next(r for r in report.examples if r.reason == reason)
            raise DataError(
                f"{self.path}: {report.rejected} of {report.items} items were rejected, {count} for {reason!r} "
                f"({example.id}: {example.message.replace(';', ',')}); see {REPORT_NAME}, mend the input, "
                "or raise --max-rejected"
            )
        return report

    def _sidecars(self) -> Iterator[Sidecar]:
        """Those of all shards that are whole, in their order; a few are in memory at a time."""
        sizes = self._sizes()
        names = fnmatch.filter(sizes, "shard-*-of-*.json")
        for start in range(0, len(names), MANY):
            for content in objects.read_many([self.path / name for name in names[start : start + MANY]]):
                sidecar = merging.read_sidecar(content, self.parts.input_hash)
                if sidecar is not None and sizes.get(sidecar.shard.name) == sidecar.shard.bytes:
                    yield sidecar

    def _sizes(self) -> dict[str, int]:
        """Bytes of the files right in the directory, by name."""
        if isinstance(self.path, pathlib.Path):
            return {path.name: path.stat().st_size for path in sorted(self.path.iterdir()) if path.is_file()}
        return {name: size for name, size in objects.sizes(self.path).items() if "/" not in name}

    def _is_whole(self, known: Known) -> bool:
        """Whether a part of this machine's disk can be trusted: objects of a bucket are whole or not there."""
        if in_bucket(self.path):
            return True
        try:
            state, _ = self.parts.read(known)
            return os.stat(self.parts.folder / state.file_name).st_size == state.bytes
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return False

    def _states(self, states: Mapping[str, PartState]) -> Iterator[PartState]:
        """The states of all parts in order: `states` has those that are in shards."""
        finished = self.parts.finished()
        for start in range(0, len(self._order), MANY):
            chosen = self._order[start : start + MANY]
            pending = [finished.get(known.name) for known in chosen if known.name not in states]
            if None in pending:
                names = [known.name for known in chosen if known.name not in states and known.name not in finished]
                raise self._not_there(f"part {names[0]}")
            files = [self.parts.folder / ".".join([*known, "json"]) for known in pending if known is not None]
            read = {state.name: state for state in map(self._state, objects.read_many(files))}
            yield from (states[k.name] if k.name in states else read[k.name] for k in chosen)

    def _state(self, content: bytes) -> PartState:
        try:
            return self.parts.parsed(content)[0]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(
                f"{self.parts.folder}: holds the account of a part that is damaged or of other settings; remove this "
                "folder and run the same command again"
            ) from error

    def _not_there(self, what: str) -> DataError:
        return DataError(
            f"{self.path}: {what} is not there though its maker ended well; do all workers write to this directory?"
        )

    def _other(self, what: str, part: str, theirs: str, ours: str | None) -> DataError:
        now = "the input has no such part" if ours is None else f"it is {ours!r}"
        return DataError(
            f"{self.path}: was prepared with {what}={theirs!r} in part {part}, now {now}; choose another directory or "
            "pass --overwrite"
        )

    def _write(self, name: str, mapping: Mapping[str, Any]) -> None:
        """Writes a JSON object, unless it is there already: a closed directory is left as it is."""
        place, text = self.path / name, json.dumps(mapping, indent=1, ensure_ascii=False) + "\n"
        if not objects.exists(place) or objects.read_bytes(place) != text.encode():
            objects.write_text(place, text)

    def _remove_parts(self, wanted: set[str]) -> None:
        """Removes what has become shards, and shards of another plan; the metadata list none of them."""
        objects.delete_folder(self.path / FOLDER)
        stems = {name.removesuffix(".array_record") for name in wanted}
        for name in fnmatch.filter(objects.names(self.path), "shard-*-of-*.*"):
            if name.rpartition(".")[0] not in stems:
                objects.delete(self.path / name)

    def _open(self, overwrite: bool) -> None:
        if isinstance(self.path, pathlib.Path):
            check_writable_place(self.path)
            self.path.mkdir(parents=True, exist_ok=True)
        there = objects.names(self.path)
        if IDENTITY_NAME not in there and any(name for name in there if not name.endswith(".tmp")):
            raise DataError(f"{self.path}: is not empty and has no {IDENTITY_NAME}; choose another directory")
        if overwrite:
            self._clear(there)
        elif IDENTITY_NAME in there:
            self._check_identity(self.path / IDENTITY_NAME)
        for folder in (self.path, self.parts.folder):
            for leftover in fnmatch.filter(objects.names(folder), ".*.tmp"):  # of a run that was killed
                objects.delete(folder / leftover)
        self._write(IDENTITY_NAME, self.identity)

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
        for pattern in (shards.METADATA_NAME, REPORT_NAME, "shard-*-of-*.json", "shard-*-of-*.array_record"):
            for name in fnmatch.filter(there, pattern):
                objects.delete(self.path / name)
        objects.delete_folder(self.path / FOLDER)
        if IDENTITY_NAME in there:
            objects.delete(self.path / IDENTITY_NAME)
