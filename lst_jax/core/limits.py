"""Limits of the process that the system sets lower than it must."""

import contextlib
import resource
from collections.abc import Iterator

OPEN_FILES = 65_536  # shards of records, checkpoints and sockets of a large run; more makes child processes slow


@contextlib.contextmanager
def many_open_files() -> Iterator[None]:
    """Within the block, this process may have as many files open as the hard limit allows, up to `OPEN_FILES`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
