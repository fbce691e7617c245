"""Directories of records on remote file systems, read through a local copy with checksums.

ArrayRecord's reader opens local files only. So a remote directory (any address that fsspec knows: gs://, s3://, ...) is
copied when it is opened: once for each content, shard by shard. A shard counts once it fits its checksum.
"""

import hashlib
import os
import pathlib
from typing import Any

import fsspec

from lst_jax.core import files, json_files
from lst_jax.core.errors import DataError, first_line
from lst_jax.core.paths import is_address
from lst_jax.data import shards

CACHE_VARIABLE = "LST_CACHE"  # environment variable with the folder in which copies are kept
DEFAULT_CACHE = "~/.cache/lst_jax"
BLOCK = 1 << 22  # bytes of one read


def is_remote(path: str | os.PathLike) -> bool:
    """Whether `path` is a URL. Example: "gs://bucket/speech" is, "/data/speech" is not."""
    return is_address(path)


def local_copy(path: str | os.PathLike, cache: str | os.PathLike | None = None) -> pathlib.Path:
    """The local folder with the records of `path`: `path` itself, or its copy in the cache, which is made if needed.

    `cache` defaults to $LST_CACHE, and without that to ~/.cache/lst_jax. The copy's name holds a digest of address and
    metadata. So a directory that has changed at its address is copied again, and the old copy stays for its readers.

    Raises: DataError where it cannot be read, or a shard does not fit its checksum; StorageError.
    """
    if not is_remote(path):
        return pathlib.Path(path)
    url = str(path).rstrip("/")
    system, root = _file_system(url)
    content = _read(system, f"{root}/{shards.METADATA_NAME}", f"{url}/{shards.METADATA_NAME}")
    name = f"{url.rpartition('/')[2]}-{hashlib.sha256(url.encode() + bytes([0]) + content).hexdigest()[:16]}"
    folder = (pathlib.Path(cache) if cache is not None else _cache_root()) / name
    if not (folder / shards.METADATA_NAME).is_file():  # written last
        for shard in _metadata(content, f"{url}/{shards.METADATA_NAME}").shards:
            _fetch(system, f"{root}/{shard.name}", f"{url}/{shard.name}", folder / shard.name, shard)
        files.write_text(folder / shards.METADATA_NAME, content.decode("utf-8"))
    return folder


def _metadata(content: bytes, url: str) -> shards.Metadata:
    return shards.parse_metadata(json_files.parse(content, url, "copy the directory there again"), url)


def _cache_root() -> pathlib.Path:
    chosen = os.environ[CACHE_VARIABLE] if CACHE_VARIABLE in os.environ else DEFAULT_CACHE
    return pathlib.Path(chosen).expanduser()


def _file_system(url: str) -> tuple[Any, str]:
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise DataError(
            f"{url}: needs a package that is not here ({first_line(error)}); install it, for gs:// gcsfs, for s3:// s3fs"
        ) from error
    except ValueError as error:
        raise DataError(
            f"{url}: is no address that can be read ({first_line(error)}); give a folder or another address"
        ) from error


def _read(system: Any, path: str, url: str) -> bytes:
    try:
        return system.cat_file(path)
    except Exception as error:  # each file system has exceptions of its own
        raise DataError(
            f"{url}: cannot be read ({type(error).__name__}: {first_line(error)}); check the address and the access"
        ) from error


def _fetch(system: Any, path: str, url: str, target: pathlib.Path, shard: shards.ShardInfo) -> None:
    if target.is_file() and target.stat().st_size == shard.bytes:  # its checksum was checked when it was written
        return
    digest, size = hashlib.sha256(), 0
    with files.replacing(target) as temporary, temporary.open("wb") as out:
        try:
            source = system.open(path, "rb")
        except Exception as error:  # as in `_read`
            raise DataError(
                f"{url}: cannot be read ({type(error).__name__}: {first_line(error)}); {shards.METADATA_NAME} "
                "lists it: copy the directory again"
            ) from error
        with source:
            while block := _read_block(source, url):
                digest.update(block)
                size += len(block)
                out.write(block)
        if size != shard.bytes or digest.hexdigest() != shard.sha256:
            raise DataError(
                f"{url}: {size} bytes arrived that are not the {shard.bytes} {shards.METADATA_NAME} has "
                "the checksum of; copy the directory there again"
            )


def _read_block(source: Any, url: str) -> bytes:
    try:
        return source.read(BLOCK)
    except Exception as error:  # as in `_read`
        raise DataError(
            f"{url}: broke off ({type(error).__name__}: {first_line(error)}); run the same command again: "
            "complete files are kept"
        ) from error
