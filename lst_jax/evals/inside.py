"""What a model computes inside, by its own modules: inputs of the global transformer, and every layer's outputs."""

from typing import Any

import jax
import jax.numpy as jnp

from lst_jax.config import Config
from lst_jax.errors import ConfigError
from lst_jax.model.layers import Block, Linear
from lst_jax.model.lst import Embedding, PatchEncoder
from lst_jax.model.patches import derive_patches
from lst_jax.model.placement import ONE_DEVICE
from lst_jax.shapes import Array, Bool, Float, Int


def global_states(config: Config, params: Any, token_BT: Int[Array, "B T"], doc_id_BT: Int[Array, "B T"],
                  patch_start_BT: Bool[Array, "B T"],
                  patch_end_BT: Bool[Array, "B T"]) -> tuple[Float[Array, "N B U D"], Int[Array, "B T"]]:
    """States of all unit positions: [0] as they enter the global transformer, [i] behind its layer i; and each token's.

    The second result is the unit position of each token, U for padding; U = T.
    Raises: ConfigError for system "lst_bypass".
    """
    m, vocab, t = config.model, config.joint_vocab, token_BT.shape[1]
    patches = derive_patches(doc_id_BT, patch_start_BT, patch_end_BT, t)
    if m.system == "lst_bypass":
        raise ConfigError('model.system="lst_bypass": text and speech enter by different ways, which the probe does '
                          "not know; use a run of system lst or base")
    if m.system == "base":
        x_BUD = Embedding(m, ONE_DEVICE, vocab.size, m.global_transformer.width, name="tok_embeddings").apply(
            {"params": params["tok_embeddings"]}, token_BT)
        doc_id_BU, unit_BT = doc_id_BT, jnp.where(doc_id_BT != 0, jnp.arange(t), t)
    else:
        _, x_BUD = PatchEncoder(m, ONE_DEVICE, vocab.size).apply({"params": params["patch_encoder"]}, token_BT,
                                                                 doc_id_BT, patches)
        doc_id_BU, unit_BT = patches.doc_id_BU, patches.patch_id_BT
    stack, weights = m.global_transformer, params["global_transformer"]
    if x_BUD.shape[-1] != stack.width:
        name = "token_embedding_projection"
        x_BUD = Linear(m, ONE_DEVICE, stack.width, name=name).apply({"params": weights[name]}, x_BUD)
    states = [x_BUD]
    for layer in range(stack.layers):
        x_BUD = Block(m, ONE_DEVICE, stack).apply({"params": weights[f"layers_{layer}"]}, x_BUD, doc_id_BU)
        states.append(x_BUD)
    return jnp.stack(states), unit_BT


global_states_jit = jax.jit(global_states, static_argnums=0)
