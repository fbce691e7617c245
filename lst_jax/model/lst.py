"""The systems: the Latent Speech-Text Transformer (paper §4), the same with text going past the local modules, and the
Llama-shaped Base without patches (paper §7).

    model = build(config.model, config.joint_vocab, config.data.row_patches, config.data.row_speech_tokens)
    params = model.init_params(jax.random.key(0))
    h_BTE = model.hidden(params, token_BT, doc_id_BT, patch_start_BT, patch_end_BT)
    logits_BTV = model.logits(params, h_BTE)         # or chunk by chunk, as the loss does
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from lst_jax.config import Config, ModelConfig
from lst_jax.core.errors import ConfigError
from lst_jax.core.shapes import Array, Bool, Float, Int, ndarray
from lst_jax.core.vocab import Vocab
from lst_jax.model.cross_attention import CrossAttention
from lst_jax.model.layers import Block, Linear, RMSNorm, stored, truncated_normal
from lst_jax.model.own_patch import gather
from lst_jax.model.patches import LocalRows, Patches, derive_patches, gather_local, max_pool
from lst_jax.model.placement import ONE_DEVICE, Placement
from lst_jax.model.stack import run_layers

AnyInt = Int[Array | ndarray, "B T"]
AnyBool = Bool[Array | ndarray, "B T"]


class Embedding(nn.Module):
    """Token ids to vectors in the compute dtype."""

    config: ModelConfig
    placement: Placement
    vocab_size: int
    width: int

    @nn.compact
    def __call__(self, token_BT: Int[Array, "B T"]) -> Float[Array, "B T E"]:
        """Looks the ids up. The table stays in float32: in bfloat16 a frequent token's gradients would not add up."""
        table_VE = stored(self, "embedding", truncated_normal(self.width), (self.vocab_size, self.width))
        return self.placement.matrix(self.name, table_VE)[token_BT].astype(self.config.compute_dtype)


class PatchEncoder(nn.Module):
    """Tokens to token states [B, T, E] and patch vectors [B, U, Q·E]."""

    config: ModelConfig
    placement: Placement
    vocab_size: int

    def setup(self):
        """One cross-attention after every layer, or after the last only."""
        stack = self.config.patch_encoder
        self.tok_embeddings = Embedding(self.config, self.placement, self.vocab_size, stack.width)
        self.layers = [Block(self.config, self.placement, stack) for _ in range(stack.layers)]
        patch_width = self.config.queries_per_patch * stack.width
        self.patch_embedding_projection = Linear(self.config, self.placement, patch_width)
        self.cross_attn_layers = [
            CrossAttention(self.config, self.placement, self.config.encoder_cross_window, queries_are_patches=True)
            for _ in range(stack.layers if self.config.encoder_cross_all_layers else 1)
        ]

    def __call__(
        self, token_BT: Int[Array, "B T"], doc_id_BT: Int[Array, "B T"], patches: Patches
    ) -> tuple[Float[Array, "B T E"], Float[Array, "B U QE"]]:
        """The queries of a patch start from the max-pool of its token states at the first cross-attention."""
        b, u = patches.doc_id_BU.shape
        h_BTE = self.tok_embeddings(token_BT)
        first_cross = len(self.layers) - len(self.cross_attn_layers)
        h_BTE = run_layers(
            self.config,
            lambda h_BTE, block: block(h_BTE, doc_id_BT),
            [(layer,) for layer in self.layers[: first_cross + 1]],
            h_BTE,
        )
        x_BRE = self.patch_vectors([h_BTE], patches)

        def layer_with_cross(states, block, cross):
            h_BTE = block(states[0], doc_id_BT)
            return h_BTE, states[1] + cross(states[1], h_BTE, patches)

        rest = list(zip(self.layers[first_cross + 1 :], self.cross_attn_layers[1:], strict=True))
        if rest:
            h_BTE, x_BRE = run_layers(self.config, layer_with_cross, rest, (h_BTE, x_BRE))
        return h_BTE, x_BRE.reshape(b, u, -1)

    def patch_vectors(self, states: Sequence[Float[Array, "B T E"]], patches: Patches) -> Float[Array, "B R E"]:
        """The Q vectors of each patch after one cross-attention for each of the token states, from the first one on."""
        b, u = patches.doc_id_BU.shape
        pooled_BUE = max_pool(states[0], patches.patch_id_BT, u)
        x_BRE = self.patch_embedding_projection(pooled_BUE).reshape(b, -1, states[0].shape[-1])
        for cross, h_BTE in zip(self.cross_attn_layers, states, strict=False):
            x_BRE = x_BRE + cross(x_BRE, h_BTE, patches)
        return x_BRE


