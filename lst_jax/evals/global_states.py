"""The states inside the global transformer, computed by the model's own modules: its inputs, and each layer's output."""

from typing import Any

import jax
import jax.numpy as jnp

from lst_jax.config import Config
from lst_jax.core.shapes import Array, Bool, Float, Int
from lst_jax.model.architectures.architecture import Architecture
from lst_jax.model.architectures.registry import build


def global_states(
    config: Config,
    params: Any,
    token_BT: Int[Array, "B T"],
    doc_id_BT: Int[Array, "B T"],
    patch_start_BT: Bool[Array, "B T"],
    patch_end_BT: Bool[Array, "B T"],
) -> tuple[Float[Array, "N B U D"], Int[Array, "B T"]]:
    """Returns: the states of all patch positions by layer, and the patch position of each token.

    States [0] are the inputs of the global transformer, states [i] the outputs of its layer i. Padding has the patch
    position U; here U = T.
    """
    model = build(config.model, config.joint_vocab, token_BT.shape[1])
    return model.apply({"params": params}, token_BT, doc_id_BT, patch_start_BT, patch_end_BT, method=_states)


global_states_jit = jax.jit(global_states, static_argnums=0)


def _states(model: Architecture, token_BT, doc_id_BT, patch_start_BT, patch_end_BT):
    before, stack = model.before_global(token_BT, doc_id_BT, patch_start_BT, patch_end_BT), model.global_transformer
    states = [stack.inputs(before.x_BUW)]
    for layer in stack.layers:
        states.append(layer(states[-1], before.doc_id_BU))
    return jnp.stack(states), before.patch_id_BT
