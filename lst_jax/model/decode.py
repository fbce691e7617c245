"""Every system one token at a time: the local networks step per token, the global transformer once per finished patch.

    decoder = Decoder.of(model, patch_units=4)
    local, main = decoder.prefill(params, token_BT, doc_id_BT, patch_start_BT, patch_end_BT, units, slots)
    logits_BV, local = decoder.read(params, local, main, on_B)         # of what follows each row's newest token
    local = decoder.encode(params, local, token_B, starts_B, on_B)     # one token more
    main = decoder.advance(params, local, main, on_B)                  # its patch has ended: one global step

Rows are at their own positions, and only rows that are `on` change. Which token starts and ends a patch is the
caller's to say (`lst_jax.generate.loop`): a token that ends its patch is read after `advance`, any other without it,
and a patch that ends without having said so (a short last static patch) is advanced before the token after it is
encoded. Then logits are those of the training forward over the same tokens, for the modules are the same ones.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lst_jax.core.errors import ConfigError
from lst_jax.core.shapes import Array, Bool, Float, Int
from lst_jax.model.cache import Cache
from lst_jax.model.lst import Base, LatentSpeechText, Model, TextBypass
from lst_jax.model.own_patch import gather
from lst_jax.model.patches import Patches, derive_patches


class Local(NamedTuple):
    """What the local networks know of each row; of system "base" only `input_B1D`. R = patches held · units of one."""

    count_B: Array | None  # tokens that went through the local networks
    encoder: tuple[Cache, ...]
    decoder: tuple[Cache, ...]
    state_B1E: Array | None  # the encoder's state of the newest token
    held: tuple[Array, ...]  # [B, R, E]: the newest patches' token states, newest last, one for each cross-attention
    age_BR: Array | None  # of the patch of each: 0 is the newest; NONE where there is no token
    input_B1D: Array | None  # the newest token as it goes past the local networks
    past_B: Array | None  # it does; None where all or no tokens do


class Main(NamedTuple):
    """What the global transformer knows of each row, and what the patch decoder sees of it; R = patches seen · Q."""

    count_B: Array  # patches that have ended
    layers: tuple[Cache, ...]
    output_B1D: Array  # of the newest of them
    seen: tuple[tuple[Array, Array], ...]  # keys and values [B, R, H, K] of each decoder cross-attention
    seen_BU: Array | None  # 1 for each of the patches seen that there is; the newest is last


NONE = 2**20  # an age that no patch in a window has


@dataclasses.dataclass(frozen=True)
class Decoder:
    """A model and the most units of a patch, as pure functions; hashable, to be used as a static argument."""

    module: LatentSpeechText | TextBypass | Base
    patch_units: int

    @classmethod
    def of(cls, model: Model, patch_units: int) -> "Decoder":
        """The decoder of a model that has its parameters whole. Raises: ConfigError where they are in parts."""
        if model.module.placement.gather is not None:
            raise ConfigError("mesh: tokens are generated on one device; build the model on sharding.one_device()")
        module = model.module
        if isinstance(module, TextBypass):
            module = module.clone(row_speech_tokens=None)  # a bound on training rows, not on prompts
        return cls(module, 1 if isinstance(module, Base) else patch_units)

    def prefill(
        self,
        params,
        token_BT: Int[Array, "B T"],
        doc_id_BT: Int[Array, "B T"],
        patch_start_BT: Bool[Array, "B T"],
        patch_end_BT: Bool[Array, "B T"],
        units: int,
        slots: int,
    ) -> tuple[Local, Main]:
        """Reads whole prompts with training's own kernels. A row holds one document from its first position on.

        Args: `units` at least the patches of each row; `slots` at least the patches that a row will ever have.
        """
        return self._apply(
            _PREFILL, params, token_BT, doc_id_BT, patch_start_BT, patch_end_BT, units, slots, self.patch_units
        )

    def encode(
        self, params, local: Local, token_B: Int[Array, "B"], starts_B: Bool[Array, "B"], on_B: Bool[Array, "B"]
    ) -> Local:
        """Adds a token to each row; `starts`: it is the first one of its patch."""
        return self._apply(_ENCODE, params, local, token_B, starts_B, on_B)

    def advance(self, params, local: Local, main: Main, on_B: Bool[Array, "B"]) -> Main:
        """Ends the newest patch of each row: one step of the global transformer."""
        return self._apply(_ADVANCE, params, local, main, on_B, self.patch_units)

    def read(self, params, local: Local, main: Main, on_B: Bool[Array, "B"]) -> tuple[Float[Array, "B V"], Local]:
        """Logits of what follows the newest token. To read twice changes nothing."""
        return self._apply(_READ, params, local, main, on_B)

    def _apply(self, functions, params, *args):
        return self.module.apply({"params": params}, *args, method=functions[type(self.module)])


def as_used(model: Model, params: Any) -> Any:
    """Matrices in the dtype in which `layers.Linear` uses them, once for all steps; embeddings stay as they are."""
    dtype = model.module.config.compute_dtype
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf.astype(dtype) if path[-1].key == "kernel" else leaf, params
    )


def _at(x_BT, place_B: Array) -> Array:
    """`x[b, place[b]]` as a row of one position."""
    return gather(x_BT, place_B[:, None])


def _where(on_B, new, old):
    """Trees of arrays [B, ...]: the new ones in rows that are on."""
    return jax.tree.map(lambda a, b: jnp.where(on_B.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, old)


# the local networks


def _read_prompt(
    encoder, token_BT, doc_id_BT, patches: Patches, patch_units: int, slots: int
) -> tuple[Local, Array, Array]:
    """What is known after whole rows but for the decoder, all token states, and all patch vectors [B, U, Q·E]."""
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
    age_BR = _at(patches.patch_id_BT, count_B - 1) - gather(patches.patch_id_BT, place_BR)
    local = Local(
        count_B,
        tuple(caches),
        (),
        _at(h_BTE, count_B - 1),
        tuple(gather(h, place_BR) for h in states),
        jnp.where(place_BR >= 0, age_BR, NONE),
        None,
        None,
    )
    x_BRE = encoder.patch_vectors(states, patches)
    return local, h_BTE, x_BRE.reshape(*patches.doc_id_BU.shape, -1)


def _show_prompt(
    decoder, local: Local, h_BTE, global_BUD, doc_id_BT, patches: Patches, ended_B, slots: int, patch_units: int
):
    """Runs the decoder over whole rows: `local` with its caches, `Main.seen` and `Main.seen_BU`."""
    queries, (b, u, _) = decoder.config.queries_per_patch, global_BUD.shape
    y_BRE = decoder.patch_outputs(global_BUD)
    window = min(decoder.config.decoder_cross_window, slots)
    unit_BU = ended_B[:, None] + jnp.arange(-window, 0)
    caches, seen = [], []
    for i, layer in enumerate(decoder.layers):
        if i < len(decoder.cross_attn_layers):
            cross = decoder.cross_attn_layers[i]
            pair = cross.keys_values(y_BRE)
            h_BTE = h_BTE + cross.over(h_BTE, *pair, patches)
            seen.append(
                tuple(
                    gather(x.reshape(b, u, queries, *x.shape[2:]), unit_BU).reshape(b, window * queries, *x.shape[2:])
                    for x in pair
                )
            )
        h_BTE, cache = layer.keep(h_BTE, doc_id_BT, local.count_B, slots * patch_units)
        caches.append(cache)
    return local._replace(decoder=tuple(caches)), tuple(seen), (unit_BU >= 0).astype(jnp.int32)


def _encode_token(encoder, local: Local, token_B, starts_B, on_B) -> Local:
    h_B1E = encoder.tok_embeddings(token_B[:, None])
    caches, states = [], []
    for layer, cache in zip(encoder.layers, local.encoder, strict=True):
        h_B1E, cache = layer.step(h_B1E, cache, local.count_B, on_B)
        caches.append(cache)
        states.append(h_B1E)
    age_BR = local.age_BR + starts_B[:, None]
    newer = tuple(
        jnp.concatenate([old_BRE[:, 1:], new_B1E], 1)
        for old_BRE, new_B1E in zip(local.held, states[-len(local.held) :], strict=True)
    )
    age_BR = jnp.concatenate([age_BR[:, 1:], jnp.zeros_like(age_BR[:, :1])], 1)
    state_B1E, held, age_BR = _where(on_B, (h_B1E, newer, age_BR), (local.state_B1E, local.held, local.age_BR))
    return local._replace(
        count_B=local.count_B + on_B, encoder=tuple(caches), state_B1E=state_B1E, held=held, age_BR=age_BR
    )


def _newest_patch(encoder, local: Local, patch_units: int) -> Array:
    """The vector [B, 1, Q·E] of the newest patch, as it is now: the encoder's own rule over the tokens held."""
    window = local.age_BR.shape[1] // patch_units
    id_BR = jnp.where(local.age_BR < window, window - 1 - local.age_BR, window)
    there_BU = (id_BR[:, :, None] == jnp.arange(window)).any(1).astype(jnp.int32)
    x_BRE = encoder.patch_vectors(local.held, Patches(id_BR, id_BR, there_BU))
    return x_BRE.reshape(*there_BU.shape, -1)[:, -1:]


