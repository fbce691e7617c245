"""Objects of buckets through fsspec, with every failure as one line."""

import contextlib
import functools
import logging
import os
from collections.abc import Iterator
from typing import Any

from lst_jax.core.errors import ConfigError, DataError, PassingStorageError, StorageError, UserError, first_line
from lst_jax.storage.place import BucketPath, to_place

EXTRAS = {"gs": "gcs", "gcs": "gcs", "s3": "s3"}
READ_ONLY = frozenset(
    {"data", "dvc", "gist", "git", "github", "http", "https", "libarchive", "pyscript", "reference", "tar", "zip"}
    | {"blockcache", "cached", "filecache", "simplecache"}
)
REFUSED_KINDS = frozenset(  # of botocore and aiohttp: nothing has been sent, and nothing will be
    {
        "InvalidURL",
        "NoCredentialsError",
        "NoRegionError",
        "ParamValidationError",
        "PartialCredentialsError",
        "ProfileNotFound",
    }
)
REQUESTING = frozenset({"gcsfs", "s3fs", "aiohttp", "botocore", "google", "requests", "urllib3"})
REFUSED_WORDS = ("PERMISSION_DENIED", "UNAUTHENTICATED")  # of tensorstore
PASSING_WORDS = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "CURL error")
REFUSED_CODES = frozenset({400, 401, 403, 404, 405, 409, 410, 412})  # a person must act; others may pass


def file_system(scheme: str, where: str) -> Any:
    """The file system of a scheme, which remembers no listing: another process may have changed it.

    Args: `where` is the address, for the message.
    Raises: ConfigError where its package is not installed, or no file system has that scheme.
    """
    try:
        return _file_system(scheme)
    except ImportError as error:
        extra = EXTRAS[scheme] if scheme in EXTRAS else None
        fix = f"pip install 'lst_jax[{extra}]'" if extra else f"install it ({first_line(error)})"
        raise ConfigError(f"{where}: needs a package that is not installed; {fix}") from error
    except ValueError as error:
        raise ConfigError(
            f"{where}: is not a known kind of address ({first_line(error)}); use gs:// or s3://"
        ) from error


@functools.cache
def _file_system(scheme: str) -> Any:
    import fsspec  # here, as a command without an address must not wait for it
    import fsspec.config

    # Its look at the kind of every bucket asks for rights that reading and writing do not need, and warns without them.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs a stack trace of what it also raises
    for name in ("gs", "gcs", "s3"):  # also for the file system that epath opens
        fsspec.config.conf.setdefault(name, {}).setdefault("use_listings_cache", False)
    return fsspec.filesystem(scheme)


def check_writable(name: str, value: str) -> None:
    """Refuses an address at which nothing can be written, such as https://HOST/FILE, before any work is done.

    Args: `name` is the argument that holds it, for the message.
    Raises: ConfigError.
    """
    place = to_place(value)
    if not isinstance(place, BucketPath):
        return
    import fsspec  # as in `_file_system`

    if place.scheme in READ_ONLY or place.scheme not in fsspec.available_protocols():
        raise ConfigError(
            f"{name}={value!r}: nothing can be written at {place.scheme}://; give a path of this machine, "
            "gs://BUCKET/NAME or s3://BUCKET/NAME"
        )


def system_of(path: BucketPath) -> Any:
    """The file system of a place."""
    return file_system(path.scheme, str(path))


@contextlib.contextmanager
def errors_of(path: BucketPath, work: str) -> Iterator[None]:
    """Turns what a file system raises into one line. FileNotFoundError and FileExistsError pass, as they are answers.

    Args: `work` is what is done with the place, as "read".
    Raises: PassingStorageError where the server did not answer, StorageError where it refused, or where addresses of this
        kind are read alone.
    """
    if work != "read" and path.scheme in READ_ONLY:
        raise _unable(path, work)
    try:
        yield
    except FileNotFoundError as error:
        if work != "written":
            raise
        raise StorageError(f"{path}: cannot be written, as its bucket is not there; correct the address") from error
    except (UserError, FileExistsError):
        raise
    except Exception as error:  # each file system has exceptions of its own
        raise error_of(path, work, error) from error


def error_of(path: BucketPath, work: str, error: Exception) -> StorageError:
    """The one-line error for a request that failed. `work` is what was to be done with the place, as "read"."""
    cause = f"{type(error).__name__}: {first_line(error)}"
    if isinstance(error, NotImplementedError):
        return _unable(path, work)
    if _is_refused(error):
        return StorageError(
            f"{path}: cannot be {work} ({cause}); check the address, the credentials (gcloud auth "
            "application-default login) and the rights of the account"
        )
    return PassingStorageError(
        f"{path}: cannot be {work} ({cause}); this may pass: run the same command again, what was complete is kept"
    )


def _unable(path: BucketPath, work: str) -> StorageError:
    return StorageError(
        f"{path}: cannot be {work}, as {path.scheme}:// offers no way to; use gs:// or a folder of this machine"
    )


def is_of_requests(error: Exception) -> bool:
    """Whether a library that sends requests, such as gcsfs or tensorstore, raised the error."""
    if type(error).__module__.partition(".")[0] in REQUESTING:
        return True
    return isinstance(error, (ValueError, RuntimeError)) and any(
        word in str(error) for word in (*REFUSED_WORDS, *PASSING_WORDS)
    )


def _is_refused(error: Exception) -> bool:
    if isinstance(error, PermissionError) or type(error).__module__.startswith("google.auth"):
        return True
    if any(word in str(error) for word in REFUSED_WORDS):
        return True
    if type(error).__name__ in REFUSED_KINDS:
        return True
    code = getattr(error, "code", None) or getattr(error, "status", None)
    return isinstance(code, (int, str)) and str(code).isdigit() and int(code) in REFUSED_CODES


def missing(path: BucketPath) -> DataError:
    """The one-line error for an object that is not there."""
    return DataError(f"{path}: no such object; correct the address")
