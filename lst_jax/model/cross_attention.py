"""Cross-attention between tokens and patches, in both directions, by patch index and document."""

import jax.numpy as jnp
from flax import linen as nn

from lst_jax.config import ModelConfig
from lst_jax.core.shapes import Array, Float
from lst_jax.model import branches
from lst_jax.model.attention import blocked_attention
from lst_jax.model.layers import Linear, RMSNorm
from lst_jax.model.own_patch import gather, patches_attend_own_tokens, tokens_attend_patch
from lst_jax.model.patches import Patches
from lst_jax.model.placement import Placement


class CrossAttention(nn.Module):
    """x + wo(attention(wq norm_q(x), wk norm_kv(y), wv norm_kv(y))), without RoPE; callers add x once more (paper §4).

    Tokens are [B, T, E]. Patches are [B, U·Q, E], with the Q vectors of a patch side by side. A patch sees the tokens of
    the last `window` patches up to itself. A token sees the last `window` patches that are complete at it.
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
        self, x_BSE: Float[Array, "B S E"], y_BRE: Float[Array, "B R E"], patches: Patches
    ) -> Float[Array, "B S E"]:
        """Patches `x` attend to tokens `y` (the encoder) or tokens `x` to patches `y` (the decoder)."""
        return self.over(x_BSE, *self.keys_values(y_BRE), patches)

    def keys_values(self, y_BRE: Float[Array, "B R E"]) -> tuple[Float[Array, "B R H K"], Float[Array, "B R H K"]]:
        """Keys and values of `y`. They depend on nothing else, so a cache can keep them."""
        y_norm_BRE = self.placement.enter(self.cross_attn_norm_kv(y_BRE))
        return self._heads(self.wk(y_norm_BRE), y_BRE), self._heads(self.wv(y_norm_BRE), y_BRE)

    def over(
        self,
        x_BSE: Float[Array, "B S E"],
        k_BRHK: Float[Array, "B R H K"],
        v_BRHK: Float[Array, "B R H K"],
        patches: Patches,
    ) -> Float[Array, "B S E"]:
        """x plus the attention of `x` over the given keys and values."""
        q_BSHK = self._heads(self.wq(self.placement.enter(self.cross_attn_norm_q(x_BSE))), x_BSE)
        attend = self._patches_to_tokens if self.queries_are_patches else self._tokens_to_patches
        out_BSHK = attend(q_BSHK, k_BRHK, v_BRHK, patches)
        return x_BSE + self.placement.leave(self.wo(out_BSHK.reshape(*x_BSE.shape[:2], -1)))

    def _heads(self, projected, x_BSE):
        """Splits a projection into the heads of this device; all heads have one width."""
        return projected.reshape(*x_BSE.shape[:2], -1, x_BSE.shape[-1] // self.config.cross_heads)

    def _patches_to_tokens(self, q_BSHK, k_BTHK, v_BTHK, patches):
        if self.window == 1:
            return _join(patches_attend_own_tokens(self._split(q_BSHK), k_BTHK, v_BTHK, patches.patch_id_BT))
        id_BS, doc_BS = self._patch_side(patches)
        id_BT, doc_BT = self._token_side(patches, patches.patch_id_BT)
        return blocked_attention(
            q_BSHK, k_BTHK, v_BTHK, id_BS, id_BT, doc_BS, doc_BT, self.window, self.config.attention_block
        )

    def _tokens_to_patches(self, q_BTHK, k_BRHK, v_BRHK, patches):
        if self.window == 1:
            return tokens_attend_patch(q_BTHK, self._split(k_BRHK), self._split(v_BRHK), patches.visible_patch_BT)
        id_BT, doc_BT = self._token_side(patches, patches.visible_patch_BT)
        id_BR, doc_BR = self._patch_side(patches)
        return blocked_attention(
            q_BTHK, k_BRHK, v_BRHK, id_BT, id_BR, doc_BT, doc_BR, self.window, self.config.attention_block
        )

    def _split(self, x_BRHK):
        b, r, h, k = x_BRHK.shape
        q = self.config.queries_per_patch
        return x_BRHK.reshape(b, r // q, q, h, k)

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


def _join(x_BUQHK):
    b, u, q, h, k = x_BUQHK.shape
    return x_BUQHK.reshape(b, u * q, h, k)
