"""`lst bench restore`: how long two slices take to read a checkpoint, each by itself, or one for both.

Two processes of this machine are the slices, with a CPU device each, and the network between them is Gloo over loopback.
The checkpoint lies on a disk whose pages are in memory, so that no disk is measured. `python -m lst_jax.bench.restore
FOLDER INDEX PORT REPEATS` is one of the processes.
"""

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax
import numpy as np

from lst_jax.bench.slow_bucket import HOST, free_port
from lst_jax.checkpoints.store import Checkpoints
from lst_jax.config import Config, MeshConfig
from lst_jax.core.errors import DataError
from lst_jax.data.rows import initial_state
from lst_jax.parallel import processes, sharding
from lst_jax.report import results_file
from lst_jax.runs.directory import RunDirectory
from lst_jax.step import update

PACKAGES = ("jax", "jaxlib", "orbax-checkpoint", "tensorstore", "numpy")
SLICES = 2
MODES = {"each slice reads": False, "one slice reads for both": True}
IO = pathlib.Path("/proc/self/io")
LONGEST_SEC = 3600


def measure(config: Config, repeats: int) -> dict[str, Any]:
    """Saves a state of the recipe's shapes, and reads it `repeats` times in each way.

    Returns: bytes of the state, and by mode the seconds of each time and the bytes that each process read.
    Raises: DataError where a process fails.
    """
    with tempfile.TemporaryDirectory(prefix="lst_bench_restore_") as folder:
        RunDirectory(folder).write_config(dataclasses.replace(config, mesh=MeshConfig(SLICES, None, 1)))
        words = [sys.executable, "-m", __name__, folder]
        port, ends = str(free_port()), {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        jobs = [subprocess.Popen([*words, str(i), port, str(repeats)], env=env, **ends) for i in range(SLICES)]
        try:
            said = [job.communicate(timeout=LONGEST_SEC)[1] for job in jobs]
        finally:
            for job in jobs:
                job.kill()
        for job, text in zip(jobs, said, strict=True):
            if job.returncode:
                raise DataError(
                    f"lst bench restore: a process failed ({(text.strip() or 'silently').splitlines()[-1]})"
                )
        each = [json.loads(pathlib.Path(folder, f"found-{i}.json").read_text()) for i in range(SLICES)]
    modes = {
        mode: {
            "seconds": each[0]["modes"][mode]["seconds"],
            "bytes_read": [one["modes"][mode]["bytes_read"] for one in each],
        }
        for mode in MODES
    }
    return {"name": config.name, "state_bytes": each[0]["state_bytes"], "repeats": repeats, "modes": modes}


def run_slice(folder: pathlib.Path, index: int, port: int, repeats: int) -> None:
    """What one of the processes does; writes what it found to FOLDER/found-INDEX.json."""
    processes.join(SLICES, f"{HOST}:{port}", index)
    config = RunDirectory(folder).resolve(None)
    mesh = sharding.make_mesh(config.mesh)
    like = update.state_shape(config, update.build_model(config, mesh), mesh)
    data_like = initial_state(config.data.rows, len(config.data.sources))
    found: dict[str, Any] = {mode: {"seconds": [], "bytes_read": 0} for mode in MODES}
    with Checkpoints(folder / "checkpoints", 1) as checkpoints:
        checkpoints.save(_made_up(like), data_like, {})
        checkpoints.wait()
        for _ in range(1 + repeats):  # the first time compiles, and is left out
            for mode, by_one in MODES.items():
                _meet()
                began, read = time.perf_counter(), _bytes_read()
                jax.block_until_ready(checkpoints.restore(0, like, data_like, by_one).state)
                found[mode]["bytes_read"] = _bytes_read() - read
                _meet()
                found[mode]["seconds"].append(time.perf_counter() - began)
    for mode in found.values():
        del mode["seconds"][0]
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(like))
    (folder / f"found-{index}.json").write_text(json.dumps({"state_bytes": int(size), "modes": found}))


def _made_up(like: update.TrainState) -> update.TrainState:
    """A state of step 0 with drawn numbers, which no file system can store in less room."""
    rng = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        if not np.issubdtype(leaf.dtype, np.floating):
            host = np.zeros(leaf.shape, leaf.dtype)
        else:
            host = rng.standard_normal(leaf.shape, np.float32).astype(leaf.dtype)
            host.flat[:1] = -0.0  # moments of rare words become that
        return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda part: host[part])

    return jax.tree.map(draw, like)


def _meet() -> None:
    """Waits for the other process."""
    with processes.barrier({}):
        pass


def _bytes_read() -> int:
    """Bytes that this process has read so far, from files in memory too. Linux counts them."""
    return int(dict(line.split(": ") for line in IO.read_text().splitlines())["rchar"])


def check(repeats: int) -> None:
    """Raises: DataError where this machine cannot measure that."""
    if repeats < 1:
        raise DataError(f"--repeats {repeats}: must be at least 1; use 5")
    if not IO.is_file():
        raise DataError(f"{IO}: no such file; bytes are counted on Linux only")


def markdown(measured: dict[str, Any]) -> str:
    """The body of the section in docs/results.md."""
    rows = [
        [
            mode,
            f"{statistics.median(one['seconds']):.2f} s",
            f"{min(one['seconds']):.2f} to {max(one['seconds']):.2f} s",
            *[f"{count / 1e6:.0f} MB" for count in one["bytes_read"]],
        ]
        for mode, one in measured["modes"].items()
    ]
    return "\n\n".join(
        [
            f"A state of {measured['state_bytes'] / 1e6:.0f} MB, parameters and moments of `{measured['name']}` with drawn "
            "numbers, on a mesh of two replicas in two processes of this machine. Medians of "
            f"{measured['repeats']} times, in turns, until both are ready; checksums are computed each time, as in a run. Files "
            "are in memory and the network is loopback: neither is as slow as a bucket or the network between slices. What "
            "carries over is the number of bytes that are read.",
            results_file.table(["", "median", "range", "read by process 0", "read by process 1"], rows),
        ]
    )


if __name__ == "__main__":
    run_slice(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:]))
