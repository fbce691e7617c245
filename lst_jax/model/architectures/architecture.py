"""What every model architecture owns: its networks, its cached generation step, its costs, its rules and its formats.

    model = registry.build(config.model, config.joint_vocab, config.data.row_patches, config.data.row_speech_tokens)
    params = model.init_params(jax.random.key(0))
    h_BTE = model.hidden(params, token_BT, doc_id_BT, patch_start_BT, patch_end_BT)
    logits_BTV = model.logits(params, h_BTE)         # or chunk by chunk, as the loss does

An architecture is a Flax module with two kinds of methods. Methods that take `params` (`init_params`, `hidden`,
`logits`, calling the model) are pure functions for callers. All other methods run inside Flax, on a bound module.
"""

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from lst_jax.config import Config, ModelConfig
from lst_jax.core.shapes import Array, Bool, Float, Int, ndarray
from lst_jax.core.strict import fail
from lst_jax.core.vocab import Vocab
from lst_jax.model.global_cache import GlobalState
from lst_jax.model.local_cache import LocalState
from lst_jax.model.placement import ONE_DEVICE, Placement

AnyInt = Int[Array | ndarray, "B T"]
AnyBool = Bool[Array | ndarray, "B T"]


class BeforeGlobal(NamedTuple):
    """What enters the global transformer, and what the networks behind it need besides its output."""

    x_BUW: Float[Array, "B U W"]
    doc_id_BU: Int[Array, "B U"]
    patch_id_BT: Int[Array, "B T"]  # patch position of each token, U for padding
    kept: tuple


class Conversions(NamedTuple):
    """The foreign formats that can hold a model of an architecture (`lst_jax.convert`)."""

    transformers: str | None  # `model_type` of the directory that transformers loads; None = there is no such form
    ancestor: bool  # whether the PyTorch ancestor has this architecture
    # what a text model's weights can begin: all of the model, or its global transformer alone; None = nothing
    warm_start: Literal["whole_model", "global_transformer"] | None


