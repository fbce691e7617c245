"""Records that are read before they are asked for, by threads, where reading one takes long.

Which records come next is known from the numbers of the documents alone. So what is read ahead changes when a record is
there, and never which record it is. A local disk answers at once: then each record is read when it is asked for.

Example: two rows share a source, and row 1 stands at document 5 of the source. Its next documents are 5, 7, 9, ...

    >>> reader = DocumentReader("abcdefghij", lambda number: number, rows=2, pool=ReadPool())
    >>> reader.read(5), reader.read(7)
    ((5, 'f'), (7, 'h'))
"""

import collections
import contextlib
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

THREADS = 64  # reads at a time: a process that takes 300,000 tokens per second from 30 ms away has 20 under way
AHEAD = 16  # documents per row and source; a row of 5,120 tokens takes about 3 texts and 6 utterances
FAST_SEC = 1e-3  # reading from a disk, also where other processes want its time or the cores
SLOW_SEC = 5e-3  # what one read counts at most, so that a few interrupted reads do not make a disk a slow one
PATIENCE_SEC = 40e-3  # lost to reads beyond `FAST_SEC` each, after which records are read ahead: ten slow reads
STOP_SEC = 10.0  # for the reads under way when a pool is closed


class Read:
    """A record that a thread reads."""

    __slots__ = ("_done", "_error", "_records", "_record", "index", "number", "unwanted")

    def __init__(self, records: Sequence, number: int, index: int):
        """Document number `number` is record `index` of `records`."""
        self.number, self.index, self._records = number, index, records
        self.unwanted = False
        self._record: Any = None
        self._error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def run(self) -> None:
        """Reads, in the thread that calls it."""
        try:
            if self.unwanted:
                raise RuntimeError(f"document {self.number} was not wanted any more")
            self._record = self._records[self.index]
        except BaseException as error:  # it is raised where the record is asked for, if it ever is
            self._error = error
        finally:
            self._done.release()

    def result(self) -> Any:
        """The record, waiting for it. Raises: what reading it raised."""
        with self._done:
            if self._error is not None:
                raise self._error
            return self._record


class ReadPool:
    """Threads that read records, in the order in which they were asked to. They start with the first read."""

    def __init__(self, threads: int = THREADS):
        """No thread is started yet."""
        self._most, self._threads = threads, []
        self._reads: queue.SimpleQueue[Read | None] = queue.SimpleQueue()
        # Also at the interpreter's exit: a thread that comes back from a library then would end the process badly.
        self._finalizer = weakref.finalize(self, _stop, self._reads, self._threads)

    def submit(self, read: Read) -> None:
        """Has a thread do the read."""
        if len(self._threads) < self._most:
            thread = threading.Thread(target=_run, args=(self._reads,), name="read ahead", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._reads.put(read)

    def close(self) -> None:
        """Stops the threads behind the reads that are under way, and forgets the others."""
        self._finalizer()


def _run(reads: queue.SimpleQueue) -> None:
    while (read := reads.get()) is not None:
        read.run()
        del read  # the record is held by who asked for it


def _stop(reads: queue.SimpleQueue, threads: list[threading.Thread]) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            if (read := reads.get_nowait()) is not None:
                read.unwanted = True
                read.run()  # wakes who waits for it
    for _ in threads:
        reads.put(None)
    deadline = time.monotonic() + STOP_SEC
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


class DocumentReader:
    """The records of one source, as the documents of several rows. It reads ahead once reading has proved slow."""

    def __init__(
        self,
        records: Sequence,
        index_of: Callable[[int], int],
        rows: int,
        pool: ReadPool,
        ahead: int = AHEAD,
        patience_sec: float | None = None,
        documents: int | None = None,
    ):
        """Document `number` is record `index_of(number)`. A row's next document is `rows` numbers further.

        Args: `ahead` documents per row are under way or wait; `patience_sec` 0: from the first read on, None: as fits
            the place of the records; `documents` is the number of all documents, None if they never end.
        """
        if patience_sec is None:
            patience_sec = 0.0 if answers_late(records) else PATIENCE_SEC
        self._records, self._index_of, self._rows, self._pool = records, index_of, rows, pool
        self._ahead, self._patience_sec, self._documents = ahead, patience_sec, documents
        self._lost_sec = 0.0
        self._windows: dict[int, collections.deque[Read]] = {}  # by row

    def read(self, number: int) -> tuple[int, Any]:
        """The index and the record of a document. Raises: what reading the record raises."""
        if self._lost_sec >= self._patience_sec:
            read = self._window(number)[0]
            return read.index, read.result()
        index, start = self._index_of(number), time.perf_counter()
        record = self._records[index]
        took = min(time.perf_counter() - start, SLOW_SEC)
        self._lost_sec = max(0.0, self._lost_sec + took - FAST_SEC)
        return index, record

    def _window(self, number: int) -> collections.deque[Read]:
        """The reads of the row from document `number` on. What was read for other documents is dropped."""
        window = self._windows.setdefault(number % self._rows, collections.deque())
        while window and window[0].number < number:
            window.popleft().unwanted = True
        if window and window[0].number != number:  # the stream was set back
            for read in window:
                read.unwanted = True
            window.clear()
        upcoming = window[-1].number + self._rows if window else number
        while len(window) < self._ahead and (self._documents is None or upcoming < self._documents):
            read = Read(self._records, upcoming, self._index_of(upcoming))
            window.append(read)
            self._pool.submit(read)
            upcoming += self._rows
        return window


def answers_late(records: Sequence) -> bool:
    """Whether the records are known to lie far away. Any sequence will do; a `RecordDirectory` knows its place."""
    return bool(getattr(records, "answers_late", False))


def in_order(records: Sequence) -> Iterator[Any]:
    """All records in order, read ahead where reading is slow."""
    pool = ReadPool()
    reader = DocumentReader(records, lambda number: number, 1, pool, ahead=2 * THREADS, documents=len(records))
    try:
        for number in range(len(records)):
            yield reader.read(number)[1]
    finally:
        pool.close()
