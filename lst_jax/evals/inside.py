"""What a model computes inside, by its own modules: inputs of the global transformer, and every layer's outputs."""

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
    """States of all unit positions: [0] as they enter the global transformer, [i] behind its layer i; and each token's.

    The second result is the unit position of each token, U for padding; U = T.
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