class GlobalTransformer(nn.Module):
    """The large stack over patches, or over tokens in Base; no final norm."""

    config: ModelConfig
    placement: Placement

    def setup(self):
        """The projection is there for inputs of another width only."""
        stack = self.config.global_transformer
        self.token_embedding_projection = Linear(self.config, self.placement, stack.width)
        self.layers = [Block(self.config, self.placement, stack) for _ in range(stack.layers)]

    def __call__(self, x_BUW: Float[Array, "B U W"], doc_id_BU: Int[Array, "B U"]) -> Float[Array, "B U D"]:
        """Projects inputs of another width first."""
        return run_layers(
            self.config,
            lambda x_BUD, block: block(x_BUD, doc_id_BU),
            [(layer,) for layer in self.layers],
            self.inputs(x_BUW),
        )

    def inputs(self, x_BUW: Float[Array, "B U W"]) -> Float[Array, "B U D"]:
        """What the first layer reads."""
        if x_BUW.shape[-1] == self.config.global_transformer.width:
            return x_BUW
        return self.token_embedding_projection(x_BUW)


class PatchDecoder(nn.Module):
    """Token states and global outputs to the states that the logits are read from."""

    config: ModelConfig
    placement: Placement
    vocab_size: int

    def setup(self):
        """One cross-attention before every layer, or before the first only."""
        stack, global_width = self.config.patch_decoder, self.config.global_transformer.width
        if global_width != stack.width:
            patch_width = self.config.queries_per_patch * stack.width
            self.patch_embedding_projection = Linear(self.config, self.placement, patch_width)
        self.layers = [Block(self.config, self.placement, stack) for _ in range(stack.layers)]
        self.cross_attn_layers = [
            CrossAttention(self.config, self.placement, self.config.decoder_cross_window, queries_are_patches=False)
            for _ in range(stack.layers if self.config.decoder_cross_all_layers else 1)
        ]
        self.norm = RMSNorm(self.config)
        self.output = Linear(self.config, ONE_DEVICE, self.vocab_size, dtype="float32")

    def __call__(
        self,
        h_BTE: Float[Array, "B T E"],
        global_BUD: Float[Array, "B U D"],
        doc_id_BT: Int[Array, "B T"],
        patches: Patches,
    ) -> Float[Array, "B T E"]:
        """Starts from the encoder's states; global outputs enter through the lag of `patches.visible_patch_BT`."""
        y_BRE, crosses = self.patch_outputs(global_BUD), self.cross_attn_layers
        h_BTE = run_layers(
            self.config,
            lambda h_BTE, cross, block: block(h_BTE + cross(h_BTE, y_BRE, patches), doc_id_BT),
            list(zip(crosses, self.layers[: len(crosses)], strict=True)),
            h_BTE,
        )
        rest = [(layer,) for layer in self.layers[len(crosses) :]]
        if rest:
            h_BTE = run_layers(self.config, lambda h_BTE, block: block(h_BTE, doc_id_BT), rest, h_BTE)
        return self.norm(h_BTE)

    def patch_outputs(self, global_BUD: Float[Array, "B U D"]) -> Float[Array, "B R E"]:
        """The Q vectors of each patch that tokens attend to."""
        width = self.config.patch_decoder.width
        if global_BUD.shape[-1] != width:
            global_BUD = self.patch_embedding_projection(global_BUD)
        return global_BUD.reshape(len(global_BUD), -1, width)

    def logits(self, h_BTE: Float[Array, "B T E"]) -> Float[Array, "B T V"]:
        """Float32 logits of normed states."""
        return self.output(h_BTE)


class BeforeGlobal(NamedTuple):
    """What a system gives the global transformer, and what it needs again behind it."""

    x_BUW: Float[Array, "B U W"]
    doc_id_BU: Int[Array, "B U"]
    unit_id_BT: Int[Array, "B T"]  # unit position of each token, U for padding
    kept: tuple


