"""The Latent Speech-Text Transformer whose text goes past the local networks."""

from collections.abc import Mapping

import jax.numpy as jnp

from lst_jax.config import ModelConfig
from lst_jax.core.shapes import Array, Bool, Float, Int
from lst_jax.core.vocab import Vocab
from lst_jax.model import cost_formulas
from lst_jax.model.architectures import network_rules
from lst_jax.model.architectures.architecture import Architecture, BeforeGlobal, Conversions
from lst_jax.model.cache import at_position, where_on
from lst_jax.model.global_cache import GlobalState, ended_patches, transform_patch, transform_prompt
from lst_jax.model.layers import Linear, RMSNorm
from lst_jax.model.local_cache import (
    LocalState,
    decode_prompt,
    decode_token,
    encode_token,
    newest_patch_vector,
    read_prompt,
    show_newest_patch,
)
from lst_jax.model.networks import Embedding, GlobalTransformer, PatchDecoder, PatchEncoder
from lst_jax.model.patch_rows import gather
from lst_jax.model.patches import LocalRows, Patches, derive_patches, gather_local
from lst_jax.model.placement import ONE_DEVICE


class TextBypass(Architecture):
    """Architecture "lst_bypass": the local networks see speech units and `<s>` only, gathered into rows of S tokens.

    A text token (BOS, EOS and `<t>` are such) enters the global transformer as an embedding of the global width, at its
    patch position. The global output there predicts the token after it. Units and `<s>` pass the local networks as in
    "lst". The decoder's states, brought to the global width, predict the tokens after them. One output projection reads
    both kinds of states, so that one softmax covers the joint vocabulary whichever modality comes next.
    """

    config_name = "lst_bypass"
    patches_speech = True
    text_bypasses_local_networks = True
    output_network = "output"
    conversions = Conversions(transformers="lst", ancestor=False, warm_start=None)

    def setup(self):
        """Text and speech ids have embeddings of their own widths; neither table holds the other's ids."""
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
        """Embeds the text, and runs the patch encoder over the speech."""
        row, local = self.split_rows(token_BT, doc_id_BT, patch_start_BT, patch_end_BT, self.row_patches)
        h_BSE, x_BPW = self.patch_encoder(self.local_ids(local.token_BS), local.doc_id_BS, local.patches)
        x_BUD = self.global_inputs(token_BT, row, local, x_BPW)
        return BeforeGlobal(x_BUD, row.doc_id_BU, row.patch_id_BT, (h_BSE, row, local))

    def after_global(self, global_BUD: Float[Array, "B U D"], kept: tuple) -> Float[Array, "B T D"]:
        """The states of speech come from the patch decoder, those of text are the global outputs themselves.

        A row with more tokens or patches than the local networks have room for (S, P) gives NaN.
        """
        h_BSE, row, local = kept
        h_BSE = self.patch_decoder(h_BSE, gather(global_BUD, local.row_patch_BP), local.doc_id_BS, local.patches)
        h_BTD = gather(self.text_norm(global_BUD), row.patch_id_BT)
        rows_B1 = jnp.arange(len(global_BUD))[:, None]
        h_BTD = h_BTD.at[rows_B1, local.position_BS].set(self.speech_projection(h_BSE), mode="drop")
        return jnp.where(local.fits_B[:, None, None], h_BTD, jnp.nan)

    def read_logits(self, h_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Float32 logits of final states."""
        return self.output(h_BTD)

    def split_rows(
        self, token_BT, doc_id_BT, patch_start_BT, patch_end_BT, row_patches: int
    ) -> tuple[Patches, LocalRows]:
        """The patches of whole rows, and the tokens that pass the local networks."""
        t, branched = token_BT.shape[1], self.placement.branched
        size = t if self.row_speech_tokens is None else min(self.row_speech_tokens, t)
        row = derive_patches(doc_id_BT, patch_start_BT, patch_end_BT, row_patches, branched)
        is_local_BT = (token_BT >= self.local_from(self.vocab)) & (doc_id_BT != 0)
        local = gather_local(
            is_local_BT,
            token_BT,
            doc_id_BT,
            patch_start_BT,
            patch_end_BT,
            row,
            size,
            self.row_speech_patches,
            branched,
        )
        return row, local

    def local_ids(self, token: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """Ids in the local embedding; 0 where there is no token, or a text token."""
        return jnp.maximum(token - self.vocab.speech_marker, 0)

    def at_global_width(self, x_BPW: Float[Array, "B P W"]) -> Float[Array, "B P D"]:
        """Patch vectors at the global width."""
        if x_BPW.shape[-1] == self.config.global_transformer.width:
            return x_BPW
        return self.token_embedding_projection(x_BPW)

    def global_inputs(
        self, token_BT: Int[Array, "B T"], row: Patches, local: LocalRows, x_BPW: Float[Array, "B P W"]
    ) -> Float[Array, "B U D"]:
        """Embedded text and the encoder's patch vectors, each at its patch position."""
        x_BPW = self.at_global_width(x_BPW)
        none, rows_B1 = self.vocab.speech_marker, jnp.arange(len(token_BT))[:, None]
        text_BU = jnp.full(row.doc_id_BU.shape, none, jnp.int32).at[rows_B1, row.patch_id_BT].min(token_BT, mode="drop")
        text_BUD = self.text_embeddings(jnp.minimum(text_BU, none - 1))
        text_BUD = jnp.where((text_BU < none)[..., None], text_BUD, 0)
        return text_BUD.at[rows_B1, local.row_patch_BP].set(x_BPW, mode="drop")

    def prefill(
        self, token_BT, doc_id_BT, patch_start_BT, patch_end_BT, row_patches: int, slots: int, patch_units: int
    ) -> tuple[LocalState, GlobalState]:
        """Runs the three networks over whole prompts."""
        row, rows = self.split_rows(token_BT, doc_id_BT, patch_start_BT, patch_end_BT, row_patches)
        local, h_BSE, x_BPW = read_prompt(
            self.patch_encoder, self.local_ids(rows.token_BS), rows.doc_id_BS, rows.patches, patch_units, slots
        )
        ended_B = ended_patches(doc_id_BT, patch_end_BT, row.doc_id_BU)
        open_B = (row.doc_id_BU != 0).sum(1) - ended_B  # only a patch of speech can be open
        ended_local_B = (rows.patches.doc_id_BU != 0).sum(1) - open_B
        x_BUD = self.global_inputs(token_BT, row, rows, x_BPW)
        global_BUD, main = transform_prompt(self.global_transformer, x_BUD, row.doc_id_BU, ended_B, slots)
        local, main = decode_prompt(
            self.patch_decoder,
            local,
            main,
            h_BSE,
            gather(global_BUD, rows.row_patch_BP),
            rows.doc_id_BS,
            rows.patches,
            ended_local_B,
            slots,
            patch_units,
        )
        newest_B = at_position(token_BT, (doc_id_BT != 0).sum(1) - 1)[:, 0]
        bypasses_B = newest_B < self.vocab.speech_marker
        return local._replace(direct_input_B1D=jnp.zeros_like(main.newest_output_B1D), bypasses_B=bypasses_B), main

    def encode(self, local: LocalState, token_B, starts_B, on_B) -> LocalState:
        """Embeds text, and runs the patch encoder over speech."""
        bypasses_B, none = token_B < self.vocab.speech_marker, self.vocab.speech_marker
        local = encode_token(self.patch_encoder, local, self.local_ids(token_B), starts_B, on_B & ~bypasses_B)
        input_B1D = self.text_embeddings(jnp.minimum(token_B, none - 1)[:, None])
        return local._replace(
            direct_input_B1D=where_on(on_B, input_B1D, local.direct_input_B1D),
            bypasses_B=jnp.where(on_B, bypasses_B, local.bypasses_B),
        )

    def advance(self, local: LocalState, main: GlobalState, on_B, patch_units: int) -> GlobalState:
        """Runs the global transformer over the newest patch; the decoder sees it only if it is speech."""
        x_B1D = self.at_global_width(newest_patch_vector(self.patch_encoder, local, patch_units))
        x_B1D = where_on(local.bypasses_B, local.direct_input_B1D, x_B1D)
        main = transform_patch(self.global_transformer, main, x_B1D, on_B)
        return show_newest_patch(self.patch_decoder, main, on_B & ~local.bypasses_B)

    def read(self, local: LocalState, main: GlobalState, on_B) -> tuple[Array, LocalState]:
        """Logits from the global output behind text, from the decoder's state behind speech."""
        h_B1E, local = decode_token(self.patch_decoder, local, main, on_B & ~local.bypasses_B)
        text_B1D, speech_B1D = self.text_norm(main.newest_output_B1D), self.speech_projection(h_B1E)
        return self.read_logits(where_on(local.bypasses_B, text_B1D, speech_B1D))[:, 0], local

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
        """The three networks, and the output projection at the global width, to which decoder states are brought."""
        stack, local = config.global_transformer, config.patch_encoder.width
        return {
            "global_transformer": cost_formulas.stack_flops(stack, config, count["units"], count["global_pairs"])
            + cost_formulas.patch_projection_flops(config, count["local_units"]),
            "patch_encoder": cost_formulas.patch_encoder_flops(config, count),
            "patch_decoder": cost_formulas.patch_decoder_flops(config, count)
            + 2.0 * count["local_tokens"] * local * stack.width,
            "output": 2.0 * count["tokens"] * stack.width * vocab.size,
        }

    @classmethod
    def parameter_counts(cls, config: ModelConfig, vocab: Vocab) -> dict[str, int]:
        """The three networks, text embeddings and norm, and the projections around them."""
        width, local = config.global_transformer.width, config.patch_encoder.width
        found = {
            "global_transformer": cost_formulas.stack_parameters(config.global_transformer, config),
            "patch_encoder": cost_formulas.patch_encoder_parameters(config, vocab.size - vocab.speech_marker),
            "patch_decoder": cost_formulas.patch_decoder_parameters(config),
            "text_embeddings": vocab.speech_marker * width,
            "text_norm": width,
            "speech_projection": local * width,
            "output": width * vocab.size,
        }
        if projection := cost_formulas.patch_projection_parameters(config):
            found["token_embedding_projection"] = projection
        return found

    @classmethod
    def sweep_label(cls, patching_label: str, has_unit_pieces: bool) -> str:
        """Example: "bypass-static-4"."""
        return f"bypass-{patching_label}"