def _decode_token(decoder, local: Local, main: Main, on_B) -> tuple[Array, Local]:
    """The decoder's state [B, 1, E] of the newest token, which sees the patches that have ended."""
    h_B1E, caches, window = local.state_B1E, [], main.seen_BU.shape[1]
    newest_B1 = jnp.where(main.seen_BU[:, -1:] > 0, window - 1, window)
    patches = Patches(newest_B1, newest_B1, main.seen_BU)
    for i, (layer, cache) in enumerate(zip(decoder.layers, local.decoder, strict=True)):
        if i < len(main.seen):
            h_B1E = h_B1E + decoder.cross_attn_layers[i].over(h_B1E, *main.seen[i], patches)
        h_B1E, cache = layer.step(h_B1E, cache, local.count_B - 1, on_B)
        caches.append(cache)
    return decoder.norm(h_B1E), local._replace(decoder=tuple(caches))


def _show(decoder, main: Main, on_B) -> Main:
    """Lets the decoder see the newest global output."""
    y_BQE = decoder.patch_outputs(main.output_B1D)
    seen = []
    for cross, old in zip(decoder.cross_attn_layers, main.seen, strict=True):
        seen.append(
            tuple(
                jnp.concatenate([old_BRHK, new_BQHK], 1)[:, new_BQHK.shape[1] :]
                for old_BRHK, new_BQHK in zip(old, cross.keys_values(y_BQE), strict=True)
            )
        )
    seen_BU = jnp.concatenate([main.seen_BU[:, 1:], jnp.ones_like(main.seen_BU[:, :1])], 1)
    seen, seen_BU = _where(on_B, (tuple(seen), seen_BU), (main.seen, main.seen_BU))
    return main._replace(seen=seen, seen_BU=seen_BU)


