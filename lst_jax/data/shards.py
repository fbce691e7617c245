"""Directories of records: ArrayRecord shards and their `metadata.json` (docs/formats.md).

A directory lies on this machine, on a mount, or at gs://, where ArrayRecord reads the shards in place.
"""

import bisect
import concurrent.futures
import contextlib
import dataclasses
import errno
import itertools
import os
import pathlib
import stat
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, SupportsIndex

from array_record.python import array_record_module  # ty: ignore[missing-module-member]

from lst_jax.core import files, json_files
from lst_jax.core.errors import DataError, PassingStorageError, first_line, too_many_open_files
from lst_jax.core.hashing import file_sha256
from lst_jax.data import read_ahead, records
from lst_jax.data.open_shards import ShardChanged, ShardReaders
from lst_jax.storage import objects
from lst_jax.storage.place import BucketPath, Place, in_bucket, to_place

FORMAT_VERSION = 1
METADATA_NAME = "metadata.json"
HIGHEST_RATE = 1e6  # units per second: more than any codec has
LARGEST_CODEBOOK = 2**16  # units of records are uint16
WRITER_OPTIONS = "group_size:1"  # one record per chunk, which random access needs
PASSING_SIGNS = ("Retry policy exhausted",)  # in what ArrayRecord says when a bucket has not answered for 15 minutes
READ_RECORDS = 256  # at a time, where all are read
LISTING_THREADS = 32  # that ask for the sizes of files: each answer of a mount takes a while


@dataclasses.dataclass(frozen=True)
class ShardInfo:
    """One shard file: its name within the directory, its counts and its checksum."""

    name: str
    records: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Metadata:
    """The contents of a directory. Fields that do not apply (units of text, tokens of speech) are None or 0."""

    kind: str  # "utterance" or "text"
    format_version: int
    records: int
    frames: int
    words: int
    unit_rate: float | None  # units per second
    codebook_size: int | None
    codebook_fingerprint: str | None
    tokenizer_fingerprint: str | None
    aligner: str | None
    code_version: str
    shards: tuple[ShardInfo, ...]


class OpenShard:
    """An ArrayRecord file that is being written."""

    def __init__(self, path: pathlib.Path, name: str):
        """`path` is where it is written, `name` what it will be called."""
        self._path, self._name, self._records = path, name, 0
        self._info: ShardInfo | None = None
        with array_record_errors():
            self._writer = array_record_module.ArrayRecordWriter(str(path), WRITER_OPTIONS)

    def write(self, payload: bytes) -> None:
        """Adds a record. Raises: OSError."""
        with array_record_errors():
            self._writer.write(payload)
        self._records += 1

    def close(self) -> None:
        """Writes what is left. Raises: OSError."""
        with array_record_errors():
            self._writer.close()

    def sum_up(self) -> None:
        """Reads the closed file for its checksum."""
        self._info = ShardInfo(self._name, self._records, self._path.stat().st_size, file_sha256(self._path))

    def info(self) -> ShardInfo:
        """What the file is, once it is whole."""
        assert self._info is not None
        return self._info


@contextlib.contextmanager
def open_shard(path: str | os.PathLike) -> Iterator[OpenShard]:
    """Gives one ArrayRecord file to fill, which is there completely or not at all: a temporary name, fsync, rename.

    Raises: StorageError where the file system refuses. The temporary file is removed then.
    """
    with files.replacing(path) as temporary:
        shard = OpenShard(temporary, pathlib.Path(path).name)
        try:
            yield shard
        finally:
            shard.close()
        shard.sum_up()


def write_shard(path: str | os.PathLike | Place, payloads: Sequence[bytes]) -> ShardInfo:
    """Writes one ArrayRecord file of these records, here or in a bucket; see `open_shard`. Raises: StorageError."""
    if isinstance(path, BucketPath):
        with objects.filling(path) as local:
            return write_shard(local, payloads)
    with open_shard(path) as shard:
        for payload in payloads:
            shard.write(payload)
    return shard.info()


def read_payloads(path: str | os.PathLike) -> Iterator[bytes]:
    """The records of an ArrayRecord file of this machine, in order, as they were written. Raises: DataError."""
    try:
        reader = array_record_module.ArrayRecordReader(str(path))
        try:
            number = reader.num_records()
            for start in range(0, number, READ_RECORDS):
                yield from reader.read(start, min(start + READ_RECORDS, number))
        finally:
            reader.close()
    except (RuntimeError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)}); run the same command again") from error


def count_records(path: str | os.PathLike) -> int:
    """The number of records that an ArrayRecord file holds, whatever its metadata say. Raises: DataError."""
    try:
        reader = array_record_module.ArrayRecordReader(str(path))
        try:
            return reader.num_records()
        finally:
            reader.close()
    except (RuntimeError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)}); copy or prepare the shard again") from error


def write_metadata(directory: str | os.PathLike, metadata: Metadata) -> None:
    """Writes `metadata.json`, which makes the directory readable."""
    files.write_json(pathlib.Path(directory) / METADATA_NAME, dataclasses.asdict(metadata))


