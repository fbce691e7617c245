"""How many devices each axis of the mesh gets, and which recipes such a mesh can train.

It does not import JAX, because `lst launch` needs it.
"""

import dataclasses
from typing import NamedTuple

from lst_jax.config.schema import Config, MeshConfig
from lst_jax.core.errors import ConfigError
from lst_jax.core.strict import fail


class MeshSizes(NamedTuple):
    """The number of parts along each axis of the mesh (`lst_jax.parallel.sharding`)."""

    replica: int
    data: int
    tensor: int


def mesh_sizes(config: MeshConfig, devices: int, slices: int) -> MeshSizes:
    """The sizes for a number of devices in a number of TPU slices. Only the replica axis may cross slices.

    Raises: ConfigError where the numbers do not multiply to the devices.
    Example: mesh_sizes(MeshConfig(None, None, 2), 16, 2) -> (2, 4, 2)
    """
    replica = slices if config.replica is None else config.replica
    if replica % slices:
        fail("mesh.replica", replica, f"must be a multiple of the {slices} slices", f"use {slices}, or None")
    data = max(1, devices // (replica * config.tensor)) if config.data is None else config.data
    if replica * data * config.tensor != devices:
        raise ConfigError(
            f"mesh.data={config.data}: replica {replica} × data {data} × tensor {config.tensor} must be "
            f"the {devices} devices; use None, and numbers that divide them"
        )
    return MeshSizes(replica, data, config.tensor)


def sizes_to_use(config: Config, asked: MeshConfig | None, devices: int) -> MeshSizes:
    """The sizes for a trained model that answers, on some or all of a process's devices.

    Args: `asked` is taken or refused. None = the run's own mesh where it suits all devices; else as many of its tensor
        parts as suit, and then as many data parts.
    Raises: ConfigError where `asked` does not suit.
    Example: a run with mesh.data=64, mesh.tensor=4 on 8 devices -> (1, 2, 4)
    """
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, accumulate=1))
    mesh = config.mesh if asked is None else asked
    try:
        parts = (mesh.replica or 1) * mesh.tensor
        wanted = parts * (mesh.data or max(1, devices // parts))
        sizes = mesh_sizes(mesh, devices if asked is None else min(devices, wanted), 1)
        check(config, sizes)
        return sizes
    except ConfigError:
        if asked is not None:
            raise
    for tensor in (n for n in range(mesh.tensor, 0, -1) if mesh.tensor % n == 0):
        for data in range(devices // tensor, 0, -1):
            if _suits(config, MeshSizes(1, data, tensor)):
                return MeshSizes(1, data, tensor)
    return MeshSizes(1, 1, 1)


def in_parts(config: Config, sizes: MeshSizes) -> Config:
    """The configuration that such a mesh computes: with as many parts of a batch as `train.rows_at_once` needs.

    Example: 32 rows on 4 devices, rows_at_once=4, accumulate=1 -> accumulate=2
    Raises: ConfigError, as `check` does.
    """
    check(config, sizes)
    own, most = config.train.accumulate, config.train.rows_at_once
    rows = config.data.rows // (sizes.replica * sizes.data)
    if most is None or rows // own <= most:
        return config
    parts = next(n for n in range(own, rows + 1) if rows % n == 0 and rows // n <= most)
    return dataclasses.replace(config, train=dataclasses.replace(config.train, accumulate=parts))


def _suits(config: Config, sizes: MeshSizes) -> bool:
    try:
        check(config, sizes)
    except ConfigError:
        return False
    return True


def check(config: Config, sizes: MeshSizes) -> None:
    """Checks that the mesh divides the rows, widths and heads. Raises: ConfigError naming the field."""
    replica, data, tensor = sizes
    rows = replica * data * config.train.accumulate
    if config.data.rows % rows:
        raise ConfigError(
            f"data.rows={config.data.rows}: must be a multiple of {rows}: {replica * data} parts of the "
            f"mesh × train.accumulate={config.train.accumulate}; use "
            f"{-(-config.data.rows // rows) * rows}, or fewer devices"
        )
    model = config.model
    for name in ("patch_encoder", "global_transformer", "patch_decoder"):
        stack = getattr(model, name)
        if stack is None:
            continue
        if stack.width % data:
            fail(
                "mesh.data",
                data,
                f"must divide model.{name}.width={stack.width}",
                "use a smaller one, and a larger mesh.replica",
            )
        if tensor > 1 and stack.qk_norm == "all_heads":
            fail(
                "mesh.tensor", tensor, f"splits the heads that model.{name}.qk_norm='all_heads' norms together", "use 1"
            )
        for what, size in (
            (f"model.{name}.heads", stack.heads),
            ("model.cross_heads", model.cross_heads),
            ("the feed-forward width", model.ffn_width_of(stack)),
        ):
            if size % tensor:
                fail("mesh.tensor", tensor, f"must divide {what}={size}", "use 1")
