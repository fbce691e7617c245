"""The states inside the global transformer, computed by the model's own modules: its inputs, and each layer's output."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from lst_jax.config import Config
from lst_jax.core.shapes import Array, Bool, Float, Int
from lst_jax.model.architectures.architecture import Architecture
from lst_jax.model.architectures.registry import build
from lst_jax.model.placement import ONE_DEVICE, Placement
from lst_jax.parallel import sharding


def global_states(
    config: Config,
    params: Any,
    token_BT: Int[Array, "B T"],
    doc_id_BT: Int[Array, "B T"],
    patch_start_BT: Bool[Array, "B T"],
    patch_end_BT: Bool[Array, "B T"],
    placement: Placement = ONE_DEVICE,
) -> tuple[Float[Array, "N B U D"], Int[Array, "B T"]]:
    """Returns: the states of all patch positions by layer, and the patch position of each token.

    States [0] are the inputs of the global transformer, states [i] the outputs of its layer i. Padding has the patch
    position U; here U = T.
    """
    model = build(config.model, config.joint_vocab, token_BT.shape[1], placement=placement)
    return model.apply({"params": params}, token_BT, doc_id_BT, patch_start_BT, patch_end_BT, method=_states)


@functools.partial(jax.jit, static_argnums=(0, 1))
def global_states_on(config: Config, mesh: Mesh, params: Any, *rows):
    """`global_states` of parameters on a mesh, whose parts divide the rows."""

    def on_device(params, *rows):
        return global_states(config, params, *rows, placement=sharding.placement(mesh))

    split = sharding.batch_sharding(mesh).spec
    specs = sharding.parameter_specs(params), *[split] * len(rows)
    return sharding.each_device(on_device, mesh, specs, (PartitionSpec(None, *split), split))(params, *rows)


def _states(model: Architecture, token_BT, doc_id_BT, patch_start_BT, patch_end_BT):
    before, stack = model.before_global(token_BT, doc_id_BT, patch_start_BT, patch_end_BT), model.global_transformer
    states = [stack.inputs(before.x_BUW)]
    for layer in stack.layers:
        states.append(layer(states[-1], before.doc_id_BU))
    return jnp.stack(states), before.patch_id_BT
