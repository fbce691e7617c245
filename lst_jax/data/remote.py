"""Records that cannot be read where they lie: they are copied to this host, with checksums.

ArrayRecord reads files and objects at gs://. A directory at any other address (s3://, or what else fsspec knows) is copied
when it is opened: once per host and content, shard by shard. A shard counts once it fits its checksum. `tfds_copy` does
the same for datasets of TFDS.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm

from lst_jax.core import files, json_files
from lst_jax.core.errors import DataError, StorageError, first_line, storage_error
from lst_jax.core.paths import check_local
from lst_jax.data import shards
from lst_jax.storage import bucket, objects
from lst_jax.storage.place import BucketPath, Place, to_place

CACHE_VARIABLE = "LST_CACHE"  # environment variable with the folder in which copies are kept
DEFAULT_CACHE = "~/.cache/lst_jax"
BLOCK = 1 << 22  # bytes of one read
IN_PLACE = ("gs", "gcs")  # schemes that ArrayRecord reads by itself
IN_PLACE_INSTEAD = "copy the records to gs://, where they are read in place"


def readable(path: str | os.PathLike | BucketPath) -> Place:
    """Where the records of `path` are read: there, or in a copy on this host, which is made if needed.

    Raises: as `local_copy`.
    """
    place = to_place(path)
    if not isinstance(place, BucketPath) or place.scheme in IN_PLACE:
        return place
    return local_copy(place)


def local_copy(place: BucketPath) -> pathlib.Path:
    """The folder of this host with a copy of the records at `place`, which is made if needed.

    Its name holds a digest of address and metadata. So a directory that has changed at its address is copied again, and
    the old copy stays for its readers.
    Of several processes one copies, and the others wait for it.

    Raises: DataError where it cannot be read, or a shard does not fit its checksum; StorageError where there is no room.
    """
    content = _metadata_bytes(place)
    folder = folder_of(place, place.name, content)
    finished = folder / shards.METADATA_NAME  # written last
    if not finished.is_file():
        where = str(place / shards.METADATA_NAME)
        metadata = shards.parse_metadata(json_files.parse(content, where, "copy the directory there again"), where)
        with _alone(folder):
            if not finished.is_file():
                _copy_shards(place, folder, metadata.shards, shards.METADATA_NAME, IN_PLACE_INSTEAD)
                files.write_text(finished, content.decode("utf-8"))
    return folder


def folder_of(place: BucketPath, name: str, content: bytes) -> pathlib.Path:
    """Where the copy of a place lies, in $LST_CACHE or else in ~/.cache/lst_jax.

    Args: `name` begins the folder's own name, and `content` tells this content of the place from any other.
    Raises: ConfigError where $LST_CACHE is an address.
    """
    root = os.environ[CACHE_VARIABLE] if CACHE_VARIABLE in os.environ else DEFAULT_CACHE
    check_local(CACHE_VARIABLE, root, "must be a folder of this machine, as copies are kept in it; give one")
    digest = hashlib.sha256(str(place).encode() + bytes([0]) + content).hexdigest()[:16]
    return pathlib.Path(root).expanduser() / f"{name}-{digest}"


def bring(
    place: BucketPath, folder: pathlib.Path, wanted: Sequence[shards.ShardInfo], listed_in: str, instead: str
) -> None:
    """Copies the files that `folder` lacks, while every other process of this host that wants some waits.

    Args: files without `sha256` count once their sizes are right. For messages, `listed_in` is
    what names them, and `instead` is what to do where there is no room.
    Raises: as `local_copy`.
    """
    if not all(_is_there(folder / one.name, one) for one in wanted):
        with _alone(folder):
            _copy_shards(place, folder, wanted, listed_in, instead)


def _metadata_bytes(place: BucketPath) -> bytes:
    path = place / shards.METADATA_NAME
    try:
        return objects.read_bytes(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: cannot be read (no such object); check the address and the access") from error


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
    """Makes the folder, and waits until no other process of this host copies into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("wb")
    except OSError as error:
        raise storage_error(folder, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in files.NO_LOCKS:
                raise storage_error(folder, error) from error
        files.remove_leftovers(folder, "*")
        yield


def _copy_shards(
    place: BucketPath, folder: pathlib.Path, wanted: Sequence[shards.ShardInfo], listed_in: str, instead: str
) -> None:
    """Copies the shards that the folder lacks."""
    lacking = [shard for shard in wanted if not _is_there(folder / shard.name, shard)]
    if not lacking:  # another process has copied them meanwhile
        return
    needed, free = sum(shard.bytes for shard in lacking), shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"{folder}: the copy of {place} needs {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free; free "
            f"space, set {CACHE_VARIABLE} to a larger disk, or {instead}"
        )
    with tqdm(total=needed, desc=f"copying {place}", unit="B", unit_scale=True, disable=None) as bar:
        for shard in lacking:
            _fetch(place / shard.name, folder / shard.name, shard, listed_in, bar)


def _is_there(target: pathlib.Path, shard: shards.ShardInfo) -> bool:
    """Its checksum was checked when it was written."""
    return target.is_file() and target.stat().st_size == shard.bytes


def _fetch(source: BucketPath, target: pathlib.Path, shard: shards.ShardInfo, listed_in: str, bar: Any) -> None:
    digest, size = hashlib.sha256(), 0
    with files.replacing(target) as temporary, temporary.open("wb") as out:
        try:
            stream = bucket.system_of(source).open(source.key, "rb")
        except Exception as error:  # each file system has exceptions of its own
            raise DataError(
                f"{source}: cannot be read ({type(error).__name__}: {first_line(error)}); {listed_in} "
                "lists it: copy the directory again"
            ) from error
        with stream:
            while block := _read_block(stream, source):
                digest.update(block)
                size += len(block)
                out.write(block)
                bar.update(len(block))
        if size != shard.bytes or (shard.sha256 and digest.hexdigest() != shard.sha256):
            told = f"{shards.METADATA_NAME} has the checksum of" if shard.sha256 else "are listed there"
            raise DataError(
                f"{source}: {size} bytes arrived that are not the {shard.bytes} {told}; copy the directory there again"
            )


def _read_block(stream: Any, source: BucketPath) -> bytes:
    try:
        return stream.read(BLOCK)
    except Exception as error:  # as in `_fetch`
        raise DataError(
            f"{source}: broke off ({type(error).__name__}: {first_line(error)}); run the same command again: "
            "complete files are kept"
        ) from error
