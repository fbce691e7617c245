"""How many devices each axis of the mesh gets, and what that asks of a recipe. Knows no JAX: `lst launch` needs it."""

from typing import NamedTuple

from lst_jax.config.schema import Config, MeshConfig
from lst_jax.core.errors import ConfigError
from lst_jax.core.strict import fail


class MeshSizes(NamedTuple):
    """Parts along each axis (`lst_jax.parallel.sharding`)."""

    replica: int
    data: int
    tensor: int


def mesh_sizes(config: MeshConfig, devices: int, slices: int) -> MeshSizes:
    """The sizes for so many devices in so many slices of TPUs, which only the replica axis may cross.

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


def check(config: Config, sizes: MeshSizes) -> None:
    """Refuses rows, widths and heads that the mesh does not divide. Raises: ConfigError naming the field."""
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
        for what, size in (
            (f"model.{name}.heads", stack.heads),
            ("model.cross_heads", model.cross_heads),
            ("the feed-forward width", model.ffn_width(stack.width)),
        ):
            if size % tensor:
                fail("mesh.tensor", tensor, f"must divide {what}={size}", "use 1")