# the global transformer


def _transform_prompt(stack, x_BUW, doc_id_BU, ended_B, slots: int) -> tuple[Array, Main]:
    """All global outputs, and what is known after the patches that have ended."""
    x_BUD, caches = stack.inputs(x_BUW), []
    for layer in stack.layers:
        x_BUD, cache = layer.keep(x_BUD, doc_id_BU, ended_B, slots)
        caches.append(cache)
    return x_BUD, Main(ended_B, tuple(caches), _at(x_BUD, ended_B - 1), (), None)


def _transform(stack, main: Main, x_B1W, on_B) -> Main:
    x_B1D, caches = stack.inputs(x_B1W), []
    for layer, cache in zip(stack.layers, main.layers, strict=True):
        x_B1D, cache = layer.step(x_B1D, cache, main.count_B, on_B)
        caches.append(cache)
    return main._replace(
        count_B=main.count_B + on_B, layers=tuple(caches), output_B1D=_where(on_B, x_B1D, main.output_B1D)
    )


def _ended(doc_id_BT, patch_end_BT, doc_id_BU):
    """How many patches have ended: all but the last one of a row whose last token does not end it."""
    last_ends_B = _at(patch_end_BT, (doc_id_BT != 0).sum(1) - 1)[:, 0]
    return (doc_id_BU != 0).sum(1) - ~last_ends_B


# system "lst"


def _lst_prefill(m: LatentSpeechText, token_BT, doc_id_BT, patch_start_BT, patch_end_BT, units, slots, patch_units):
    patches = derive_patches(doc_id_BT, patch_start_BT, patch_end_BT, units)
    ended_B = _ended(doc_id_BT, patch_end_BT, patches.doc_id_BU)
    local, h_BTE, x_BUW = _read_prompt(m.patch_encoder, token_BT, doc_id_BT, patches, patch_units, slots)
    global_BUD, main = _transform_prompt(m.global_transformer, x_BUW, patches.doc_id_BU, ended_B, slots)
    local, seen, seen_BU = _show_prompt(
        m.patch_decoder, local, h_BTE, global_BUD, doc_id_BT, patches, ended_B, slots, patch_units
    )
    return local, main._replace(seen=seen, seen_BU=seen_BU)


def _lst_encode(m: LatentSpeechText, local, token_B, starts_B, on_B):
    return _encode_token(m.patch_encoder, local, token_B, starts_B, on_B)


