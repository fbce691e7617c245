"""Lines `KEY REST` of a file that is sorted by its keys, found without reading the rest of the file.

Keys are compared by their bytes, as `LC_ALL=C sort` does.
"""

from collections.abc import Iterator

from lst_jax.core.errors import DataError
from lst_jax.storage import objects
from lst_jax.storage.place import Place

BLOCK = 1 << 16  # bytes of a look
READ = 1 << 20  # bytes of a read of lines that are wanted


class SortedLines:
    """A sorted file on this machine or in a bucket. Keeps no file open."""

    def __init__(self, place: Place):
        """Raises: DataError where there is no such file."""
        state = objects.look(place)
        if state is None:
            raise DataError(f"{place}: no such file; correct the path")
        self.place, self.size = place, state[0]

    def between(self, first: bytes, last: bytes) -> Iterator[tuple[bytes, bytes]]:
        """(key, rest) of the lines whose keys lie between these two, both included."""
        left, at = b"", self._start_of(first)
        while True:
            block = objects.read_range(self.place, at, min(READ, self.size - at)) if at < self.size else b""
            at += len(block)
            *lines, left = (left + block).split(b"\n") if block else [left, b""]
            for line in lines:
                key, _, rest = line.strip().replace(b"\t", b" ", 1).partition(b" ")
                if key > last:
                    return
                if key >= first and key:
                    yield key, rest.strip()
            if not block:
                return

    def _start_of(self, key: bytes) -> int:
        """A byte at which a line begins, at or before the first line whose key is not less than `key`."""
        low, high = 0, self.size  # the line that begins at `low` has a lesser key, or is the first one
        while high - low > BLOCK:
            middle = (low + high) // 2
            start, found = self._line_after(middle)
            if found is None or start >= high:
                high = middle
            elif found < key:
                low = start
            else:
                high = middle
        return low

    def _line_after(self, at: int) -> tuple[int, bytes | None]:
        """The first byte and the key of the first line that begins behind byte `at`; None where there is none."""
        size = BLOCK
        while True:
            block = objects.read_range(self.place, at, min(size, self.size - at))
            end = block.find(b"\n")
            behind = block.find(b"\n", end + 1) if end >= 0 else -1
            if behind >= 0 or at + len(block) >= self.size:
                line = block[end + 1 : behind if behind >= 0 else None].split(None, 1) if end >= 0 else []
                return at + end + 1, line[0] if line else None
            size *= 2
