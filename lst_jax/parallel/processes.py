"""Several processes as one job: how they find each other, that they mean the same run, and what they decide together.

Alone, every function here is the trivial one and nothing is sent.
"""

import collections
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lst_jax.core.errors import ConfigError, PeerError, UserError, first_line
from lst_jax.parallel import sharding

MESSAGE_BYTES = 4096  # of what a process says of itself
LIMB_BITS, LIMBS = 20, 3  # of whole numbers to add: sums over 2^11 devices fit 31 bits, numbers 60
JOIN_TIMEOUT_SEC = 600  # the hosts of a pod do not start at one moment
LEAVE_TIMEOUT_SEC = 60  # how long one that has failed alone waits for the others before it ends


def join(count: int, coordinator: str | None = None, index: int | None = None) -> None:
    """Makes this process one of the `count` of its job; before anything else touches a device.

    JAX finds out by itself on TPU pods, GKE and under SLURM; elsewhere `coordinator` (HOST:PORT of process 0) and this
    process's `index` say it. Raises: ConfigError where neither does, PeerError where the others do not come.
    """
    if count == 1:
        return
    jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is for `stop.StopRequest`
    try:
        known = count if coordinator is not None else None  # else JAX counts, and may find another number
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
def agreeing(said: dict[str, Any]) -> Iterator[None]:
    """All processes leave the block together, if each got through it and `said` is the same in all; else none does.

    Raises: the error of the process that met one, or ConfigError naming a process whose `said` differs; in all alike.
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
    mine = {"error": str(failed), "code": failed.exit_code} if failed is not None else said
    everyone = _tell_all(mine)
    for index, theirs in enumerate(everyone):
        if "error" in theirs:
            if failed is not None and index == jax.process_index():
                raise failed
            error = UserError(f"process {index}: {theirs['error']}")
            error.exit_code = theirs["code"]
            raise error from failed
    _check_equal(everyone)


def _tell_all(mine: Mapping[str, Any]) -> list[dict[str, Any]]:
    text = json.dumps(mine).encode()
    assert len(text) <= MESSAGE_BYTES, text
    padded = np.frombuffer(text.ljust(MESSAGE_BYTES), np.uint8)
    return [json.loads(row.tobytes()) for row in np.asarray(multihost_utils.process_allgather(padded))]


def _check_equal(everyone: Sequence[Mapping[str, Any]]) -> None:
    """The value that most processes have is right; of two equally common ones, that of the lowest process."""
    for key in everyone[0]:
        values = [json.dumps(said[key]) for said in everyone]
        usual = collections.Counter(values).most_common(1)[0][0]
        others = [i for i, value in enumerate(values) if value != usual]
        if others:
            raise ConfigError(
                f"process {others[0]}: {key}={values[others[0]]}, process {values.index(usual)} has "
                f"{usual}; give all processes the same configuration, code and data"
            )


@contextlib.contextmanager
def losing_peers() -> Iterator[None]:
    """Within it, a collective that fails because another process is gone is a PeerError: start all again."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
            raise
        raise PeerError(
            f"process {jax.process_index()}: lost another process ({first_line(error)}); start all of "
            "them again, they go on from the newest checkpoint"
        ) from error


def leave(code: int) -> NoReturn:
    """Ends this process at once: the usual end waits for the others, and one of them is gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Votes:
    """What any process wants, known to all at the same step: asked in one step, answered in the next."""

    def __init__(self, mesh: Mesh):
        self._split = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._local = len(mesh.local_devices)
        self._any = jax.jit(lambda x: x.max(0), out_shardings=sharding.replicated(mesh))
        self._asked: jax.Array | None = None

    def ask(self, *wanted: bool) -> tuple[bool, ...]:
        """Hands in this process's wishes and returns, of each, whether any process had it when last asked.

        The host therefore waits for the step before, never for the one it has just started. Alone: `wanted` itself.
        """
        if jax.process_count() == 1:
            return wanted
        before = self._asked
        mine = np.tile(np.asarray(wanted, np.int32), (self._local, 1))
        self._asked = self._any(jax.make_array_from_process_local_data(self._split, mine))
        if before is None:
            return (False,) * len(wanted)
        return tuple(bool(x) for x in np.asarray(before))


class Totals:
    """Whole numbers of each process's rows, added up on the devices without waiting."""

    def __init__(self, mesh: Mesh, rows: int):
        """Raises: ConfigError where two processes share some of their rows, but not all."""
        self._split = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
        self._local = len(mesh.local_devices)
        self._counts = _owns_its_rows(mesh, rows)
        self._sum = jax.jit(lambda x: x.sum(0), out_shardings=sharding.replicated(mesh))

    def add(self, counts: Mapping[str, int]) -> "Pending":
        """Starts adding; the keys must be the same in all processes. Numbers are at least 0 and below 2^60."""
        if jax.process_count() == 1:
            return Pending(list(counts), np.asarray([[n, 0, 0] for n in counts.values()], np.int64))
        limbs = np.zeros((self._local, len(counts), LIMBS), np.int32)
        if self._counts:
            limbs[0] = [[(n >> (LIMB_BITS * i)) % (1 << LIMB_BITS) for i in range(LIMBS)] for n in counts.values()]
        return Pending(list(counts), self._sum(jax.make_array_from_process_local_data(self._split, limbs)))


class Pending:
    """Sums that are on their way."""

    def __init__(self, names: list[str], limbs: Any):
        self._names, self._limbs = names, limbs

    def get(self) -> dict[str, int]:
        """Waits for them."""
        limbs = np.asarray(self._limbs).astype(object)
        return {
            name: int(sum(limb << (LIMB_BITS * i) for i, limb in enumerate(row)))
            for name, row in zip(self._names, limbs, strict=True)
        }


def _owns_its_rows(mesh: Mesh, rows: int) -> bool:
    """Whether this process counts for its rows: tensor parts may spread the same rows over several processes."""
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


def whole_rows(mesh: Mesh, mine: np.ndarray, rows: int) -> np.ndarray:
    """An int64 array [rows, ...] on every process, from each one's own rows (`sharding.process_rows`)."""
    if jax.process_count() == 1:
        return mine
    halves = np.ascontiguousarray(mine).view(np.int32)  # devices have no 64 bits; halves lie side by side
    split = jax.make_array_from_process_local_data(sharding.batch_sharding(mesh), halves, (rows, *halves.shape[1:]))
    whole = jax.jit(lambda x: x, out_shardings=sharding.replicated(mesh))(split)
    return np.asarray(whole).view(np.int64)
