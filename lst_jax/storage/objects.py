"""Whole objects at a place: read, write, list, delete, copy. A file of this machine and an object of a bucket alike.

Nothing is ever added to an object: fsspec and epath replace an object of a bucket that is opened to add to it.
"""

import contextlib
import glob
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from lst_jax.core import files, json_files
from lst_jax.core.errors import DataError, storage_error
from lst_jax.core.files import with_patience
from lst_jax.core.hashing import file_sha256
from lst_jax.storage import bucket
from lst_jax.storage.place import BucketPath, Place

VERSIONS = (
    "md5Hash",
    "ETag",
    "etag",
    "generation",
    "LastModified",
    "mtime",
)  # of fsspec's file systems, the best first
BLOCK = 1 << 24  # bytes of one read of a large object
NUMBERS = re.compile(
    r"\[\n[-+0-9.eE,\s]+\]"
)  # a list of numbers as json writes it with an indent; no text holds a raw line end


def read_bytes(place: Place) -> bytes:
    """The content. Raises: FileNotFoundError where there is no object; OSError, StorageError."""
    if isinstance(place, pathlib.Path):
        return place.read_bytes()
    with bucket.errors_of(place, "read"):
        return bucket.system_of(place).cat_file(place.key)


def read_range(place: Place, start: int, size: int) -> bytes:
    """At most `size` bytes from byte `start`. Raises: as `read_bytes`."""
    if isinstance(place, pathlib.Path):
        with place.open("rb") as file:
            file.seek(start)
            return file.read(size)
    with bucket.errors_of(place, "read"):
        return bucket.system_of(place).cat_file(place.key, start=start, end=start + size)


def open_to_read(place: Place) -> BinaryIO:
    """The object as a file that can seek; of a bucket, only the ranges that are read travel. Raises: as `read_bytes`."""
    if isinstance(place, pathlib.Path):
        return place.open("rb")
    with bucket.errors_of(place, "read"):
        return bucket.system_of(place).open(place.key, "rb")


def read_text(place: Place) -> str:
    """The content as UTF-8. Raises: as `read_bytes`, and ValueError."""
    return read_bytes(place).decode("utf-8")


def read_json(place: Place, fix: str) -> dict[str, Any]:
    """A JSON object, read as strictly as `json_files.read` does. Raises: DataError, StorageError."""
    if isinstance(place, pathlib.Path):
        return json_files.read(place, fix)
    try:
        return json_files.parse(read_bytes(place), str(place), fix)
    except FileNotFoundError as error:
        raise DataError(f"{place}: no such object; {fix}") from error


def read_many(places: Sequence[Place]) -> list[bytes]:
    """The contents in order, those of a bucket with many requests at a time. Raises: as `read_bytes`."""
    if not places or isinstance(places[0], pathlib.Path):
        return [read_bytes(place) for place in places]
    with bucket.errors_of(places[0].parent, "read"):
        found = bucket.system_of(places[0]).cat([place.key for place in places])
    return [found[place.key] for place in places]


def write_bytes(place: Place, content: bytes) -> None:
    """Writes the whole object: whatever happens, the old one or the new one is there. Raises: StorageError."""
    if isinstance(place, pathlib.Path):
        with_patience(lambda: _replace(place, content), files.WAIT_SEC)
        return
    with bucket.errors_of(place, "written"):
        bucket.system_of(place).pipe_file(place.key, content)


def _replace(path: pathlib.Path, content: bytes) -> None:
    with files.replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(place: Place, text: str) -> None:
    """Writes a whole UTF-8 text. Raises: StorageError."""
    write_bytes(place, text.encode("utf-8"))


