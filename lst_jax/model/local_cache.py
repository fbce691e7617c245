"""Token-by-token steps of the patch encoder and the patch decoder, for generation.

The functions take the training modules themselves, so that a step computes what the forward pass over the same tokens
computes. R is the number of token states held: the patches of a window times the units of the longest patch.
"""

from typing import NamedTuple

import jax.numpy as jnp

from lst_jax.core.shapes import Array
from lst_jax.model.cache import Cache, at_position, where_on
from lst_jax.model.global_cache import GlobalState
from lst_jax.model.networks import PatchDecoder, PatchEncoder
from lst_jax.model.patch_rows import gather
from lst_jax.model.patches import Patches

NO_PATCH = 2**20  # an age that no patch in a window has


class LocalState(NamedTuple):
    """What the local networks know of each row. An architecture without them uses `direct_input_B1D` alone."""

    token_count_B: Array | None  # tokens that passed the local networks
    encoder_caches: tuple[Cache, ...]
    decoder_caches: tuple[Cache, ...]
    newest_state_B1E: Array | None  # the encoder's state of the newest token
    recent_states: tuple[Array, ...]  # [B, R, E] for each cross-attention: states of the latest patches, newest last
    patch_age_BR: Array | None  # age of the patch of each of them: 0 is the newest; NO_PATCH where there is no token
    direct_input_B1D: Array | None  # the newest token's input to the global transformer, past the local networks
    bypasses_B: Array | None  # whether the newest token goes past them; None where all or no tokens do


def without_local_networks(input_B1D: Array) -> LocalState:
    """The state of an architecture whose tokens all enter the global transformer directly."""
    return LocalState(None, (), (), None, (), None, input_B1D, None)


def read_prompt(
    encoder: PatchEncoder, token_BT, doc_id_BT, patches: Patches, patch_units: int, slots: int
) -> tuple[LocalState, Array, Array]:
    """Runs the encoder over whole prompts.

    Returns: the state but for the decoder's part, all token states [B, T, E], all patch vectors [B, U, Q·E].
    """
    count_B = (doc_id_BT != 0).sum(1)
    h_BTE = encoder.tok_embeddings(token_BT)
    caches, states = [], []
    for layer in encoder.layers:
        h_BTE, cache = layer.keep(h_BTE, doc_id_BT, count_B, slots * patch_units)
        caches.append(cache)
        states.append(h_BTE)
    states = states[-len(encoder.cross_attn_layers) :]
    size = min(encoder.config.encoder_cross_window, slots) * patch_units
    place_BR = count_B[:, None] + jnp.arange(-size, 0)
    age_BR = at_position(patches.patch_id_BT, count_B - 1) - gather(patches.patch_id_BT, place_BR)
    local = LocalState(
        token_count_B=count_B,
        encoder_caches=tuple(caches),
        decoder_caches=(),
        newest_state_B1E=at_position(h_BTE, count_B - 1),
        recent_states=tuple(gather(h, place_BR) for h in states),
        patch_age_BR=jnp.where(place_BR >= 0, age_BR, NO_PATCH),
        direct_input_B1D=None,
        bypasses_B=None,
    )
    return local, h_BTE, encoder.patch_vectors(states, patches)


def decode_prompt(
    decoder: PatchDecoder,
    local: LocalState,
    main: GlobalState,
    h_BTE,
    global_BUD,
    doc_id_BT,
    patches: Patches,
    ended_B,
    slots: int,
    patch_units: int,
) -> tuple[LocalState, GlobalState]:
    """Runs the decoder over whole prompts: both states with what the decoder's next steps need.

    Args: `global_BUD` and `patches` are those of the tokens in `h_BTE`, `ended_B` how many of these patches have ended.
    """
    queries, (b, u, _) = decoder.config.queries_per_patch, global_BUD.shape
    y_BRE = decoder.patch_outputs(global_BUD)
    window = min(decoder.config.decoder_cross_window, slots)
    patch_BU = ended_B[:, None] + jnp.arange(-window, 0)

    def in_window(x_BRHK):
        x_BUQHK = gather(x_BRHK.reshape(b, u, queries, *x_BRHK.shape[2:]), patch_BU)
        return x_BUQHK.reshape(b, window * queries, *x_BRHK.shape[2:])

    caches, visible = [], []
    for i, layer in enumerate(decoder.layers):
        if i < len(decoder.cross_attn_layers):
            cross = decoder.cross_attn_layers[i]
            keys_values = cross.keys_values(y_BRE)
            h_BTE = h_BTE + cross.over(h_BTE, *keys_values, patches)
            visible.append(tuple(map(in_window, keys_values)))
        h_BTE, cache = layer.keep(h_BTE, doc_id_BT, local.token_count_B, slots * patch_units)
        caches.append(cache)
    return local._replace(decoder_caches=tuple(caches)), main._replace(
        visible_keys_values=tuple(visible), visible_BU=(patch_BU >= 0).astype(jnp.int32)
    )