def _lst_advance(m: LatentSpeechText, local, main, on_B, patch_units):
    main = _transform(m.global_transformer, main, _newest_patch(m.patch_encoder, local, patch_units), on_B)
    return _show(m.patch_decoder, main, on_B)


def _lst_read(m: LatentSpeechText, local, main, on_B):
    h_B1E, local = _decode_token(m.patch_decoder, local, main, on_B)
    return m.logits(h_B1E)[:, 0], local


# system "lst_bypass": text goes past the local networks


def _bypass_prefill(m: TextBypass, token_BT, doc_id_BT, patch_start_BT, patch_end_BT, units, slots, patch_units):
    row, rows = m.rows(token_BT, doc_id_BT, patch_start_BT, patch_end_BT, units)
    local, h_BSE, x_BPW = _read_prompt(
        m.patch_encoder, m.local_ids(rows.token_BS), rows.doc_id_BS, rows.patches, patch_units, slots
    )
    ended_B = _ended(doc_id_BT, patch_end_BT, row.doc_id_BU)
    open_B = (row.doc_id_BU != 0).sum(1) - ended_B  # only a patch of speech can be open
    ended_local_B = (rows.patches.doc_id_BU != 0).sum(1) - open_B
    global_BUD, main = _transform_prompt(
        m.global_transformer, m.global_inputs(token_BT, row, rows, x_BPW), row.doc_id_BU, ended_B, slots
    )
    local, seen, seen_BU = _show_prompt(
        m.patch_decoder,
        local,
        h_BSE,
        gather(global_BUD, rows.unit_id_BP),
        rows.doc_id_BS,
        rows.patches,
        ended_local_B,
        slots,
        patch_units,
    )
    newest_B = _at(token_BT, (doc_id_BT != 0).sum(1) - 1)[:, 0]
    local = local._replace(input_B1D=jnp.zeros_like(main.output_B1D), past_B=newest_B < m.vocab.speech_marker)
    return local, main._replace(seen=seen, seen_BU=seen_BU)


def _bypass_encode(m: TextBypass, local, token_B, starts_B, on_B):
    past_B, none = token_B < m.vocab.speech_marker, m.vocab.speech_marker
    local = _encode_token(m.patch_encoder, local, m.local_ids(token_B), starts_B, on_B & ~past_B)
    input_B1D = m.text_embeddings(jnp.minimum(token_B, none - 1)[:, None])
    return local._replace(
        input_B1D=_where(on_B, input_B1D, local.input_B1D), past_B=jnp.where(on_B, past_B, local.past_B)
    )


def _bypass_advance(m: TextBypass, local, main, on_B, patch_units):
    x_B1W = _newest_patch(m.patch_encoder, local, patch_units)
    main = _transform(m.global_transformer, main, _where(local.past_B, local.input_B1D, m.widened(x_B1W)), on_B)
    return _show(m.patch_decoder, main, on_B & ~local.past_B)


def _bypass_read(m: TextBypass, local, main, on_B):
    h_B1E, local = _decode_token(m.patch_decoder, local, main, on_B & ~local.past_B)
    h_B1D = _where(local.past_B, m.text_norm(main.output_B1D), m.speech_projection(h_B1E))
    return m.logits(h_B1D)[:, 0], local


# system "base": every token is a patch, and nothing is local


def _base_prefill(m: Base, token_BT, doc_id_BT, patch_start_BT, patch_end_BT, units, slots, patch_units):
    x_BTD = m.tok_embeddings(token_BT)
    _, main = _transform_prompt(m.global_transformer, x_BTD, doc_id_BT, (doc_id_BT != 0).sum(1), slots)
    return Local(None, (), (), None, (), None, x_BTD[:, -1:], None), main


def _base_encode(m: Base, local, token_B, starts_B, on_B):
    return local._replace(input_B1D=_where(on_B, m.tok_embeddings(token_B[:, None]), local.input_B1D))


def _base_advance(m: Base, local, main, on_B, patch_units):
    return _transform(m.global_transformer, main, local.input_B1D, on_B)


def _base_read(m: Base, local, main, on_B):
    return m.logits(m.norm(main.output_B1D))[:, 0], local


_PREFILL = {LatentSpeechText: _lst_prefill, TextBypass: _bypass_prefill, Base: _base_prefill}
_ENCODE = {LatentSpeechText: _lst_encode, TextBypass: _bypass_encode, Base: _base_encode}
_ADVANCE = {LatentSpeechText: _lst_advance, TextBypass: _bypass_advance, Base: _base_advance}
_READ = {LatentSpeechText: _lst_read, TextBypass: _bypass_read, Base: _base_read}
