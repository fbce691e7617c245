"""What fits in the memory of a device, said in one line where a measurement does not."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax

from lst_jax.core.errors import DataError

GIB = 2**30
EXHAUSTED = ("RESOURCE_EXHAUSTED", "out of memory", "OutOfMemory")


def limit_bytes(device: Any) -> int:
    """The most bytes that a program may take on the device: what the allocator has, or a machine's available memory."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    lines = pathlib.Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def peak_bytes(compiled: Any) -> int:
    """The bytes that a compiled program needs on each of its devices: arguments, results and temporary arrays."""
    memory = compiled.memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )


def rows_that_fit(peak: int, temporary: int, rows: int, limit: int) -> int:
    """The most rows per device by one compiled program, whose temporary arrays are taken to grow with its rows.

    Example: 10 GB of state and 40 GB of temporary arrays for 4 rows, of 80 GB -> 7
    """
    return max(0, int((limit - (peak - temporary)) / max(1, temporary) * rows))


def check_fits(what: str, peak: int, temporary: int, rows: int, device: Any, parts: int = 1) -> None:
    """Refuses a program that the device has no memory for, before it runs.

    Args: `rows` are those of one device, `parts` the devices that share the rows of `--rows`.
    Raises: DataError with the rows that would fit.
    """
    limit = limit_bytes(device)
    if peak <= limit:
        return
    most = rows_that_fit(peak, temporary, rows, limit)
    fix = f"use --rows {most * parts}" if most else "no row does: use a smaller recipe, or --set to make it smaller"
    raise DataError(
        f"{what}: needs {peak / GIB:.1f} GiB on a device (rows there: {rows}), {device.device_kind} has "
        f"{limit / GIB:.1f} GiB; {fix}"
    )


@contextlib.contextmanager
def one_line_if_memory_ends(what: str, fix: str) -> Iterator[None]:
    """Turns the end of a device's memory, in JAX or in PyTorch, into a DataError that says how to go on."""
    try:
        yield
    except RuntimeError as error:  # of which XLA's and PyTorch's errors are subclasses
        if not any(word in f"{type(error).__name__}: {error}" for word in EXHAUSTED):
            raise
        raise DataError(f"{what}: does not fit in the memory of {jax.devices()[0].device_kind}; {fix}") from error