def encode_token(encoder: PatchEncoder, local: LocalState, token_B, starts_B, on_B) -> LocalState:
    """The state with one token more in rows that are on; `starts`: the token is the first one of its patch."""
    h_B1E = encoder.tok_embeddings(token_B[:, None])
    caches, states = [], []
    for layer, cache in zip(encoder.layers, local.encoder_caches, strict=True):
        h_B1E, cache = layer.step(h_B1E, cache, local.token_count_B, on_B)
        caches.append(cache)
        states.append(h_B1E)
    age_BR = local.patch_age_BR + starts_B[:, None]
    recent = tuple(
        jnp.concatenate([old_BRE[:, 1:], new_B1E], 1)
        for old_BRE, new_B1E in zip(local.recent_states, states[-len(local.recent_states) :], strict=True)
    )
    age_BR = jnp.concatenate([age_BR[:, 1:], jnp.zeros_like(age_BR[:, :1])], 1)
    state_B1E, recent, age_BR = where_on(
        on_B, (h_B1E, recent, age_BR), (local.newest_state_B1E, local.recent_states, local.patch_age_BR)
    )
    return local._replace(
        token_count_B=local.token_count_B + on_B,
        encoder_caches=tuple(caches),
        newest_state_B1E=state_B1E,
        recent_states=recent,
        patch_age_BR=age_BR,
    )


def newest_patch_vector(encoder: PatchEncoder, local: LocalState, patch_units: int) -> Array:
    """The vector [B, 1, Q·E] of the newest patch as it is now, by the encoder's own rule over the tokens held."""
    window = local.patch_age_BR.shape[1] // patch_units
    id_BR = jnp.where(local.patch_age_BR < window, window - 1 - local.patch_age_BR, window)
    there_BU = (id_BR[:, :, None] == jnp.arange(window)).any(1).astype(jnp.int32)
    return encoder.patch_vectors(local.recent_states, Patches(id_BR, id_BR, there_BU))[:, -1:]


def decode_token(decoder: PatchDecoder, local: LocalState, main: GlobalState, on_B) -> tuple[Array, LocalState]:
    """The decoder's normed state [B, 1, E] of the newest token, which sees the patches that have ended."""
    h_B1E, caches, window = local.newest_state_B1E, [], main.visible_BU.shape[1]
    newest_B1 = jnp.where(main.visible_BU[:, -1:] > 0, window - 1, window)
    patches = Patches(newest_B1, newest_B1, main.visible_BU)
    for i, (layer, cache) in enumerate(zip(decoder.layers, local.decoder_caches, strict=True)):
        if i < len(main.visible_keys_values):
            h_B1E = h_B1E + decoder.cross_attn_layers[i].over(h_B1E, *main.visible_keys_values[i], patches)
        h_B1E, cache = layer.step(h_B1E, cache, local.token_count_B - 1, on_B)
        caches.append(cache)
    return decoder.norm(h_B1E), local._replace(decoder_caches=tuple(caches))


def show_newest_patch(decoder: PatchDecoder, main: GlobalState, on_B) -> GlobalState:
    """The state after which the decoder sees the newest global output of rows that are on."""
    y_BQE = decoder.patch_outputs(main.newest_output_B1D)
    visible = []
    for cross, old in zip(decoder.cross_attn_layers, main.visible_keys_values, strict=True):
        visible.append(
            tuple(
                jnp.concatenate([old_BRHK, new_BQHK], 1)[:, new_BQHK.shape[1] :]
                for old_BRHK, new_BQHK in zip(old, cross.keys_values(y_BQE), strict=True)
            )
        )
    visible_BU = jnp.concatenate([main.visible_BU[:, 1:], jnp.ones_like(main.visible_BU[:, :1])], 1)
    visible, visible_BU = where_on(on_B, (tuple(visible), visible_BU), (main.visible_keys_values, main.visible_BU))
    return main._replace(visible_keys_values=visible, visible_BU=visible_BU)
