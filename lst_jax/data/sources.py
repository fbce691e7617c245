"""Opening records by address: a folder, a folder of a bucket, or a split of a TFDS dataset."""

import re
from collections.abc import Iterator
from typing import Protocol, SupportsIndex, runtime_checkable

from lst_jax.core.errors import DataError
from lst_jax.core.paths import is_address
from lst_jax.data import remote, shards
from lst_jax.data.records import TextDocument, Utterance
from lst_jax.storage.place import Place

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


def open_records(path: str, kind: str) -> RecordSource:
    """Opens `path`: "DIR", "gs://bucket/DIR", another address that fsspec knows, or "tfds:DIR#SPLIT".

    What lies at gs:// is read in place. Other addresses are copied first, see `remote`.

    Example: open_records("tfds:/data/lm1b/1.1.0#train[:99%]", "text")
    Raises: DataError where it cannot be opened, or holds records of another kind.
    """
    if not path.startswith(TFDS_PREFIX):
        return shards.RecordDirectory(remote.readable(path), kind)
    match = re.fullmatch(r"tfds:(.+)#([^#]+)", path)
    if not match:
        raise DataError(f"{path}: a TFDS source must be tfds:DIR#SPLIT; write for example tfds:/data/lm1b/1.1.0#train")
    folder, split = match.groups()
    if is_address(folder):
        raise DataError(f"{path}: TFDS datasets are read from local disks only; copy the folder to one")
    from lst_jax.data.tfds_source import TfdsDirectory

    return TfdsDirectory(folder, kind, split)
