"""A Google Cloud Storage of this machine, for tests: the Go program fake-gcs-server over a folder."""

import contextlib
import importlib.util
import os
import pathlib
import threading
from collections.abc import Iterator

import pytest

from lst_jax.bench import slow_bucket
from lst_jax.core.errors import DataError
from lst_jax.storage import objects

NO_APPENDS = pathlib.Path(__file__).parent / "no_appends"  # for PYTHONPATH: adding to an object ends in an error


@contextlib.contextmanager
def serving(folder: pathlib.Path) -> Iterator[dict[str, str]]:
    """Starts the server, or skips the test. Gives the environment variables of its clients."""
    if importlib.util.find_spec("gcsfs") is None:
        pytest.skip("gcsfs, of the extra gcs, is not installed")
    with contextlib.ExitStack() as stack:
        try:
            port = stack.enter_context(slow_bucket.serving(folder))
        except DataError as error:
            pytest.skip(str(error))
        yield variables(f"http://{slow_bucket.HOST}:{port}")


def variables(url: str) -> dict[str, str]:
    """What gcsfs, epath, tensorstore and array_record read to find the server."""
    return {
        "STORAGE_EMULATOR_HOST": url,
        "TENSORSTORE_GCS_HTTP_URL": url,
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "abc",
        "CLOUD_STORAGE_EMULATOR_ENDPOINT": url,
    }


def environment(**more: str) -> dict[str, str]:
    """Of a process of a test that uses the bucket, in which adding to an object is an error."""
    root = pathlib.Path(__file__).parents[2]
    paths = [str(NO_APPENDS), str(root), str(root / "tests" / "helpers")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | more


def refusing(opened):
    """`AbstractFileSystem.open`, but for adding to an object: on a bucket that would replace it."""

    def open_or_refuse(self, path, mode="rb", *words, **options):
        assert "a" not in mode, f"{path}: was opened to add to it"
        return opened(self, path, mode, *words, **options)

    return open_or_refuse


def created_by(place, threads: int) -> list[int]:
    """The numbers of those among `threads` at once that created the object, each with its number as the content."""
    won = []
    racers = [
        threading.Thread(target=lambda i=i: won.append(i) if objects.create(place, b"%d" % i) else None)
        for i in range(threads)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    return won
