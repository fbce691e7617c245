"""Several processes as one job: joining it, barriers, shared flags and sums.

In a job of one process every function here returns at once and nothing is sent.
"""

import collections
import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lst_jax.core.errors import ConfigError, PeerError, UserError, first_line
from lst_jax.parallel import lost_job, sharding

MESSAGE_BYTES = 4096  # the JSON that one process sends to all others at a barrier
LIMB_BITS, LIMBS = 20, 3  # whole numbers are added in limbs: numbers have 60 bits, sums over 2^11 devices fit 31 a limb
JOIN_TIMEOUT_SEC = 600  # the hosts of a pod do not start at the same moment
LEAVE_TIMEOUT_SEC = 60  # a process that has failed alone waits this long for the others before it ends


def join(count: int, coordinator: str | None = None, index: int | None = None) -> None:
    """Makes this process one of the `count` of its job. It must be called before anything else touches a device.

    JAX finds the job by itself on TPU pods, on GKE and under SLURM. Elsewhere `coordinator` (HOST:PORT of process 0)
    and the `index` of this process are needed.
    Raises: ConfigError where JAX finds no job, PeerError where the other processes do not come.
    """
    if count == 1:
        return
    jax.config.update("jax_enable_preemption_service", False)  # SIGTERM belongs to `core.signals.StopRequest`
    try:
        known = count if coordinator is not None else None  # without one JAX counts, and may find another number
        with lost_job.ends_in_one_line():
            jax.distributed.initialize(
                coordinator,
                known,
                index,
                initialization_timeout=JOIN_TIMEOUT_SEC,
                shutdown_timeout_seconds=LEAVE_TIMEOUT_SEC,
            )
    except ValueError as error:
        raise ConfigError(
            f"--processes={count}: JAX finds no cluster here ({first_line(error)}); give --coordinator "
            "HOST:PORT and --process-id I, or --processes 1"
        ) from error
    except jax.errors.JaxRuntimeError as error:
        raise PeerError(
            f"--processes={count}: the others could not be joined ({first_line(error)}); start all of them again"
        ) from error
    if jax.process_count() != count:
        raise ConfigError(f"--processes={count}: the job has {jax.process_count()}; give that number, or start all")


def is_leader() -> bool:
    """Whether this process writes the run's files."""
    return jax.process_index() == 0


@contextlib.contextmanager
def barrier(facts: dict[str, Any]) -> Iterator[None]:
    """Every process continues behind the block with the same `facts`, or every process raises the same error.

    `facts` may be filled within the block.
    Raises: the UserError that one process raised in the block, or ConfigError naming a process whose facts differ.
    """
    failed: UserError | None = None
    try:
        yield
    except UserError as error:
        failed = error
    if jax.process_count() == 1:
        if failed is not None:
            raise failed
        return
    mine = {"error": str(failed), "code": failed.exit_code} if failed is not None else facts
    everyone = _exchange(mine)
    for index, theirs in enumerate(everyone):
        if "error" in theirs:
            if failed is not None and index == jax.process_index():
                raise failed
            error = UserError(f"process {index}: {theirs['error']}")
            error.exit_code = theirs["code"]
            raise error from failed
    _check_equal(everyone)


