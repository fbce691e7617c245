"""The Latent Speech-Text Transformer (paper §4)."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import linen as nn

from lst_jax.config import ModelConfig
from lst_jax.core.shapes import Array, Bool, Float, Int
from lst_jax.core.vocab import Vocab
from lst_jax.model import cost_formulas
from lst_jax.model.architectures import network_rules
from lst_jax.model.architectures.architecture import Architecture, BeforeGlobal, Conversions
from lst_jax.model.global_cache import GlobalState, ended_patches, transform_patch, transform_prompt
from lst_jax.model.local_cache import (
    LocalState,
    decode_prompt,
    decode_token,
    encode_token,
    newest_patch_vector,
    read_prompt,
    show_newest_patch,
)
from lst_jax.model.networks import GlobalTransformer, PatchDecoder, PatchEncoder
from lst_jax.model.patches import derive_patches


class LatentSpeechText(Architecture):
    """Architecture "lst": patch encoder, global transformer, patch decoder."""

    config_name = "lst"
    patches_speech = True
    text_bypasses_local_networks = False
    output_network = "patch_decoder"
    conversions = Conversions(transformers="lst", ancestor=True, warm_start="global_transformer")

    def setup(self):
        """The three networks."""
        self.patch_encoder = PatchEncoder(self.config, self.placement, self.vocab.size)
        self.global_transformer = GlobalTransformer(self.config, self.placement)
        self.patch_decoder = PatchDecoder(self.config, self.placement, self.vocab.size)

    def before_global(
        self,
        token_BT: Int[Array, "B T"],
        doc_id_BT: Int[Array, "B T"],
        patch_start_BT: Bool[Array, "B T"],
        patch_end_BT: Bool[Array, "B T"],
    ) -> BeforeGlobal:
        """Runs the patch encoder."""
        patches = derive_patches(doc_id_BT, patch_start_BT, patch_end_BT, self.row_patches, self.placement.branched)
        h_BTE, x_BUW = self.patch_encoder(token_BT, doc_id_BT, patches)
        return BeforeGlobal(x_BUW, patches.doc_id_BU, patches.patch_id_BT, (h_BTE, doc_id_BT, patches))

    def after_global(self, global_BUD: Float[Array, "B U D"], kept: tuple) -> Float[Array, "B T E"]:
        """Runs the patch decoder."""
        h_BTE, doc_id_BT, patches = kept
        return self.patch_decoder(h_BTE, global_BUD, doc_id_BT, patches)

    def read_logits(self, h_BTE: Float[Array, "B T E"]) -> Float[Array, "B T V"]:
        """Float32 logits of normed states."""
        return self.patch_decoder.logits(h_BTE)

    def prefill(
        self, token_BT, doc_id_BT, patch_start_BT, patch_end_BT, row_patches: int, slots: int, patch_units: int
    ) -> tuple[LocalState, GlobalState]:
        """Runs the three networks over whole prompts."""
        patches = derive_patches(doc_id_BT, patch_start_BT, patch_end_BT, row_patches)
        ended_B = ended_patches(doc_id_BT, patch_end_BT, patches.doc_id_BU)
        local, h_BTE, x_BUW = read_prompt(self.patch_encoder, token_BT, doc_id_BT, patches, patch_units, slots)
        global_BUD, main = transform_prompt(self.global_transformer, x_BUW, patches.doc_id_BU, ended_B, slots)
        return decode_prompt(
            self.patch_decoder, local, main, h_BTE, global_BUD, doc_id_BT, patches, ended_B, slots, patch_units
        )

    def encode(self, local: LocalState, token_B, starts_B, on_B) -> LocalState:
        """Runs the patch encoder over the newest token."""
        return encode_token(self.patch_encoder, local, token_B, starts_B, on_B)

    def advance(self, local: LocalState, main: GlobalState, on_B, patch_units: int) -> GlobalState:
        """Runs the global transformer over the newest patch; from then on the decoder sees it."""
        x_B1W = newest_patch_vector(self.patch_encoder, local, patch_units)
        return show_newest_patch(self.patch_decoder, transform_patch(self.global_transformer, main, x_B1W, on_B), on_B)

    def read(self, local: LocalState, main: GlobalState, on_B) -> tuple[Array, LocalState]:
        """Logits from the decoder's state of the newest token."""
        h_B1E, local = decode_token(self.patch_decoder, local, main, on_B)
        return self.read_logits(h_B1E)[:, 0], local

    @classmethod
    def check_networks(cls, config: ModelConfig) -> None:
        """There are two local networks of one width."""
        network_rules.check_local_networks(config)

    @classmethod
    def check_queries(cls, config: ModelConfig) -> None:
        """Equal widths allow one query per patch."""
        network_rules.check_one_query_where_widths_are_equal(config)

    @classmethod
    def forward_flops(cls, config: ModelConfig, vocab: Vocab, count: Mapping[str, int]) -> dict[str, float]:
        """The three networks, and the output projection at the local width."""
        stack = config.global_transformer
        return {
            "global_transformer": cost_formulas.stack_flops(stack, config, count["units"], count["global_pairs"])
            + cost_formulas.patch_projection_flops(config, count["local_units"]),
            "patch_encoder": cost_formulas.patch_encoder_flops(config, count),
            "patch_decoder": cost_formulas.patch_decoder_flops(config, count),
            "output": 2.0 * count["tokens"] * config.patch_encoder.width * vocab.size,
        }

    @classmethod
    def parameter_counts(cls, config: ModelConfig, vocab: Vocab) -> dict[str, int]:
        """The three networks; the output projection is the decoder's."""
        return {
            "global_transformer": cost_formulas.stack_parameters(config.global_transformer, config)
            + cost_formulas.patch_projection_parameters(config),
            "patch_encoder": cost_formulas.patch_encoder_parameters(config, vocab.size),
            "patch_decoder": cost_formulas.patch_decoder_parameters(config) + config.patch_encoder.width * vocab.size,
        }

    @classmethod
    def sweep_label(cls, patching_label: str, has_unit_pieces: bool) -> str:
        """Example: "static-4"."""
        return patching_label

    @nn.nowrap
    def timed_parts(self, params, *rows: Array) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
        """The three networks."""
        token_BT, doc_id_BT, *edges = rows
        patches = derive_patches(doc_id_BT, *edges, self.row_patches)
        encoder, stack, decoder = (
            {name: params[name]} for name in ("patch_encoder", "global_transformer", "patch_decoder")
        )

        def encode(own):
            return self.bind({"params": own}).patch_encoder(token_BT, doc_id_BT, patches)

        def transform(own, x_BUW):
            return self.bind({"params": own}).global_transformer(x_BUW, patches.doc_id_BU)

        def decode(own, h_BTE, global_BUD):
            return self.bind({"params": own}).patch_decoder(h_BTE, global_BUD, doc_id_BT, patches)

        h_BTE, x_BUW = jax.jit(encode)(encoder)
        global_BUD = jax.jit(transform)(stack, x_BUW)
        return {
            "patch encoder": (encode, (encoder,)),
            "global transformer": (transform, (stack, x_BUW)),
            "patch decoder": (decode, (decoder, h_BTE, global_BUD)),
        }
