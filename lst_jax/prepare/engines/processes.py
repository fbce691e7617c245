"""A function over many items on several cores, results in order."""

import collections
import concurrent.futures
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from lst_jax.core.environment import SINGLE_THREAD, environment
from lst_jax.core.errors import DataError

CHUNK = 8  # items handed over at a time
AHEAD = 4  # chunks in flight per worker, so that none waits for the slowest

_function: Callable[[Any], Any] | None = None  # of a worker process


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def ordered_map(
    function: Callable[[Any], Any], items: Iterable[Any], workers: int, chunk_items: int = CHUNK
) -> Iterator[Any]:
    """function(item) for every item, in the order of the items, by `workers` processes (1: in this one).

    `function` is pickled once per process, so that it can hold what is slow to load. Items are taken as they are
    needed, and handed over `chunk_items` at a time. Raises: what `function` raises; DataError where a process dies.
    """
    if workers == 1:
        yield from map(function, items)
        return
    chunks = _chunked(items, chunk_items)
    pending: collections.deque[concurrent.futures.Future] = collections.deque()
    with environment(SINGLE_THREAD):
        pool = concurrent.futures.ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), _start_worker, (function,)
        )
        try:
            for chunk in chunks:
                pending.append(pool.submit(_run_chunk, chunk))
                if len(pending) >= AHEAD * workers:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise DataError(
                f"workers={workers}: a worker process died, perhaps for want of memory; run the same "
                "command again with fewer"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _chunked(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    chunk = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _start_worker(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it for all
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the parent is gone, even killed; the executor alone would leave it waiting for ever."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _run_chunk(chunk: Sequence[Any]) -> list[Any]:
    return [_function(item) for item in chunk]  # ty: ignore[not-callable]
