"""Opening records by address: a folder, a folder of a bucket, or a split of a TFDS dataset."""

import pathlib
import re
from collections.abc import Iterator
from typing import Protocol, SupportsIndex, runtime_checkable

from lst_jax.core.errors import DataError
from lst_jax.data import remote, shards
from lst_jax.data.records import TextDocument, Utterance
from lst_jax.storage.place import BucketPath, Place, to_place

TFDS_PREFIX = "tfds:"


@runtime_checkable
class RecordSource(Protocol):
    """The interface of `RecordDirectory` and `TfdsDirectory`."""

    path: Place
    kind: str
    metadata: shards.Metadata

    def __len__(self) -> int:
        """Number of records."""

    def __getitem__(self, index: SupportsIndex) -> Utterance | TextDocument:
        """Record number `index`. Raises: DataError naming the file or split and the record."""

    def __iter__(self) -> Iterator[Utterance | TextDocument]:
        """All records in order."""

    def verify(self) -> None:
        """Checks every record and, where there are checksums, every file. Raises: DataError naming the first bad one."""


def open_records(path: str, kind: str | None) -> RecordSource:
    """Opens `path`: "DIR", "gs://bucket/DIR", another address that fsspec knows, or "tfds:DIR#SPLIT" with any such DIR.

    What lies at gs:// is read in place. Other addresses, and TFDS datasets at any address, are copied first: see `remote`
    and `tfds_copy`. A `kind` of None takes records of either kind.

    Example: open_records("tfds:/data/lm1b/1.1.0#train[:99%]", "text")
    Raises: DataError where it cannot be opened, or holds records of another kind.
    """
    if not path.startswith(TFDS_PREFIX):
        place = remote.readable(path)
        return shards.RecordDirectory(place, kind or shards.read_metadata(place).kind)
    match = re.fullmatch(r"tfds:(.+)#([^#]+)", path)
    if not match:
        raise DataError(f"{path}: a TFDS source must be tfds:DIR#SPLIT; write for example tfds:/data/lm1b/1.1.0#train")
    folder, split = to_place(match[1]), match[2]
    from lst_jax.data.tfds_source import TfdsDirectory

    if isinstance(folder, pathlib.Path):
        return TfdsDirectory(folder, kind, split)
    return _open_copy(path, folder, kind, split)


def _open_copy(path: str, folder: BucketPath, kind: str | None, split: str) -> RecordSource:
    """Opens a TFDS dataset at an address. A message about its copy names the address as well."""
    from lst_jax.data import tfds_copy, tfds_source

    copy = tfds_copy.local_copy(folder, split)
    try:
        return tfds_source.TfdsDirectory(copy, kind, split)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