def write_json(place: Place, mapping: Mapping[str, Any]) -> None:
    """Writes a JSON object, each list of numbers on one line. Raises: StorageError."""
    text = json.dumps(mapping, indent=1, ensure_ascii=False)
    write_text(place, NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n")


def write_many(contents: Mapping[Place, bytes]) -> None:
    """Writes whole objects of one place, those of a bucket with many requests at a time. Raises: StorageError."""
    first = next(iter(contents), None)
    if not isinstance(first, BucketPath):
        for place, content in contents.items():
            write_bytes(place, content)
        return
    with bucket.errors_of(first.parent, "written"):
        bucket.system_of(first).pipe({place.key: content for place, content in contents.items()})


@contextlib.contextmanager
def filling(place: Place) -> Iterator[pathlib.Path]:
    """Gives a file of this machine to write; on success it becomes the whole object. Raises: StorageError."""
    if isinstance(place, pathlib.Path):
        with files.replacing(place) as temporary:
            yield temporary
        return
    with scratch_to_fill("file") as folder:
        yield folder / place.name
        upload(folder / place.name, place)


def create(place: Place, content: bytes) -> bool:
    """Writes the object if there is none, and says whether it did: of several processes, one is told True.

    `content` must be unlike that of any other process: where the answer to a request was lost, it says who wrote it.
    Raises: StorageError.
    """
    if isinstance(place, pathlib.Path):
        return _create_file(place, content)
    with bucket.errors_of(place, "written"):
        try:
            bucket.system_of(place).pipe_file(place.key, content, mode="create")
        except FileExistsError:
            return read_bytes(place) == content
    return True


def _create_file(path: pathlib.Path, content: bytes) -> bool:
    """On a mount without links the name is taken first and filled then, which a reader must pass over."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return False
    except OSError as error:
        raise storage_error(path, error) from error
    return True


def sha256(place: Place) -> str:
    """The 64 hex digits of an object's SHA-256, read in blocks. Raises: FileNotFoundError; OSError, StorageError."""
    if isinstance(place, pathlib.Path):
        return file_sha256(place)
    with bucket.errors_of(place, "read"), bucket.system_of(place).open(place.key, "rb", block_size=BLOCK) as file:
        digest = hashlib.sha256()
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def exists(place: Place) -> bool:
    """Whether there is an object or a folder of that name."""
    if isinstance(place, pathlib.Path):
        return os.path.exists(place)  # False also for a name that is too long
    return _info(place) is not None


def is_folder(place: Place) -> bool:
    """Whether there is a folder of that name; on a bucket, whether any object lies below it."""
    if isinstance(place, pathlib.Path):
        return place.is_dir()
    found = _info(place)
    return found is not None and found["type"] == "directory"


def _info(place: BucketPath) -> dict[str, Any] | None:
    """None where there is nothing. fsspec's own `exists` and `isdir` also say so where a request failed."""
    try:
        with bucket.errors_of(place, "read"):
            return bucket.system_of(place).info(place.key)
    except FileNotFoundError:
        return None


def names(place: Place) -> list[str]:
    """The names in a folder, sorted; none where there is no folder."""
    if isinstance(place, pathlib.Path):
        return sorted(path.name for path in place.iterdir()) if place.is_dir() else []
    try:
        with bucket.errors_of(place, "read"):
            found = bucket.system_of(place).ls(place.key, detail=False)
    except FileNotFoundError:
        return []
    return sorted({path.rstrip("/").rpartition("/")[2] for path in found} - {place.name, ""})


def sizes(place: Place) -> dict[str, int]:
    """The bytes of every object below a folder, by its name from there; one listing on a bucket."""
    if isinstance(place, pathlib.Path):
        return {str(p.relative_to(place)): p.stat().st_size for p in sorted(place.rglob("*")) if p.is_file()}
    with bucket.errors_of(place, "read"):
        found = bucket.system_of(place).find(place.key, detail=True)
    return {path.removeprefix(f"{place.key}/"): int(info["size"]) for path, info in sorted(found.items())}


def listing(place: Place) -> dict[str, tuple[int, str]]:
    """Bytes and version of every object below a folder, by its name from there; one listing on a bucket.

    A version changes when the object is written anew: a hash or a generation of a bucket, a time of this machine.
    """
    if isinstance(place, pathlib.Path):
        found = (path for path in sorted(place.rglob("*")) if path.is_file())
        return {path.relative_to(place).as_posix(): _looked_at(path) for path in found}
    with bucket.errors_of(place, "read"):
        return _listed(bucket.system_of(place).find(place.key, detail=True), f"{place.key}/")


def look(place: Place) -> tuple[int, str] | None:
    """Bytes and version of one object, as in `listing`; None where there is no object of that name."""
    if isinstance(place, pathlib.Path):
        try:
            return _looked_at(place) if place.is_file() else None
        except (OSError, ValueError):  # gone meanwhile, or an impossible name
            return None
    info = _info(place)
    return None if info is None or info["type"] == "directory" else (int(info["size"]), _version(info))


def matching(place: Place) -> dict[Place, tuple[int, str]]:
    """Bytes and version of the objects that a pattern with * ? [ ] matches, sorted; ** also matches folders."""
    if isinstance(place, pathlib.Path):
        paths = map(pathlib.Path, sorted(glob.glob(str(place), recursive=True)))
        return {path: _looked_at(path) for path in paths if path.is_file()}
    with bucket.errors_of(place, "read"):
        found = _listed(bucket.system_of(place).glob(place.key, detail=True), "")
    start = "" if place.key == place.address else f"{place.scheme}://"
    return {BucketPath(f"{start}{key}"): state for key, state in found.items()}


def _looked_at(path: pathlib.Path) -> tuple[int, str]:
    found = path.stat()
    return found.st_size, str(found.st_mtime_ns)


def _listed(found: Mapping[str, Mapping[str, Any]], prefix: str) -> dict[str, tuple[int, str]]:
    files_alone = {key: info for key, info in sorted(found.items()) if info["type"] == "file"}
    return {key.removeprefix(prefix): (int(info["size"]), _version(info)) for key, info in files_alone.items()}


def _version(info: Mapping[str, Any]) -> str:
    """What the server of a bucket says that changes with the content."""
    return next((str(info[key]) for key in VERSIONS if info.get(key)), "")


def delete(place: Place) -> None:
    """Removes an object; nothing where there is none. Raises: StorageError, also for a folder of this machine."""
    with _removing(place):
        place.unlink() if isinstance(place, pathlib.Path) else bucket.system_of(place).rm_file(place.key)


def delete_folder(place: Place) -> None:
    """Removes a folder with all below it; nothing where there is none. Raises: StorageError."""
    with _removing(place):
        shutil.rmtree(place) if isinstance(place, pathlib.Path) else bucket.system_of(place).rm(
            place.key, recursive=True
        )


@contextlib.contextmanager
def _removing(place: Place) -> Iterator[None]:
    """Errors of removing in one line; what is gone already is none."""
    with contextlib.suppress(FileNotFoundError):
        try:
            with contextlib.nullcontext() if isinstance(place, pathlib.Path) else bucket.errors_of(place, "removed"):
                yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise storage_error(place, error) from error


def upload(local: pathlib.Path, place: Place) -> None:
    """Copies a file, or a folder with all below it, from this machine. Each object is written whole. StorageError."""
    if local.is_dir():
        for name in sorted(sizes(local)):
            upload(local / name, place / name)
    elif isinstance(place, pathlib.Path):
        with files.replacing(place) as temporary:
            shutil.copyfile(local, temporary)
    else:
        with bucket.errors_of(place, "written"):
            bucket.system_of(place).put_file(str(local), place.key)


def copy(source: Place, target: Place) -> None:
    """Copies an object, or all objects below a folder, from any place to any other one. Raises: as `download`."""
    if is_folder(source):
        for name in sizes(source):
            copy(source / name, target / name)
    elif isinstance(source, pathlib.Path):
        upload(source, target)
    elif isinstance(target, pathlib.Path):
        download(source, target)
    elif source.scheme == target.scheme:
        with bucket.errors_of(target, "written"):
            bucket.system_of(target).cp_file(source.key, target.key)
    else:
        with scratch("copy") as folder:
            download(source, pathlib.Path(folder) / "object")
            upload(pathlib.Path(folder) / "object", target)


def download(place: Place, local: pathlib.Path) -> None:
    """Copies an object, or all objects below a folder, to this machine. Raises: DataError, StorageError."""
    if isinstance(place, BucketPath) and not is_folder(place):
        with files.replacing(local) as temporary, bucket.errors_of(place, "read"):
            try:
                bucket.system_of(place).get_file(place.key, str(temporary))
            except FileNotFoundError as error:
                raise bucket.missing(place) from error
    elif isinstance(place, BucketPath):
        for name in sizes(place):
            download(place / name, local / name)
    else:
        upload(place, local)


def scratch(prefix: str) -> tempfile.TemporaryDirectory:
    """A folder of this machine for what a place is to hold later; it is removed behind its `with`."""
    return tempfile.TemporaryDirectory(prefix=f"lst_{prefix}_", ignore_cleanup_errors=True)


@contextlib.contextmanager
def scratch_to_fill(prefix: str) -> Iterator[pathlib.Path]:
    """As `scratch`; where this machine refuses to write there, as a full disk does, that is one line. StorageError."""
    with scratch(prefix) as folder:
        try:
            yield pathlib.Path(folder)
        except OSError as error:
            raise storage_error(folder, error) from error
