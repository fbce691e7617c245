"""Cross-attention between tokens and patches, in both directions, by patch index and document."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from lst_jax.config import ModelConfig
from lst_jax.core.shapes import Array, Float
from lst_jax.model import branches
from lst_jax.model.attention import blocked_attention
from lst_jax.model.layers import Linear, RMSNorm, inverse_root_mean_square
from lst_jax.model.own_patch import patches_attend_own_tokens, tokens_attend_vectors, vectors_first
from lst_jax.model.patch_rows import gather, to_tokens
from lst_jax.model.patches import Patches
from lst_jax.model.placement import Placement


class VectorsSeen(NamedTuple):
    """The Q vectors of the one patch that each token sees, zeros where it sees none, and what their norms share."""

    vectors_QBTE: Array
    inverse_rms_QBT1: Array


class CrossAttention(nn.Module):
    """x + wo(attention(wq norm_q(x), wk norm_kv(y), wv norm_kv(y))), without RoPE; callers add x once more (paper §4).

    Tokens are [B, T, E]. Patches are [B, U·Q, E], with the Q vectors of a patch one after the other. A patch sees the
    tokens of the last `window` patches up to itself. A token sees the last `window` patches that are complete at it.
    """

    config: ModelConfig
    placement: Placement
    window: int
    queries_are_patches: bool

    def setup(self):
        """Four square projections of the local width, and a norm for each side."""
        width = self.config.patch_encoder.width
        self.cross_attn_norm_q, self.cross_attn_norm_kv = RMSNorm(self.config), RMSNorm(self.config)
        self.wq, self.wk, self.wv, self.wo = (Linear(self.config, self.placement, width) for _ in range(4))

    def __call__(
        self,
        x: Float[Array, "B S E"] | tuple[Float[Array, "B U E"], ...],
        y: Float[Array, "B R E"] | VectorsSeen,
        patches: Patches,
    ) -> Float[Array, "B S E"] | tuple[Float[Array, "B U E"], ...]:
        """Patches `x` attend to tokens `y` (the encoder) or tokens `x` to patches `y` (the decoder).

        In an encoder with a window of 1, `x` are the Q vectors of patches as arrays of their own. In a decoder with a
        window of 1, `y` are the vectors that each token sees (`vectors_seen`).
        """
        if isinstance(x, tuple):
            return self._over_own_tokens(x, y, patches)
        if self.queries_are_patches or self.window != 1:
            return self.over(x, *self.keys_values(y), patches)
        k, v = self._projected(*y)
        return self._added(x, tokens_attend_vectors(self._queries(x), k, v, self._heads_in(k)))

    def _over_own_tokens(self, x, y_BTE, patches):
        k_BTE, v_BTE = self._projected(y_BTE)
        queries, heads = [self._queries(x_BUE) for x_BUE in x], self._heads_in(k_BTE)
        found = patches_attend_own_tokens(queries, k_BTE, v_BTE, patches.patch_id_BT, heads)
        return tuple(self._added(x_BUE, out_BUE) for x_BUE, out_BUE in zip(x, found, strict=True))

    def keys_values(self, y_BRE: Float[Array, "B R E"]) -> tuple[Float[Array, "B R H K"], Float[Array, "B R H K"]]:
        """Keys and values of `y`. They depend on nothing else, so a cache can keep them."""
        return tuple(map(self._split_heads, self._projected(y_BRE)))

    def over(
        self,
        x_BSE: Float[Array, "B S E"],
        k_BRHK: Float[Array, "B R H K"],
        v_BRHK: Float[Array, "B R H K"],
        patches: Patches,
    ) -> Float[Array, "B S E"]:
        """x plus the attention of `x` over the given keys and values."""
        attend = self._patches_to_tokens if self.queries_are_patches else self._tokens_to_patches
        return self._added(x_BSE, attend(self._queries(x_BSE), k_BRHK, v_BRHK, patches))

    def _queries(self, x_BSE):
        return self.wq(self.placement.enter(self.cross_attn_norm_q(x_BSE)))

    def _projected(self, y, inverse_rms=None):
        """Keys and values with the heads side by side; the norm and the projections act on the last axis alone."""
        y_norm = self.placement.enter(self.cross_attn_norm_kv(y, inverse_rms))
        return self.wk(y_norm), self.wv(y_norm)

    def _added(self, x_BSE, out_BSE):
        return x_BSE + self.placement.leave(self.wo(out_BSE))

    def _patches_to_tokens(self, q_BSE, k_BTHK, v_BTHK, patches):
        id_BS, doc_BS = self._patch_side(patches)
        id_BT, doc_BT = self._token_side(patches, patches.patch_id_BT)
        return self._blocked(q_BSE, k_BTHK, v_BTHK, id_BS, id_BT, doc_BS, doc_BT)

    def _tokens_to_patches(self, q_BTE, k_BRHK, v_BRHK, patches):
        if self.window == 1:
            k_QBTE, v_QBTE = (_fetched(gather, _flat(x_BRHK), patches) for x_BRHK in (k_BRHK, v_BRHK))
            return tokens_attend_vectors(q_BTE, k_QBTE, v_QBTE, k_BRHK.shape[2])
        id_BT, doc_BT = self._token_side(patches, patches.visible_patch_BT)
        id_BR, doc_BR = self._patch_side(patches)
        return self._blocked(q_BTE, k_BRHK, v_BRHK, id_BT, id_BR, doc_BT, doc_BR)

    def _blocked(self, q_BSE, k_BRHK, v_BRHK, *rule):
        q_BSHK = self._split_heads(q_BSE)
        return _flat(blocked_attention(q_BSHK, k_BRHK, v_BRHK, *rule, self.window, self.config.attention_block))

    def _heads_in(self, x):
        """How many heads of a projection this device has; all heads have one width."""
        return x.shape[-1] * self.config.cross_heads // self.config.patch_encoder.width

    def _split_heads(self, x_BSE):
        return x_BSE.reshape(*x_BSE.shape[:2], self._heads_in(x_BSE), -1)

    def _patch_side(self, patches):
        """Position and document of the patch of each of the U·Q vectors."""
        return tuple(
            jnp.repeat(x_BU, self.config.queries_per_patch, 1) for x_BU in (self._positions(patches), patches.doc_id_BU)
        )

    def _token_side(self, patches, patch_BT):
        """Position and document of the given patch of each token; document 0 where the index is no patch."""
        position_BT = gather(self._positions(patches), patch_BT) if self.placement.branched else patch_BT
        return position_BT, gather(patches.doc_id_BU, patch_BT)

    def _positions(self, patches):
        """The position of each patch: in its row or, where documents may branch, in its own sequence."""
        if self.placement.branched:
            return branches.positions(patches.doc_id_BU)
        return jnp.broadcast_to(jnp.arange(patches.doc_id_BU.shape[1]), patches.doc_id_BU.shape)


def vectors_seen(placement: Placement, x_BRE: Float[Array, "B R E"], patches: Patches, norm_eps: float) -> VectorsSeen:
    """They are the same for all layers, so their sizes are found once."""
    # what a branch sees may lie far before it
    vectors_QBTE = _fetched(gather if placement.branched else to_tokens, x_BRE, patches)
    return VectorsSeen(vectors_QBTE, inverse_root_mean_square(vectors_QBTE, norm_eps))


def _fetched(fetch, x_BRE, patches):
    x_BUC = x_BRE.reshape(*patches.doc_id_BU.shape, -1)
    return vectors_first(fetch(x_BUC, patches.visible_patch_BT), x_BRE.shape[2])


def _flat(x_BRHK):
    """The heads side by side."""
    return x_BRHK.reshape(*x_BRHK.shape[:2], -1)