class System(nn.Module):
    """What systems have in common: a part before the global transformer, it, and a part behind it."""

    def hidden(
        self,
        token_BT: Int[Array, "B T"],
        doc_id_BT: Int[Array, "B T"],
        patch_start_BT: Bool[Array, "B T"],
        patch_end_BT: Bool[Array, "B T"],
    ) -> Float[Array, "B T E"]:
        """Final normed states of all tokens."""
        before = self.before_global(token_BT, doc_id_BT, patch_start_BT, patch_end_BT)
        return self.after_global(self.global_transformer(before.x_BUW, before.doc_id_BU), before.kept)

    def __call__(
        self,
        token_BT: Int[Array, "B T"],
        doc_id_BT: Int[Array, "B T"],
        patch_start_BT: Bool[Array, "B T"],
        patch_end_BT: Bool[Array, "B T"],
    ) -> Float[Array, "B T V"]:
        """Logits of the token that follows each token."""
        return self.logits(self.hidden(token_BT, doc_id_BT, patch_start_BT, patch_end_BT))


class LatentSpeechText(System):
    """System "lst": patch encoder, global transformer, patch decoder."""

    config: ModelConfig
    placement: Placement
    vocab_size: int
    row_patches: int

    def setup(self):
        """The three networks."""
        self.patch_encoder = PatchEncoder(self.config, self.placement, self.vocab_size)
        self.global_transformer = GlobalTransformer(self.config, self.placement)
        self.patch_decoder = PatchDecoder(self.config, self.placement, self.vocab_size)

    def before_global(
        self,
        token_BT: Int[Array, "B T"],
        doc_id_BT: Int[Array, "B T"],
        patch_start_BT: Bool[Array, "B T"],
        patch_end_BT: Bool[Array, "B T"],
    ) -> BeforeGlobal:
        """The patch encoder's part."""
        patches = derive_patches(doc_id_BT, patch_start_BT, patch_end_BT, self.row_patches, self.placement.branched)
        h_BTE, x_BUW = self.patch_encoder(token_BT, doc_id_BT, patches)
        return BeforeGlobal(x_BUW, patches.doc_id_BU, patches.patch_id_BT, (h_BTE, doc_id_BT, patches))

    def after_global(self, global_BUD: Float[Array, "B U D"], kept: tuple) -> Float[Array, "B T E"]:
        """The patch decoder's part."""
        h_BTE, doc_id_BT, patches = kept
        return self.patch_decoder(h_BTE, global_BUD, doc_id_BT, patches)

    def logits(self, h_BTE: Float[Array, "B T E"]) -> Float[Array, "B T V"]:
        """Float32 logits of normed states."""
        return self.patch_decoder.logits(h_BTE)