def read_metadata(directory: str | os.PathLike) -> Metadata:
    """Reads `metadata.json`, also at an address.

    Raises: DataError where it is missing, has another version, or breaks the format; StorageError.
    """
    place = to_place(directory)
    path = place / METADATA_NAME
    if isinstance(path, BucketPath):
        try:
            content = objects.read_bytes(path)
        except FileNotFoundError as error:
            raise DataError(
                f"{path}: no such object; give the address of a directory that `lst prepare` made, copied whole"
            ) from error
        return parse_metadata(json_files.parse(content, str(path), "run `lst prepare` again"), str(path))
    if not path.parent.is_dir():
        raise DataError(f"{directory}: no such directory; give one that `lst prepare` made")
    if not path.is_file():
        raise DataError(f"{path}: missing; the directory is not complete: run `lst prepare` again")
    return parse_metadata(json_files.read(path, "run `lst prepare` again"), path)


def parse_metadata(mapping: Any, path: str | os.PathLike) -> Metadata:
    """The metadata in a JSON value that was read from `path`. Raises: as `read_metadata` does."""
    version = mapping.get("format_version") if isinstance(mapping, dict) else None
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path}: has format_version {version!r}, this program reads {FORMAT_VERSION}; prepare the "
            "data again with this program"
        )
    metadata = _typed(Metadata, mapping, path)
    if metadata.kind not in records.KINDS:
        raise DataError(
            f"{path}: kind {metadata.kind!r} must be one of {', '.join(records.KINDS)}; run `lst prepare` again"
        )
    _check_numbers(metadata, path)
    if metadata.records != sum(s.records for s in metadata.shards):
        raise DataError(
            f"{path}: records={metadata.records} is not the sum of its shards' records; run `lst prepare` again"
        )
    return metadata


def _check_numbers(metadata: Metadata, path: str | os.PathLike) -> None:
    """Checks the range of each number, and that shards lie within the directory. Raises: DataError."""
    rate, codebook = metadata.unit_rate, metadata.codebook_size
    for name, holds, rule in (
        ("frames", metadata.frames >= 0, "at least 0"),
        ("words", metadata.words >= 0, "at least 0"),
        ("unit_rate", rate is None or 0 < rate <= HIGHEST_RATE, f"above 0, to {HIGHEST_RATE:g}"),
        ("codebook_size", codebook is None or 0 < codebook <= LARGEST_CODEBOOK, f"from 1 to {LARGEST_CODEBOOK}"),
        ("shards", all(_is_shard(shard) for shard in metadata.shards), "plain file names, with counts"),
    ):
        if not holds:
            value = getattr(metadata, name) if name != "shards" else [shard.name for shard in metadata.shards]
            raise DataError(f"{path}: {name}={value!r}: must be {rule}; run `lst prepare` again")


def _is_shard(shard: ShardInfo) -> bool:
    name = os.fsencode(shard.name)
    plain = name not in (b"", b".", b"..") and len(name) <= 255 and not {b"/"[0], 0} & set(name)
    return plain and shard.records >= 0 and shard.bytes >= 0


