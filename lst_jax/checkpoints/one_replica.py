"""Reading a checkpoint by one replica of the mesh alone: the others, in other slices, get it over the network between slices.

By default each process reads what its devices need, so every slice reads the whole checkpoint. That is as fast as long as the
bucket keeps up. With many slices, `train.restore_one_replica` reads each byte once.
"""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lst_jax.checkpoints.quiet import quiet_orbax
from lst_jax.core.errors import ConfigError
from lst_jax.parallel import processes
from lst_jax.parallel.sharding import REPLICA

BITS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}  # by the bytes of an element


def check(mesh: jax.sharding.Mesh) -> None:
    """Raises: ConfigError where a process has devices of two replicas, or there is but one."""
    replicas = mesh.devices.reshape(mesh.shape[REPLICA], -1)
    processes = [{device.process_index for device in row} for row in replicas]
    if sum(map(len, processes)) != len(set().union(*processes)) or len(processes) == 1:
        raise ConfigError(
            f"train.restore_one_replica=True: needs several replicas of the mesh with processes of their own, not "
            f"{len(processes)} replica(s) on {jax.process_count()} process(es); use False"
        )


def restore(folder: Any, like: Any, reading: contextlib.AbstractContextManager) -> Any:
    """Reads the item in `folder`, which Orbax can open, into the shapes and shardings of `like`.

    Args: `reading` turns what is raised while files are read into errors of ours.
    Raises: what `reading` raises, in all processes, so that none waits for arrays that do not come.
    """
    leaves, tree = jax.tree.flatten(like)
    mesh = leaves[0].sharding.mesh
    first = Mesh(mesh.devices[:1], mesh.axis_names)
    readers = {device.process_index for device in first.devices.flat}
    read: list[Any] = [None] * len(leaves)
    with processes.barrier({}), reading:
        if jax.process_index() in readers:
            read = jax.tree.leaves(_read(folder, like, first, readers))
    for index, leaf in enumerate(leaves):  # one at a time: each is there twice while it is sent
        read[index] = _sent(read[index], leaf)
    return jax.tree.unflatten(tree, read)


def _read(folder: Any, like: Any, first: Mesh, readers: set[int]) -> Any:
    """The item on the devices of the first replica, whose processes alone take part."""
    args = jax.tree.map(
        lambda x: ocp.ArrayRestoreArgs(
            sharding=NamedSharding(first, x.sharding.spec), global_shape=x.shape, dtype=x.dtype
        ),
        like,
    )
    options = ocp.options.MultiprocessingOptions(
        primary_host=min(readers), active_processes=readers, barrier_sync_key_prefix="one_replica"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=options)
    with quiet_orbax(), ocp.Checkpointer(handler, multiprocessing_options=options) as checkpointer:
        return checkpointer.restore(folder, args=ocp.args.PyTreeRestore(like, args))


def _sent(read: jax.Array | None, like: jax.ShapeDtypeStruct) -> jax.Array:
    """The array in all replicas, from the first one's; None where this process is of another.

    Bits are added to zeros, as integers: of floating numbers, -0 + 0 would be 0, and no longer what was saved.
    """
    mesh, spec = like.sharding.mesh, like.sharding.spec
    own = {} if read is None else {shard.device: shard.data for shard in _to_bits(read).addressable_shards}
    stacked = NamedSharding(mesh, PartitionSpec(REPLICA, *spec))
    shape = (mesh.shape[REPLICA], *like.shape)
    local = stacked.shard_shape(shape)
    parts = [
        own[device][None] if device in own else jnp.zeros(local, jnp.uint32, device=device)
        for device in stacked.addressable_devices
    ]
    whole = jax.make_array_from_single_device_arrays(shape, stacked, parts)
    add = jax.jit(_add_and_restore, static_argnums=1, out_shardings=NamedSharding(mesh, spec))
    return jax.device_put(add(whole, like.dtype), like.sharding)  # moments may belong into the host's memory


@jax.jit
def _to_bits(array: jax.Array) -> jax.Array:
    """The bits of each element as a uint32."""
    if array.dtype == jnp.bool_:
        return array.astype(jnp.uint32)
    return jax.lax.bitcast_convert_type(array, BITS[array.dtype.itemsize]).astype(jnp.uint32)


def _add_and_restore(bits: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """The sum over the first axis, whose bits are an element's."""
    total = bits.sum(0, dtype=jnp.uint32)
    if dtype == jnp.bool_:
        return total.astype(jnp.bool_)
    return jax.lax.bitcast_convert_type(total.astype(BITS[dtype.itemsize]), dtype)
