"""What a model computes inside, by its own modules: inputs of the global transformer, and every layer's outputs."""

from typing import Any

import jax
import jax.numpy as jnp

from lst_jax.config import Config
from lst_jax.model.lst import Base, LatentSpeechText, TextBypass, build
from lst_jax.model.patches import derive_patches
from lst_jax.shapes import Array, Bool, Float, Int


def global_states(config: Config, params: Any, token_BT: Int[Array, "B T"], doc_id_BT: Int[Array, "B T"],
                  patch_start_BT: Bool[Array, "B T"],
                  patch_end_BT: Bool[Array, "B T"]) -> tuple[Float[Array, "N B U D"], Int[Array, "B T"]]:
    """States of all unit positions: [0] as they enter the global transformer, [i] behind its layer i; and each token's.

    The second result is the unit position of each token, U for padding; U = T.
    """
    module = build(config.model, config.joint_vocab, token_BT.shape[1]).module
    return module.apply({"params": params}, token_BT, doc_id_BT, patch_start_BT, patch_end_BT,
                        method=_STATES[type(module)])


global_states_jit = jax.jit(global_states, static_argnums=0)


def _lst(m: LatentSpeechText, token_BT, doc_id_BT, patch_start_BT, patch_end_BT):
    patches = derive_patches(doc_id_BT, patch_start_BT, patch_end_BT, m.row_units)
    _, x_BUW = m.patch_encoder(token_BT, doc_id_BT, patches)
    return _through(m.global_transformer, x_BUW, patches.doc_id_BU), patches.patch_id_BT


def _bypass(m: TextBypass, token_BT, doc_id_BT, patch_start_BT, patch_end_BT):
    row, local = m.rows(token_BT, doc_id_BT, patch_start_BT, patch_end_BT, m.row_units)
    _, x_BPW = m.encode(local)
    return _through(m.global_transformer, m.global_inputs(token_BT, row, local, x_BPW), row.doc_id_BU), row.patch_id_BT


def _base(m: Base, token_BT, doc_id_BT, patch_start_BT, patch_end_BT):
    t = token_BT.shape[1]
    states = _through(m.global_transformer, m.tok_embeddings(token_BT), doc_id_BT)
    return states, jnp.where(doc_id_BT != 0, jnp.arange(t), t)


def _through(stack, x_BUW, doc_id_BU):
    states = [stack.inputs(x_BUW)]
    for layer in stack.layers:
        states.append(layer(states[-1], doc_id_BU))
    return jnp.stack(states)


_STATES = {LatentSpeechText: _lst, TextBypass: _bypass, Base: _base}
