"""The shard files that this process holds open: a bounded number, whatever the number of shards."""

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
MOST_OPEN = 4_096  # shards; each holds a buffer and an index in memory


def half_of_the_limit() -> int:
    """Half of the files that this process may have open; the others are for checkpoints, libraries and sockets."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_OPEN if soft == resource.RLIM_INFINITY else max(1, min(soft // 2, MOST_OPEN))


class ReaderPool:
    """Open readers of several owners. Where they are too many, the one that was used the longest ago is closed."""

    def __init__(self, most: Callable[[], int]):
        """`most` gives the largest number of readers that may be open now."""
        self._most = most
        self._readers: collections.OrderedDict[tuple[int, str], Any] = collections.OrderedDict()
        self._lock = threading.RLock()  # the garbage collector may call `forget` within `reader`

    def __len__(self) -> int:
        """Number of readers that are open."""
        return len(self._readers)

    def reader(self, owner: int, path: str) -> Any:
        """The owner's reader of the file. Raises: RuntimeError of ArrayRecord."""
        with self._lock:
            if (owner, path) in self._readers:
                self._readers.move_to_end((owner, path))
                return self._readers[owner, path]
            # A file is closed when the last user lets go of its reader: another thread may be reading from it.
            while self._readers and len(self._readers) >= self._most():
                self._readers.popitem(last=False)
            reader = array_record_module.ArrayRecordReader(
                path, options=READER_OPTIONS, file_reader_buffer_size=READER_BUFFER
            )
            self._readers[owner, path] = reader
            return reader

    def forget(self, owner: int) -> None:
        """Closes the owner's readers."""
        with self._lock:
            for key in [key for key in self._readers if key[0] == owner]:
                del self._readers[key]


POOL = ReaderPool(half_of_the_limit)  # of all directories together, as the limit is the process's
_owners = itertools.count()


class ShardReaders:
    """The shards of one directory, opened at their first read. A copy in another process opens them for itself."""

    def __init__(self, pool: ReaderPool = POOL):
        """The files are closed with the object at the latest."""
        self._pool, self._owner = pool, next(_owners)
        weakref.finalize(self, pool.forget, self._owner).atexit = False

    def read(self, path: str, position: int) -> bytes:
        """Record number `position` of the shard. Raises: RuntimeError of ArrayRecord."""
        return self._pool.reader(self._owner, path).read([position])[0]

    def __reduce__(self):
        """Open files cannot be copied."""
        return ShardReaders, ()