class RecordDirectory(Sequence):
    """Random access to all records of a directory, in shard order. It is a Grain RandomAccessDataSource.

    Opening checks metadata and file sizes; `verify` checks every byte.
    """

    def __init__(self, path: str | os.PathLike | BucketPath, kind: str):
        """Opens a directory of `kind` ("utterance" or "text"): a folder, or an address at gs://.

        Raises: DataError naming the file and the fix; StorageError where a bucket does not answer.
        """
        self.path: Place = to_place(path)
        self.kind = kind
        self.metadata = read_metadata(self.path)
        if self.metadata.kind != kind:
            raise DataError(
                f"{path}: holds records of kind {self.metadata.kind!r}, the run wants {kind!r}; "
                "change the source's kind or path"
            )
        sizes = _sizes(self.path, [shard.name for shard in self.metadata.shards])
        for shard in self.metadata.shards:
            self._check_size(shard, sizes.get(shard.name))
        self._ends = list(itertools.accumulate(s.records for s in self.metadata.shards))
        self._files = [str(self.path / shard.name) for shard in self.metadata.shards]
        self._readers = ShardReaders(in_bucket(self.path))

    @property
    def answers_late(self) -> bool:
        """Whether a record takes a request over the network."""
        return in_bucket(self.path)

    def __len__(self) -> int:
        """Number of records."""
        return self.metadata.records

    def __getitem__(self, index: SupportsIndex) -> records.Utterance | records.TextDocument:
        """Record number `index` of the directory. Several threads may ask at a time.

        Raises: DataError naming the shard and the record in it; StorageError where a bucket does not answer.
        """
        index = index.__index__()
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        number, position = self._place(index)
        try:
            payload = self._readers.read(self._files[number], position, self.metadata.shards[number].records)
            return records.decode(self.kind, payload)
        except (RuntimeError, ShardChanged) as error:
            raise self._read_error(index, error) from error
        except DataError as error:
            raise DataError(f"{self._where(index)}: {str(error).removeprefix('record: ')}") from error

    def __iter__(self) -> Iterator[records.Utterance | records.TextDocument]:
        """All records in order, read ahead where reading takes long."""
        return read_ahead.in_order(self)

    def __repr__(self) -> str:
        """Names the directory. Grain uses it as the key of its caches."""
        return f"RecordDirectory({str(self.path)!r}, {self.kind!r})"

    def verify(self) -> None:
        """Checks every record and recomputes every checksum. Raises: DataError naming the first bad one."""
        check_records(self, self._where)
        for shard in self.metadata.shards:
            file = self.path / shard.name
            if objects.sha256(file) != shard.sha256:
                raise DataError(
                    f"{file}: its checksum is not the one in {METADATA_NAME}; copy or prepare the shard again"
                )

    def _check_size(self, shard: ShardInfo, size: int | None) -> None:
        file = self.path / shard.name
        if size is None:
            raise DataError(f"{file}: missing, {METADATA_NAME} lists it; copy or prepare the shard again")
        if size != shard.bytes:
            raise DataError(
                f"{file}: has {size} bytes, {METADATA_NAME} says {shard.bytes}; copy or prepare the shard again"
            )

    def _place(self, index: int) -> tuple[int, int]:
        """The number of the shard, and the record's number in it."""
        shard = bisect.bisect_right(self._ends, index)
        first = self._ends[shard - 1] if shard else 0
        return shard, index - first

    def _where(self, index: int) -> str:
        shard, position = self._place(index)
        return f"{self._files[shard]}: record {position}"

    def _read_error(self, index: int, error: Exception) -> Exception:
        """What a failed read means. An object is asked for: ArrayRecord says little of one that is gone."""
        shard = self.metadata.shards[self._place(index)[0]]
        cause, file = first_line(error), self.path / shard.name
        if os.strerror(errno.EMFILE) in cause or os.strerror(errno.ENFILE) in cause:
            return too_many_open_files(file)
        if isinstance(file, BucketPath):
            try:
                self._check_size(shard, _sizes(self.path, [shard.name]).get(shard.name))
            except (DataError, PassingStorageError) as found:
                return found
            if any(sign in cause for sign in PASSING_SIGNS):
                return PassingStorageError(
                    f"{self._where(index)}: cannot be read now ({cause}); this may pass: run the same command again"
                )
        if isinstance(error, ShardChanged):
            return DataError(
                f"{file}: holds {cause}, {METADATA_NAME} says {shard.records}; copy or prepare the shard again"
            )
        return DataError(f"{self._where(index)}: cannot be read ({cause}); copy or prepare the shard again")


def _sizes(place: Place, names: Sequence[str]) -> dict[str, int]:
    """Bytes of those objects of a directory that are there: one listing, or many questions at a time to a file system."""
    if isinstance(place, BucketPath):
        if len(names) == 1:
            return dict(zip(names, objects.sizes(place / names[0]).values(), strict=False))
        return objects.sizes(place)
    with concurrent.futures.ThreadPoolExecutor(LISTING_THREADS) as pool:
        sizes = pool.map(_file_size, [place / name for name in names])
        return {name: size for name, size in zip(names, sizes, strict=True) if size is not None}


def _file_size(path: pathlib.Path) -> int | None:
    """None where there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def check_records(directory, where: Callable[[int], str]) -> None:
    """Reads and checks every record of a `RecordSource`. Raises: DataError that begins with `where(index)`."""
    for index, record in enumerate(directory):
        if directory.kind == "utterance":
            try:
                records.check_utterance(record, directory.metadata.codebook_size)
            except DataError as error:
                raise DataError(f"{where(index)}: {error}") from error


@contextlib.contextmanager
def array_record_errors() -> Iterator[None]:
    """ArrayRecord's RuntimeError for a failed write quotes the system's error; it becomes an OSError."""
    try:
        yield
    except RuntimeError as error:
        codes = [code for code in errno.errorcode if os.strerror(code) in str(error)]
        raise OSError(codes[0] if codes else 0, str(error)) from error  # 0: a code that means nothing


def _typed(kind: type, mapping: Any, path: str | os.PathLike) -> Any:
    """Builds dataclass `kind` from JSON that must have exactly its fields, each with its type."""
    hints = typing.get_type_hints(kind)
    if not isinstance(mapping, dict) or mapping.keys() != hints.keys():
        odd = sorted(mapping.keys() ^ hints.keys()) if isinstance(mapping, dict) else type(mapping).__name__
        raise DataError(f"{path}: {kind.__name__} fields are missing or unknown: {odd}; run `lst prepare` again")
    values = dict(mapping)
    for name, hint in hints.items():
        if typing.get_origin(hint) is tuple:
            if not isinstance(values[name], list):
                raise DataError(f"{path}: {name} must be a list; run `lst prepare` again")
            values[name] = tuple(_typed(typing.get_args(hint)[0], v, path) for v in values[name])
            continue
        if hint == float | None and type(values[name]) is int:
            values[name] = float(values[name])
        if not isinstance(values[name], hint) or isinstance(values[name], bool):
            raise DataError(f"{path}: {name}={values[name]!r} has the wrong type; run `lst prepare` again")
    return kind(**values)
