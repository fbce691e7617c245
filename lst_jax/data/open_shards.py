"""The shards that this process holds open: a bounded number, whatever the number of shards.

An open shard keeps its index in memory. One of this machine is also an open file.
"""

import collections
import itertools
import resource
import threading
import weakref
from collections.abc import Callable
from typing import Any

from array_record.python import array_record_module  # ty: ignore[missing-module-member]

READER_OPTIONS = "readahead_buffer_size:0"  # records are read at random places
READER_BUFFER = 32_768  # bytes
MOST_OPEN = 4_096  # files; each holds a buffer and an index in memory
INDEX_BYTES = 18  # of an open shard per record, measured
LARGEST_INDEXES = 4 << 30  # bytes that the shards of buckets which are open may take


def half_of_the_limit() -> int:
    """Half of the files that this process may have open; the others are for checkpoints, libraries and sockets."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_OPEN if soft == resource.RLIM_INFINITY else max(1, min(soft // 2, MOST_OPEN))


class ShardChanged(Exception):
    """A shard does not hold as many records as it should; a shard of a bucket that is gone appears to hold none."""


class OpenShard:
    """A shard that is opened by the first thread that needs it, while others wait for that."""

    def __init__(self, path: str, records: int):
        """Opens nothing."""
        self._path, self.records, self._reader, self._lock = path, records, None, threading.Lock()

    def reader(self) -> Any:
        """The open reader. Raises: RuntimeError of ArrayRecord, ShardChanged."""
        with self._lock:
            if self._reader is None:
                reader = array_record_module.ArrayRecordReader(
                    self._path, options=READER_OPTIONS, file_reader_buffer_size=READER_BUFFER
                )
                if reader.num_records() != self.records:
                    reader.read([0])  # where the shard could not be opened, this says why
                    raise ShardChanged(f"{reader.num_records()} records")
                self._reader = reader
            return self._reader


def one(shard: OpenShard) -> int:
    """Weighs each shard the same."""
    return 1


def index_bytes(shard: OpenShard) -> int:
    """Weighs a shard by its index in memory."""
    return INDEX_BYTES * shard.records


class ReaderPool:
    """Open shards of several owners. Where they weigh too much, the one that was used the longest ago is closed."""

    def __init__(self, most: Callable[[], int], weight: Callable[[OpenShard], int] = one):
        """`most` gives what the open shards may weigh now."""
        self._most, self._weight, self._total = most, weight, 0
        self._shards: collections.OrderedDict[tuple[int, str], OpenShard] = collections.OrderedDict()
        self._lock = threading.RLock()  # the garbage collector may call `forget` within `shard`

    def __len__(self) -> int:
        """Number of shards that are open."""
        return len(self._shards)

    def shard(self, owner: int, path: str, records: int) -> OpenShard:
        """The owner's shard of that path, which holds so many records."""
        key = owner, path
        with self._lock:
            if key in self._shards:
                self._shards.move_to_end(key)
                return self._shards[key]
            shard = OpenShard(path, records)
            # A shard is closed when the last user lets go of it: another thread may be reading from it.
            while self._shards and self._total + self._weight(shard) > self._most():
                self._total -= self._weight(self._shards.popitem(last=False)[1])
            self._shards[key] = shard
            self._total += self._weight(shard)
            return shard

    def forget(self, owner: int) -> None:
        """Closes the owner's shards."""
        with self._lock:
            for key in [key for key in self._shards if key[0] == owner]:
                self._total -= self._weight(self._shards.pop(key))


FILES = ReaderPool(half_of_the_limit)  # of all directories together, as the limit is the process's
OBJECTS = ReaderPool(lambda: LARGEST_INDEXES, index_bytes)  # of buckets, which need no open files
_owners = itertools.count()


class ShardReaders:
    """The shards of one directory, opened at their first read. A copy in another process opens them for itself."""

    def __init__(self, in_bucket: bool = False, pool: ReaderPool | None = None):
        """The shards are closed with the object at the latest. `pool` None: the one for this kind of place."""
        if pool is None:
            pool = OBJECTS if in_bucket else FILES
        self._in_bucket, self._pool, self._owner = in_bucket, pool, next(_owners)
        weakref.finalize(self, pool.forget, self._owner).atexit = False

    def read(self, path: str, position: int, records: int) -> bytes:
        """Record number `position` of the shard, which holds `records`.

        Raises: RuntimeError of ArrayRecord, ShardChanged.
        """
        return self._pool.shard(self._owner, path, records).reader().read([position])[0]

    def __reduce__(self):
        """Open shards cannot be copied."""
        return ShardReaders, (self._in_bucket,)