def _exchange(mine: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The mappings of all processes, in their order."""
    text = json.dumps(mine).encode()
    assert len(text) <= MESSAGE_BYTES, text
    padded = np.frombuffer(text.ljust(MESSAGE_BYTES), np.uint8)
    return [json.loads(row.tobytes()) for row in np.asarray(multihost_utils.process_allgather(padded))]


def _check_equal(everyone: Sequence[Mapping[str, Any]]) -> None:
    """Refuses facts that differ. The value that most processes have is right, of two that the lowest process has."""
    for key in everyone[0]:
        values = [json.dumps(facts[key]) for facts in everyone]
        usual = collections.Counter(values).most_common(1)[0][0]
        others = [i for i, value in enumerate(values) if value != usual]
        if others:
            raise ConfigError(
                f"process {others[0]}: {key}={values[others[0]]}, process {values.index(usual)} has "
                f"{usual}; give all processes the same configuration, code and data"
            )


def clocks() -> list[float]:
    """The clocks of all processes in seconds since 1970, read as they leave a barrier together: within milliseconds."""
    multihost_utils.sync_global_devices("clocks")
    now = np.asarray(divmod(time.time_ns() // 1000, 1_000_000), np.int32)  # devices have no 64 bits
    return [
        int(seconds) + int(micros) / 1e6 for seconds, micros in multihost_utils.process_allgather(now).reshape(-1, 2)
    ]


@contextlib.contextmanager
def peer_loss_as_error() -> Iterator[None]:
    """Within the block, a collective that fails because another process is gone raises a PeerError."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
            raise
        raise PeerError(
            f"process {jax.process_index()}: lost another process ({first_line(error)}); start all of "
            "them again, they go on from the newest checkpoint"
        ) from error


class SharedFlags:
    """Flags that are set for all processes where any process sets them, one step later."""

    def __init__(self, mesh: Mesh):
        self._split = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._local = len(mesh.local_devices)
        self._any = jax.jit(lambda x: x.max(0), out_shardings=sharding.replicated(mesh))
        self._reported: jax.Array | None = None

    def report(self, *flags: bool) -> tuple[bool, ...]:
        """Takes this process's flags; returns for each whether any process had set it at the call before.

        The host therefore waits for the step before, never for the one it has just started. A job of one process
        gets its own flags at once.
        """
        if jax.process_count() == 1:
            return flags
        before = self._reported
        mine = np.tile(np.asarray(flags, np.int32), (self._local, 1))
        self._reported = self._any(jax.make_array_from_process_local_data(self._split, mine))
        if before is None:
            return (False,) * len(flags)
        return tuple(bool(x) for x in np.asarray(before))


class RowTotals:
    """Whole numbers that each process counted over its rows, summed on the devices without waiting."""

    def __init__(self, mesh: Mesh, rows: int):
        """Raises: ConfigError where two processes share some of their rows, but not all."""
        self._split = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._local = len(mesh.local_devices)
        self._counts = _owns_its_rows(mesh, rows)
        self._sum = jax.jit(lambda x: x.sum(0), out_shardings=sharding.replicated(mesh))

    def start_sum(self, counts: Mapping[str, int]) -> "PendingTotals":
        """Starts the sum. The keys must be the same in all processes, the numbers at least 0 and below 2^60."""
        if jax.process_count() == 1:
            return PendingTotals(list(counts), np.asarray([[n, 0, 0] for n in counts.values()], np.int64))
        limbs = np.zeros((self._local, len(counts), LIMBS), np.int32)
        if self._counts:
            limbs[0] = [[(n >> (LIMB_BITS * i)) % (1 << LIMB_BITS) for i in range(LIMBS)] for n in counts.values()]
        return PendingTotals(list(counts), self._sum(jax.make_array_from_process_local_data(self._split, limbs)))


class PendingTotals:
    """Sums that the devices may still be computing."""

    def __init__(self, names: list[str], limbs: Any):
        self._names, self._limbs = names, limbs

    def wait(self) -> dict[str, int]:
        """Returns the sums when they are there."""
        limbs = np.asarray(self._limbs).astype(object)
        return {
            name: int(sum(limb << (LIMB_BITS * i) for i, limb in enumerate(row)))
            for name, row in zip(self._names, limbs, strict=True)
        }


def _owns_its_rows(mesh: Mesh, rows: int) -> bool:
    """Whether this process counts its rows. Where several processes hold the same rows, the lowest one counts them."""
    held: dict[int, set[int]] = collections.defaultdict(set)
    for device, (part,) in sharding.batch_sharding(mesh).devices_indices_map((rows,)).items():
        held[device.process_index] |= set(range(*part.indices(rows)))
    mine = held[jax.process_index()]
    for index, theirs in held.items():
        if mine & theirs and mine != theirs:
            raise ConfigError(
                f"mesh.tensor={mesh.shape[sharding.TENSOR]}: processes {jax.process_index()} and {index} "
                "would share some of their rows; use one that divides the devices of a process"
            )
    return min(index for index, theirs in held.items() if theirs == mine) == jax.process_index()


def gather_rows(mesh: Mesh, mine: np.ndarray, rows: int) -> np.ndarray:
    """The int64 array [rows, ...] of all rows, in every process, from each one's own (`sharding.process_rows`)."""
    if jax.process_count() == 1:
        return mine
    halves = np.ascontiguousarray(mine).view(np.int32)  # devices have no 64 bits; halves lie side by side
    split = jax.make_array_from_process_local_data(sharding.batch_sharding(mesh), halves, (rows, *halves.shape[1:]))
    gathered = jax.jit(lambda x: x, out_shardings=sharding.replicated(mesh))(split)
    return np.asarray(gathered).view(np.int64)