class TextBypass(System):
    """System "lst_bypass": the local modules see speech units and `<s>` only, moved together into rows of S tokens.

    A text token (BOS, EOS and `<t>` are such) enters the global transformer from an embedding of the global width at
    its unit position, and what follows it is predicted from the global output there. Units and `<s>` take the way of
    system "lst"; what follows them is predicted from the decoder's states, brought to the global width. One output
    projection reads both: one softmax over the joint vocabulary, whichever modality comes next.
    """

    config: ModelConfig
    placement: Placement
    vocab: Vocab
    row_patches: int
    row_speech_tokens: int | None  # S; None = as many as a row has tokens

    def setup(self):
        """Text and speech ids have embeddings of their own widths; neither table holds the other's."""
        width, local = self.config.global_transformer.width, self.config.patch_encoder.width
        self.text_embeddings = Embedding(self.config, self.placement, self.vocab.speech_marker, width)
        self.patch_encoder = PatchEncoder(self.config, self.placement, self.vocab.size - self.vocab.speech_marker)
        if self.config.queries_per_patch * local != width:
            self.token_embedding_projection = Linear(self.config, self.placement, width)
        self.global_transformer = GlobalTransformer(self.config, self.placement)
        # its own output projection is not used
        self.patch_decoder = PatchDecoder(self.config, self.placement, self.vocab.size)
        self.speech_projection = Linear(self.config, self.placement, width)
        self.text_norm = RMSNorm(self.config)
        self.output = Linear(self.config, ONE_DEVICE, self.vocab.size, dtype="float32")

    def before_global(
        self,
        token_BT: Int[Array, "B T"],
        doc_id_BT: Int[Array, "B T"],
        patch_start_BT: Bool[Array, "B T"],
        patch_end_BT: Bool[Array, "B T"],
    ) -> BeforeGlobal:
        """Embedded text, and what the patch encoder makes of speech."""
        row, local = self.rows(token_BT, doc_id_BT, patch_start_BT, patch_end_BT, self.row_patches)
        h_BSE, x_BPW = self.patch_encoder(self.local_ids(local.token_BS), local.doc_id_BS, local.patches)
        x_BUD = self.global_inputs(token_BT, row, local, x_BPW)
        return BeforeGlobal(x_BUD, row.doc_id_BU, row.patch_id_BT, (h_BSE, row, local))

    def after_global(self, global_BUD: Float[Array, "B U D"], kept: tuple) -> Float[Array, "B T D"]:
        """The patch decoder's part for speech, the global outputs themselves for text.

        NaN in rows that have more than S tokens for the local modules.
        """
        h_BSE, row, local = kept
        h_BSE = self.patch_decoder(h_BSE, gather(global_BUD, local.unit_id_BP), local.doc_id_BS, local.patches)
        h_BTD = gather(self.text_norm(global_BUD), row.patch_id_BT)
        rows_B1 = jnp.arange(len(global_BUD))[:, None]
        h_BTD = h_BTD.at[rows_B1, local.position_BS].set(self.speech_projection(h_BSE), mode="drop")
        return jnp.where(local.fits_B[:, None, None], h_BTD, jnp.nan)

    def rows(self, token_BT, doc_id_BT, patch_start_BT, patch_end_BT, units: int) -> tuple[Patches, LocalRows]:
        """The patches of rows, and what of them passes the local modules."""
        t, branched = token_BT.shape[1], self.placement.branched
        size = t if self.row_speech_tokens is None else min(self.row_speech_tokens, t)
        row = derive_patches(doc_id_BT, patch_start_BT, patch_end_BT, units, branched)
        is_local_BT = (token_BT >= self.vocab.speech_marker) & (doc_id_BT != 0)
        return row, gather_local(is_local_BT, token_BT, doc_id_BT, patch_start_BT, patch_end_BT, row, size, branched)

    def local_ids(self, token: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """Ids in the local embedding; 0 where there is no token, or a text token."""
        return jnp.maximum(token - self.vocab.speech_marker, 0)

    def widened(self, x_BPW: Float[Array, "B P W"]) -> Float[Array, "B P D"]:
        """Patch vectors at the global width."""
        if x_BPW.shape[-1] == self.config.global_transformer.width:
            return x_BPW
        return self.token_embedding_projection(x_BPW)

    def global_inputs(
        self, token_BT: Int[Array, "B T"], row: Patches, local: LocalRows, x_BPW: Float[Array, "B P W"]
    ) -> Float[Array, "B U D"]:
        """Embedded text, and the encoder's patches, each at its unit position."""
        x_BPW = self.widened(x_BPW)
        none, rows_B1 = self.vocab.speech_marker, jnp.arange(len(token_BT))[:, None]
        text_BU = jnp.full(row.doc_id_BU.shape, none, jnp.int32).at[rows_B1, row.patch_id_BT].min(token_BT, mode="drop")
        text_BUD = self.text_embeddings(jnp.minimum(text_BU, none - 1))
        return jnp.where((text_BU < none)[..., None], text_BUD, 0).at[rows_B1, local.unit_id_BP].set(x_BPW, mode="drop")

    def logits(self, h_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Float32 logits of final states."""
        return self.output(h_BTD)


class Base(System):
    """System "base": every token is a unit position of a Llama-shaped decoder; patch boundaries are not read."""

    config: ModelConfig
    placement: Placement
    vocab_size: int

    def setup(self):
        """Embedding, the global stack, final norm and output."""
        width = self.config.global_transformer.width
        self.tok_embeddings = Embedding(self.config, self.placement, self.vocab_size, width)
        self.global_transformer = GlobalTransformer(self.config, self.placement)
        self.norm = RMSNorm(self.config)
        self.output = Linear(self.config, ONE_DEVICE, self.vocab_size, dtype="float32")

    def before_global(
        self,
        token_BT: Int[Array, "B T"],
        doc_id_BT: Int[Array, "B T"],
        patch_start_BT: Bool[Array, "B T"],
        patch_end_BT: Bool[Array, "B T"],
    ) -> BeforeGlobal:
        """Embedded tokens."""
        t = doc_id_BT.shape[1]
        return BeforeGlobal(self.tok_embeddings(token_BT), doc_id_BT, jnp.where(doc_id_BT != 0, jnp.arange(t), t), ())

    def after_global(self, global_BUD: Float[Array, "B T D"], kept: tuple) -> Float[Array, "B T D"]:
        """Normed states."""
        return self.norm(global_BUD)

    def logits(self, h_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Float32 logits of normed states."""
        return self.output(h_BTD)


@dataclasses.dataclass(frozen=True)
class Model:
    """A system as pure functions of its parameters (a nested dict of float32 arrays); numpy arrays will do."""

    module: LatentSpeechText | TextBypass | Base

    def init_params(self, rng) -> Any:
        """Fresh parameters from a PRNG key; they do not depend on the shape of a batch."""
        one_BT, flag_BT = jnp.ones((1, 1), jnp.int32), jnp.ones((1, 1), bool)
        module = self.module.clone(placement=ONE_DEVICE)
        return module.init(rng, one_BT, one_BT, flag_BT, flag_BT)["params"]

    def hidden(
        self, params, token_BT: AnyInt, doc_id_BT: AnyInt, patch_start_BT: AnyBool, patch_end_BT: AnyBool
    ) -> Float[Array, "B T E"]:
        """Final normed states; E is the width the logits are read from."""
        return self._apply("hidden", params, token_BT, doc_id_BT, patch_start_BT, patch_end_BT)

    def logits(self, params, h_BTE: Float[Array, "B T E"]) -> Float[Array, "B T V"]:
        """Float32 logits of states from `hidden`, at any subset of positions; the output matrix must be whole."""
        return self._apply("logits", params, h_BTE)

    def whole_output(self, params) -> Any:
        """`params` with the output matrix gathered, where devices hold parts of it: once for all calls of `logits`."""

        def gathered(path, stored):
            if path[-2].key != "output":
                return stored
            return self.module.placement.matrix("output", stored.astype(self.module.config.compute_dtype))

        return params if self.module.placement.gather is None else jax.tree_util.tree_map_with_path(gathered, params)

    def __call__(
        self, params, token_BT: AnyInt, doc_id_BT: AnyInt, patch_start_BT: AnyBool, patch_end_BT: AnyBool
    ) -> Float[Array, "B T V"]:
        """Logits of whole rows."""
        return self._apply("__call__", params, token_BT, doc_id_BT, patch_start_BT, patch_end_BT)

    def _apply(self, method, *args):
        params, *arrays = jax.tree.map(jnp.asarray, args)
        return self.module.apply({"params": params}, *arrays, method=method)


def build(
    config: ModelConfig,
    vocab: Vocab,
    row_patches: int,
    row_speech_tokens: int | None = None,
    placement: Placement = ONE_DEVICE,
) -> Model:
    """The system that the config names, for rows of `row_patches` unit positions; parameters do not depend on rows.

    `row_speech_tokens` is for "lst_bypass": the most units and `<s>` that a row holds, None = any number. `placement`
    is how it runs on the devices of a mesh; the result is the same (`step.build_model` gives it).
    Raises: ConfigError.
    """
    if config.architecture == "base":
        return Model(Base(config, placement, vocab.size))
    if config.global_transformer.width == config.patch_decoder.width and config.queries_per_patch != 1:
        raise ConfigError(
            f"model.queries_per_patch={config.queries_per_patch}: must be 1 where the global and the "
            "local width are equal (nothing then splits a global output into several vectors); use 1"
        )
    if config.architecture == "lst_bypass":
        return Model(TextBypass(config, placement, vocab, row_patches, row_speech_tokens))
    return Model(LatentSpeechText(config, placement, vocab.size, row_patches))


def init(config: Config, rng) -> Any:
    """Fresh parameters of a run's model from a PRNG key."""
    return build(config.model, config.joint_vocab, config.data.row_patches).init_params(rng)
