"""The three networks of a Latent Speech-Text Transformer (paper §4) and the token embedding.

An architecture (`lst_jax.model.architectures`) puts them together.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from lst_jax.config import ModelConfig
from lst_jax.core.shapes import Array, Float, Int
from lst_jax.model.cross_attention import CrossAttention, vectors_seen
from lst_jax.model.layers import Linear, RMSNorm, blocks, stored, truncated_normal
from lst_jax.model.patch_rows import patch_maxima
from lst_jax.model.patches import Patches
from lst_jax.model.placement import ONE_DEVICE, Placement
from lst_jax.model.stack import run_layers


class Embedding(nn.Module):
    """Token ids to vectors in the compute dtype."""

    config: ModelConfig
    placement: Placement
    vocab_size: int
    width: int

    def setup(self):
        """The table, as this device holds it.

        It stays in float32. In bfloat16 the many small gradients of a frequent token would be rounded away.
        """
        self.table_VE = stored(self, "embedding", truncated_normal(self.width), (self.vocab_size, self.width))

    def __call__(self, token_BT: Int[Array, "B T"]) -> Float[Array, "B T E"]:
        """Looks the ids up."""
        return self.placement.look_up(self.name, self.table_VE, token_BT).astype(self.config.compute_dtype)

    def logits(self, h_BTE: Float[Array, "B T E"]) -> Float[Array, "B T V"]:
        """Float32 products with each row of the table, where the output matrix is tied to it; the table is whole."""
        operands = (a.astype(self.config.compute_dtype) for a in (h_BTE, self.table_VE))
        return jnp.einsum("bte,ve->btv", *operands, preferred_element_type=jnp.float32)


class PatchEncoder(nn.Module):
    """Maps tokens to token states [B, T, E] and to patch vectors [B, U, Q·E]."""

    config: ModelConfig
    placement: Placement
    vocab_size: int

    def setup(self):
        """The layers, and one cross-attention after every layer or after the last layer alone."""
        stack = self.config.patch_encoder
        self.tok_embeddings = Embedding(self.config, self.placement, self.vocab_size, stack.width)
        self.layers = blocks(self.config, self.placement, stack)
        patch_width = self.config.queries_per_patch * stack.width
        self.patch_embedding_projection = Linear(self.config, self.placement, patch_width)
        self.cross_attn_layers = [
            CrossAttention(self.config, self.placement, self.config.encoder_cross_window, queries_are_patches=True)
            for _ in range(stack.layers if self.config.encoder_cross_all_layers else 1)
        ]

    def __call__(
        self, token_BT: Int[Array, "B T"], doc_id_BT: Int[Array, "B T"], patches: Patches
    ) -> tuple[Float[Array, "B T E"], Float[Array, "B U QE"]]:
        """Runs the layers. At the first cross-attention, the queries of a patch start from the max-pool of its tokens."""
        h_BTE = self.tok_embeddings(token_BT)
        first_cross = len(self.layers) - len(self.cross_attn_layers)
        h_BTE = run_layers(
            self.config,
            lambda h_BTE, block: block(h_BTE, doc_id_BT),
            [(layer,) for layer in self.layers[: first_cross + 1]],
            h_BTE,
            self.config.patch_encoder.period,
        )
        x = self._vectors([h_BTE], patches)

        def layer_with_cross(states, block, cross):
            h_BTE = block(states[0], doc_id_BT)
            return h_BTE, self._crossed(states[1], h_BTE, cross, patches)

        rest = list(zip(self.layers[first_cross + 1 :], self.cross_attn_layers[1:], strict=True))
        if rest:
            period = self.config.patch_encoder.period
            h_BTE, x = run_layers(self.config, layer_with_cross, rest, (h_BTE, x), period)
        return h_BTE, self._side_by_side(x, patches)

    def patch_vectors(self, states: Sequence[Float[Array, "B T E"]], patches: Patches) -> Float[Array, "B U QE"]:
        """The Q vectors of each patch, side by side.

        Args: `states` are the token states after each layer that a cross-attention follows, in order.
        """
        return self._side_by_side(self._vectors(states, patches), patches)

    def _vectors(self, states, patches):
        """The vectors as the cross-attention takes them."""
        pooled_BUE = patch_maxima(states[0], patches.patch_id_BT, patches.doc_id_BU.shape[1])
        x_BUC, e = self.patch_embedding_projection(pooled_BUE), states[0].shape[-1]
        if self.config.encoder_cross_window == 1:
            x = tuple(jnp.split(x_BUC, self.config.queries_per_patch, -1))
        else:
            x = x_BUC.reshape(len(x_BUC), -1, e)
        for cross, h_BTE in zip(self.cross_attn_layers, states, strict=False):
            x = self._crossed(x, h_BTE, cross, patches)
        return x

    def _crossed(self, x, h_BTE, cross, patches):
        added = cross(x, h_BTE, patches)
        return tuple(map(jnp.add, x, added)) if isinstance(x, tuple) else x + added

    def _side_by_side(self, x, patches):
        return jnp.concatenate(x, -1) if isinstance(x, tuple) else x.reshape(*patches.doc_id_BU.shape, -1)


class GlobalTransformer(nn.Module):
    """The large stack over patches, or over tokens in Base. It has no final norm."""

    config: ModelConfig
    placement: Placement

    def setup(self):
        """The layers. The projection has parameters only where the inputs have another width."""
        stack = self.config.global_transformer
        self.token_embedding_projection = Linear(self.config, self.placement, stack.width)
        self.layers = blocks(self.config, self.placement, stack)

    def __call__(self, x_BUW: Float[Array, "B U W"], doc_id_BU: Int[Array, "B U"]) -> Float[Array, "B U D"]:
        """Runs all layers over the patches of a row; the inputs are brought to the global width first."""
        return run_layers(
            self.config,
            lambda x_BUD, block: block(x_BUD, doc_id_BU),
            [(layer,) for layer in self.layers],
            self.inputs(x_BUW),
            self.config.global_transformer.period,
        )

    def inputs(self, x_BUW: Float[Array, "B U W"]) -> Float[Array, "B U D"]:
        """The inputs of the first layer: projected where they have another width than the stack."""
        if x_BUW.shape[-1] == self.config.global_transformer.width:
            return x_BUW
        return self.token_embedding_projection(x_BUW)


class PatchDecoder(nn.Module):
    """Maps token states and global outputs to the states that the logits are read from."""

    config: ModelConfig
    placement: Placement
    vocab_size: int

    def setup(self):
        """The layers, and one cross-attention before every layer or before the first layer alone."""
        stack, global_width = self.config.patch_decoder, self.config.global_transformer.width
        if global_width != stack.width:
            patch_width = self.config.queries_per_patch * stack.width
            self.patch_embedding_projection = Linear(self.config, self.placement, patch_width)
        self.layers = blocks(self.config, self.placement, stack)
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
        """Runs the layers, starting from the encoder's token states.

        A token sees the global outputs of the patches that are complete at it (`patches.visible_patch_BT`).
        """
        y, crosses = self.patch_outputs(global_BUD), self.cross_attn_layers
        if self.config.decoder_cross_window == 1:
            y = vectors_seen(self.placement, y, patches, self.config.norm_eps)
        period = self.config.patch_decoder.period
        h_BTE = run_layers(
            self.config,
            lambda h_BTE, cross, block: block(h_BTE + cross(h_BTE, y, patches), doc_id_BT),
            list(zip(crosses, self.layers[: len(crosses)], strict=True)),
            h_BTE,
            period,
        )
        rest = [(layer,) for layer in self.layers[len(crosses) :]]
        if rest:
            h_BTE = run_layers(self.config, lambda h_BTE, block: block(h_BTE, doc_id_BT), rest, h_BTE, period)
        return self.norm(h_BTE)

    def patch_outputs(self, global_BUD: Float[Array, "B U D"]) -> Float[Array, "B R E"]:
        """The Q vectors of each patch that tokens attend to, R = U·Q."""
        width = self.config.patch_decoder.width
        if global_BUD.shape[-1] != width:
            global_BUD = self.patch_embedding_projection(global_BUD)
        return global_BUD.reshape(len(global_BUD), -1, width)

    def logits(self, h_BTE: Float[Array, "B T E"]) -> Float[Array, "B T V"]:
        """Float32 logits of states that this decoder has normed."""
        return self.output(h_BTE)