class Architecture(nn.Module):
    """The base class of all architectures; `registry.register` refuses a class that leaves something out."""

    config: ModelConfig
    placement: Placement
    vocab: Vocab
    row_patches: int  # U, patch positions of a row; parameters do not depend on it
    row_speech_tokens: int | None  # S, the bound on speech tokens of a row; None = no bound
    row_speech_patches: int | None  # P, the bound on their patches; None = no bound

    config_name: ClassVar[str]  # the value of `model.architecture`
    patches_speech: ClassVar[bool]  # False: every token is a patch of its own, whatever the boundaries say
    text_bypasses_local_networks: ClassVar[bool]  # True: only speech units and <s> pass the local networks
    output_network: ClassVar[str]  # the top-level name in the parameter tree that holds the output projection
    conversions: ClassVar[Conversions]

    @property
    def output_part(self) -> str:
        """The top-level name of the parameters that logits are read with."""
        return self.output_network

    # ---- the networks, inside Flax; subclasses define `setup` and these ----

    @abc.abstractmethod
    def before_global(
        self,
        token_BT: Int[Array, "B T"],
        doc_id_BT: Int[Array, "B T"],
        patch_start_BT: Bool[Array, "B T"],
        patch_end_BT: Bool[Array, "B T"],
    ) -> BeforeGlobal:
        """The part of the forward pass before the global transformer, which is `self.global_transformer`."""

    @abc.abstractmethod
    def after_global(self, global_BUD: Float[Array, "B U D"], kept: tuple) -> Float[Array, "B T E"]:
        """The part behind the global transformer: final normed states of all tokens."""

    @abc.abstractmethod
    def read_logits(self, h_BTE: Float[Array, "B T E"]) -> Float[Array, "B T V"]:
        """Float32 logits of final states."""

    # ---- the cached generation step, inside Flax; `cached_model.CachedModel` says when each is called ----

    @abc.abstractmethod
    def prefill(
        self, token_BT, doc_id_BT, patch_start_BT, patch_end_BT, row_patches: int, slots: int, patch_units: int
    ) -> tuple[LocalState, GlobalState]:
        """Reads whole prompts."""

    @abc.abstractmethod
    def encode(self, local: LocalState, token_B, starts_B, on_B) -> LocalState:
        """Adds one token to each row that is on."""

    @abc.abstractmethod
    def advance(self, local: LocalState, main: GlobalState, on_B, patch_units: int) -> GlobalState:
        """Ends the newest patch of each row that is on: one step of the global transformer."""

    @abc.abstractmethod
    def read(self, local: LocalState, main: GlobalState, on_B) -> tuple[Array, LocalState]:
        """Logits [B, V] of what follows the newest token of each row."""

    # ---- rules and costs, from the configuration alone ----

    @classmethod
    @abc.abstractmethod
    def check_networks(cls, config: ModelConfig) -> None:
        """Checks the rules for the sizes of the networks. Raises: ConfigError naming the field."""

    @classmethod
    @abc.abstractmethod
    def forward_flops(cls, config: ModelConfig, vocab: Vocab, count: Mapping[str, int]) -> dict[str, float]:
        """FLOPs of one forward pass per network and of the "output" projection; `cost.flops` defines the counts."""

    @classmethod
    @abc.abstractmethod
    def parameter_counts(cls, config: ModelConfig, vocab: Vocab) -> dict[str, int]:
        """Number of parameters below each top-level name of the parameter tree."""

    @classmethod
    @abc.abstractmethod
    def sweep_label(cls, patching_label: str, has_unit_pieces: bool) -> str:
        """The name of the family that a run belongs to in fits and figures.

        Args: `patching_label` names the patching strategy; `has_unit_pieces`: the tokens of speech are unit pieces.
        """

    @classmethod
    def check(cls, config: Config) -> None:
        """Checks all rules of the architecture. Raises: ConfigError for the first field that breaks one."""
        cls.check_networks(config.model)
        data = config.data
        if not cls.text_bypasses_local_networks:
            for name in ("row_speech_tokens", "row_speech_patches"):
                if (value := getattr(data, name)) is not None:
                    meaning = f"has no meaning for model.architecture={cls.config_name!r}"
                    fail(f"data.{name}", value, meaning, "set it to None")
            return
        tokens, patches = data.row_speech_tokens, data.row_speech_patches
        if not 16 <= (tokens or 0) <= data.row_tokens:
            fail(
                "data.row_speech_tokens",
                tokens,
                f"must be from 16 to data.row_tokens={data.row_tokens}",
                f"use {max(16, data.row_tokens // 2)}",
            )
        if patches is not None and patches > (most := min(tokens, data.row_patches)):
            fail(
                "data.row_speech_patches",
                patches,
                f"must not exceed data.row_speech_tokens={tokens} or data.row_patches={data.row_patches}",
                f"use {most}",
            )

    @classmethod
    def check_queries(cls, config: ModelConfig) -> None:
        """Checks at construction that global outputs can be split into Q vectors. Raises: ConfigError."""

    @classmethod
    def local_from(cls, vocab: Vocab) -> int:
        """The least token id that passes the local networks; 0 = all tokens do, or there are no such networks."""
        return vocab.speech_marker if cls.text_bypasses_local_networks else 0

    # ---- pure functions of the parameters, for callers ----

    @nn.nowrap
    def init_params(self, rng) -> Any:
        """Fresh parameters from a PRNG key; they do not depend on the shape of a batch."""

        def use_every_network(model: "Architecture", *rows):
            before = model.before_global(*rows)
            states = model.after_global(model.global_transformer(before.x_BUW, before.doc_id_BU), before.kept)
            return model.read_logits(states)

        one_BT, flag_BT = jnp.ones((1, 1), jnp.int32), jnp.ones((1, 1), bool)
        whole = self.clone(placement=ONE_DEVICE)
        return whole.init(rng, one_BT, one_BT, flag_BT, flag_BT, method=use_every_network)["params"]

    @nn.nowrap
    def hidden(
        self, params, token_BT: AnyInt, doc_id_BT: AnyInt, patch_start_BT: AnyBool, patch_end_BT: AnyBool
    ) -> Float[Array, "B T E"]:
        """The forward pass over rows: final normed states, from which `logits` reads; numpy arrays will do."""
        params, *rows = jax.tree.map(jnp.asarray, (params, token_BT, doc_id_BT, patch_start_BT, patch_end_BT))
        model = self.bind({"params": params})
        before = model.before_global(*rows)
        return model.after_global(model.global_transformer(before.x_BUW, before.doc_id_BU), before.kept)

    @nn.nowrap
    def logits(self, params, h_BTE: Float[Array, "B T E"]) -> Float[Array, "B T V"]:
        """Float32 logits of states from `hidden`, at any subset of positions; the output matrix must be whole."""
        params, h_BTE = jax.tree.map(jnp.asarray, (params, h_BTE))
        return self.bind({"params": params}).read_logits(h_BTE)

    @nn.nowrap
    def __call__(
        self, params, token_BT: AnyInt, doc_id_BT: AnyInt, patch_start_BT: AnyBool, patch_end_BT: AnyBool
    ) -> Float[Array, "B T V"]:
        """Logits of the token that follows each token of whole rows."""
        return self.logits(params, self.hidden(params, token_BT, doc_id_BT, patch_start_BT, patch_end_BT))

    @nn.nowrap
    def whole_output(self, params) -> Any:
        """`params` with the output matrix gathered from all devices, once for all calls of `logits`."""

        def gathered(path, stored):
            if "output" not in {entry.key for entry in path[:-1]}:
                return stored
            return self.placement.matrix("output", stored.astype(self.config.compute_dtype))

        return params if self.placement.gather is None else jax.tree_util.tree_map_with_path(gathered, params)

    @nn.nowrap
    def timed_parts(self, params, *rows: Array) -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
        """The parts of `hidden` that `lst bench step` times: per part a function and its arguments, parameters first.

        The arguments of a part are what the parts before it return. An architecture may name parts of its own.
        """
        return {"all networks": (lambda own: self.hidden(own, *rows), (params,))}
