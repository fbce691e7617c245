"""Files that are read by ranges, for libraries that take a Python file: of this machine, or of a bucket."""

import contextlib
import io
from collections.abc import Iterator
from typing import BinaryIO

from lst_jax.core.errors import DataError, UserError, first_line
from lst_jax.storage import bucket, objects
from lst_jax.storage.place import BucketPath, Place

BUFFER_BYTES = 1 << 16


def opened(place: Place) -> BinaryIO:
    """The file, which can seek. A request that fails while it is read is a StorageError of one line.

    So whatever else a library raises says that the content is damaged.
    Raises: FileNotFoundError, OSError, StorageError.
    """
    file = objects.open_to_read(place)
    return io.BufferedReader(_Requested(place, file), BUFFER_BYTES) if isinstance(place, BucketPath) else file


@contextlib.contextmanager
def damage(place: Place, what: str) -> Iterator[None]:
    """What libraries raise for content that is not what it should be, as one line. Args: `what`, as "Parquet".

    Raises: DataError.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{place}: no such file; correct the path") from error
    except Exception as error:  # a damaged file fails in many ways, also as OSError and ValueError
        raise DataError(f"{place}: cannot be read as {what} ({first_line(error)}); make the file again") from error


class _Requested(io.RawIOBase):
    """An object of a bucket as fsspec opens it, with its errors in one line."""

    def __init__(self, place: BucketPath, file: BinaryIO):
        self._place, self._file = place, file

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer) -> int:
        """See `io.RawIOBase`. Raises: StorageError."""
        with bucket.errors_of(self._place, "read"):
            found = self._file.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase`."""
        return self._file.seek(offset, whence)

    def close(self) -> None:
        """Closes the file as well."""
        if not self.closed:
            self._file.close()
        super().close()
