"""A model one token at a time: the local networks step per token, the global transformer once per finished patch.

    decoder = cached_model(model, patch_units=4)
    local, main = decoder.prefill(params, token_BT, doc_id_BT, patch_start_BT, patch_end_BT, row_patches, slots)
    logits_BV, local = decoder.read(params, local, main, on_B)         # of what follows each row's newest token
    local = decoder.encode(params, local, token_B, starts_B, on_B)     # one token more
    main = decoder.advance(params, local, main, on_B)                  # its patch has ended: one global step

Each row is at its own position, and only rows that are `on` change. The caller decides which token starts a patch and
which one ends it (`lst_jax.generate.loop`):

- A token that ends its patch is read after `advance`; any other token is read without it.
- The end of a short last static patch is known late. Such a patch is advanced before the next token is encoded.

The logits are then those of the training forward pass over the same tokens, because the modules are the same.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lst_jax.core.shapes import Array, Bool, Float, Int
from lst_jax.model.architectures.architecture import Architecture
from lst_jax.model.global_cache import GlobalState
from lst_jax.model.local_cache import LocalState


@dataclasses.dataclass(frozen=True)
class CachedModel:
    """A model and the most units of a patch, as pure functions; hashable, to be used as a static argument.

    `takes_marker`: the marker of speech counts as a unit, and opens the first patch of its run.
    """

    model: Architecture
    patch_units: int
    takes_marker: bool = False

    def prefill(
        self,
        params,
        token_BT: Int[Array, "B T"],
        doc_id_BT: Int[Array, "B T"],
        patch_start_BT: Bool[Array, "B T"],
        patch_end_BT: Bool[Array, "B T"],
        row_patches: int,
        slots: int,
    ) -> tuple[LocalState, GlobalState]:
        """Reads whole prompts with training's own kernels. A row holds one document, from its first position on.

        Args:
            row_patches: at least the number of patches of each prompt.
            slots: at least the number of patches that a row will ever have.
        """
        rows = token_BT, doc_id_BT, patch_start_BT, patch_end_BT
        return self._apply("prefill", params, *rows, row_patches, slots, self.patch_units)

    def encode(
        self, params, local: LocalState, token_B: Int[Array, "B"], starts_B: Bool[Array, "B"], on_B: Bool[Array, "B"]
    ) -> LocalState:
        """Adds a token to each row; `starts`: the token is the first one of its patch."""
        return self._apply("encode", params, local, token_B, starts_B, on_B)

    def advance(self, params, local: LocalState, main: GlobalState, on_B: Bool[Array, "B"]) -> GlobalState:
        """Ends the newest patch of each row: one step of the global transformer."""
        return self._apply("advance", params, local, main, on_B, self.patch_units)

    def read(
        self, params, local: LocalState, main: GlobalState, on_B: Bool[Array, "B"]
    ) -> tuple[Float[Array, "B V"], LocalState]:
        """Logits of what follows the newest token. Reading twice changes nothing."""
        return self._apply("read", params, local, main, on_B)

    def _apply(self, method: str, params, *args):
        return self.model.apply({"params": params}, *args, method=method)


def cached_model(model: Architecture, patch_units: int, takes_marker: bool = False) -> CachedModel:
    """The cached form of a model whose longest patch has `patch_units` units.

    On a mesh, its functions are called on each device with its rows and its parts of `params`; so they make its part of
    the caches.
    """
    # the bounds on speech are those of training rows, not of prompts
    whole = model.clone(row_speech_tokens=None, row_speech_patches=None)
    return CachedModel(whole, patch_units if model.patches_speech else 1, takes_marker)


def matrices_in_compute_dtype(model: Architecture, params: Any, free: bool = False) -> Any:
    """`params` with matrices cast as `layers.Linear` casts them, once for all steps; embeddings stay in float32.

    Args: `free` gives the memory of each matrix back when it has been cast; `params` is then of no further use.
    """
    dtype = jnp.dtype(model.config.compute_dtype)

    def cast(path, leaf):
        if path[-1].key != "kernel" or leaf.dtype == dtype:
            return leaf
        new = leaf.astype(dtype)
        if free:
            jax.block_until_ready(new)
            leaf.delete()
        return new

    return jax.tree_util.tree_map_with_path(cast, params)
