"""Base, the paper's baseline without patches (§7): a Llama-shaped decoder over tokens."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from lst_jax.config import ModelConfig
from lst_jax.core.shapes import Array, Bool, Float, Int
from lst_jax.core.vocab import Vocab
from lst_jax.model import cost_formulas
from lst_jax.model.architectures import network_rules
from lst_jax.model.architectures.architecture import Architecture, BeforeGlobal, Conversions
from lst_jax.model.cache import where_on
from lst_jax.model.global_cache import GlobalState, transform_patch, transform_prompt
from lst_jax.model.layers import NORMS, Linear
from lst_jax.model.local_cache import LocalState, without_local_networks
from lst_jax.model.networks import Embedding, GlobalTransformer
from lst_jax.model.placement import ONE_DEVICE


class Base(Architecture):
    """Architecture "base": every token is a patch position; patch boundaries are not read."""

    config_name = "base"
    patches_speech = False
    text_bypasses_local_networks = False
    output_network = "output"
    conversions = Conversions(transformers="llama", ancestor=False, warm_start="whole_model")

    def setup(self):
        """Embedding, the global stack, final norm and output."""
        stack = self.config.global_transformer
        self.tok_embeddings = Embedding(self.config, self.placement, self.vocab.size, stack.width)
        self.global_transformer = GlobalTransformer(self.config, self.placement)
        self.norm = NORMS[stack.norm](self.config)
        self.output = Linear(self.config, ONE_DEVICE, self.vocab.size, dtype="float32")

    def before_global(
        self,
        token_BT: Int[Array, "B T"],
        doc_id_BT: Int[Array, "B T"],
        patch_start_BT: Bool[Array, "B T"],
        patch_end_BT: Bool[Array, "B T"],
    ) -> BeforeGlobal:
        """Embeds the tokens."""
        t = doc_id_BT.shape[1]
        patch_id_BT = jnp.where(doc_id_BT != 0, jnp.arange(t), t)
        return BeforeGlobal(self.global_inputs(token_BT), doc_id_BT, patch_id_BT, ())

    def global_inputs(self, token_BT: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """What enters the global transformer, in training and in each cached step."""
        return self.tok_embeddings(token_BT)

    def after_global(self, global_BUD: Float[Array, "B T D"], kept: tuple) -> Float[Array, "B T D"]:
        """Norms the global outputs."""
        return self.norm(global_BUD)

    def read_logits(self, h_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Float32 logits of normed states.

        A tied output matrix is among the parameters where `whole_output` has gathered it; else it is the embedding.
        """
        if self.config.tied_output and "output" not in self.variables["params"]:
            return self.tok_embeddings.logits(h_BTD)
        return self.output(h_BTD)

    @nn.nowrap
    def whole_output(self, params) -> Any:
        """See `Architecture`; a tied output matrix is gathered beside the embedding."""
        if not self.config.tied_output or self.placement.gather is None:
            return super().whole_output(params)
        table_VD = params["tok_embeddings"]["embedding"].astype(self.config.compute_dtype)
        return params | {"output": {"kernel": self.placement.matrix("tok_embeddings", table_VD).T}}

    @property
    def output_part(self) -> str:
        """See `Architecture`."""
        return "tok_embeddings" if self.config.tied_output else self.output_network

    def prefill(
        self, token_BT, doc_id_BT, patch_start_BT, patch_end_BT, row_patches: int, slots: int, patch_units: int
    ) -> tuple[LocalState, GlobalState]:
        """Runs the global transformer over whole prompts; all of their tokens are patches that have ended."""
        x_BTD = self.global_inputs(token_BT)
        _, main = transform_prompt(self.global_transformer, x_BTD, doc_id_BT, (doc_id_BT != 0).sum(1), slots)
        return without_local_networks(x_BTD[:, -1:]), main

    def encode(self, local: LocalState, token_B, starts_B, on_B) -> LocalState:
        """Embeds the newest token."""
        input_B1D = self.global_inputs(token_B[:, None])
        return local._replace(direct_input_B1D=where_on(on_B, input_B1D, local.direct_input_B1D))

    def advance(self, local: LocalState, main: GlobalState, on_B, patch_units: int) -> GlobalState:
        """Runs the global transformer over the newest token."""
        return transform_patch(self.global_transformer, main, local.direct_input_B1D, on_B)

    def read(self, local: LocalState, main: GlobalState, on_B) -> tuple[Array, LocalState]:
        """Logits from the newest global output."""
        return self.read_logits(self.norm(main.newest_output_B1D))[:, 0], local

    @classmethod
    def check_networks(cls, config: ModelConfig) -> None:
        """There are no local networks."""
        network_rules.check_no_local_networks(config)

    @classmethod
    def forward_flops(cls, config: ModelConfig, vocab: Vocab, count: Mapping[str, int]) -> dict[str, float]:
        """The stack over tokens, and the output projection."""
        stack = config.global_transformer
        return {
            "global_transformer": cost_formulas.stack_flops(stack, config, count["units"], count["global_pairs"]),
            "output": 2.0 * count["tokens"] * stack.width * vocab.size,
        }

    @classmethod
    def parameter_counts(cls, config: ModelConfig, vocab: Vocab) -> dict[str, int]:
        """The stack, the embedding, the norm and the output projection."""
        stack, width = config.global_transformer, config.global_transformer.width
        return {
            "global_transformer": cost_formulas.stack_parameters(stack, config),
            "tok_embeddings": vocab.size * width,
            **({"norm": width} if stack.norm == "rms" else {}),
            **({} if config.tied_output else {"output": width * vocab.size}),
        }

    @classmethod
    def sweep_label(cls, patching_label: str, has_unit_pieces: bool) -> str:
        """Example: "base", or "bpe" where the tokens of speech are unit pieces (paper §7)."""
        return "bpe" if has_unit_pieces else "base"

    @nn.nowrap
    def timed_parts(self, params, *rows: Array) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
        """One part: all but the output projection."""
        own = {name: value for name, value in params.items() if name != self.output_network}
        return {"global transformer": (lambda own: self.hidden(own, *rows), (own,))}
