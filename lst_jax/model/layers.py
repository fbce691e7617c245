"""The layers that all stacks share. Parameter names map one to one to the ancestor's (`lst_jax.convert.ancestor`).

Parameters are float32, and are cast to the compute dtype where they are used. Matrices begin as normal values cut at
±3σ, with σ = (input width)^-½ (paper §4: d^-½, and hidden^-½ for the down projection). Norm scales begin at 1.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from lst_jax.config import ModelConfig, StackConfig
from lst_jax.core.shapes import Array, Bool, Float, Int
from lst_jax.model import cache as cached
from lst_jax.model.placement import Placement
from lst_jax.model.rotary import rope, theta_of


class Linear(nn.Module):
    """A projection, with a bias on request; its kernel is [in, out].

    The result is in `dtype`, or the compute dtype where None.

    Leading axes are merged into one. Otherwise XLA's CPU backend writes a transposed copy of the activations for each
    weight gradient, which takes longer than the product itself.
    """

    config: ModelConfig
    placement: Placement
    width: int
    dtype: str | None = None
    bias: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch F"]:
        """The product x · kernel, with operands in the compute dtype, and the bias."""
        d = x.shape[-1]
        kernel_DF = stored(self, "kernel", truncated_normal(d), (d, self.width))
        x_ND, kernel_DF = (a.astype(self.config.compute_dtype) for a in (x.reshape(-1, d), kernel_DF))
        out_NF = self.placement.product(self.name, x_ND, kernel_DF, self.dtype or self.config.compute_dtype)
        if self.bias:
            out_NF = out_NF + stored(self, "bias", nn.initializers.zeros, (self.width,)).astype(out_NF.dtype)
        return out_NF.reshape(*x.shape[:-1], -1)


def stored(module: nn.Module, name: str, initializer, shape: tuple[int, ...]) -> jax.Array:
    """A parameter of a module that has a `placement`: the whole `shape`, or the part that this device holds."""
    if module.placement.gather is None or module.is_initializing():
        return module.param(name, initializer, shape)
    return module.variables["params"][name]


def truncated_normal(fan_in: int):
    """Initializer: normal with σ = fan_in^-½, cut at ±3σ."""
    return nn.initializers.truncated_normal(stddev=fan_in**-0.5, lower=-3.0, upper=3.0)


def inverse_root_mean_square(x: Float[Array, "*batch D"], eps: float) -> Float[Array, "*batch 1"]:
    """1 / rms of the last axis, in float32."""
    x = x.astype(jnp.float32)
    return jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps)


class RMSNorm(nn.Module):
    """x / rms(x) · scale, computed in float32 and returned in the compute dtype."""

    config: ModelConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch D"], inverse_rms: Float[Array, "*batch 1"] | None = None
    ) -> Float[Array, "*batch D"]:
        """Normalizes the last axis; norms of the same `x` can share its `inverse_rms`."""
        scale_D = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        if inverse_rms is None:
            inverse_rms = inverse_root_mean_square(x, self.config.norm_eps)
        return (x.astype(jnp.float32) * inverse_rms * scale_D).astype(self.config.compute_dtype)


class LayerNorm(nn.Module):
    """(x - mean(x)) / std(x), without parameters, computed in float32 and returned in the compute dtype."""

    config: ModelConfig

    def __call__(self, x: Float[Array, "*batch D"]) -> Float[Array, "*batch D"]:
        """Normalizes the last axis."""
        x = x.astype(jnp.float32)
        x = x - x.mean(-1, keepdims=True)
        return (x * inverse_root_mean_square(x, self.config.norm_eps)).astype(self.config.compute_dtype)


NORMS = {"rms": RMSNorm, "layer": LayerNorm}  # by `StackConfig.norm`


class HeadNorm(nn.Module):
    """RMS norm of queries or keys before they are rotated: of each head, or of all heads as one vector."""

    config: ModelConfig
    placement: Placement
    all_heads: bool

    @nn.compact
    def __call__(self, x_BTHK: Float[Array, "B T H K"]) -> Float[Array, "B T H K"]:
        """Normalizes the heads of this device."""
        b, t, h, k = x_BTHK.shape
        x_BTGW = x_BTHK.reshape(b, t, 1, h * k) if self.all_heads else x_BTHK
        scale_W = self.placement.enter(self.param("scale", nn.initializers.ones, (x_BTGW.shape[-1],)))
        x_BTGW = x_BTGW.astype(jnp.float32) * inverse_root_mean_square(x_BTGW, self.config.norm_eps) * scale_W
        return x_BTGW.astype(self.config.compute_dtype).reshape(b, t, h, k)


class SelfAttention(nn.Module):
    """Multi-head self-attention with RoPE within documents and a causal window; `rotated=False`: without RoPE."""

    config: ModelConfig
    placement: Placement
    stack: StackConfig
    rotated: bool = True

    def setup(self):
        """Four projections, and the norms of queries and keys where the stack has them."""
        config, placement, stack = self.config, self.placement, self.stack
        inner = stack.heads * stack.size_of_head
        self.wq, self.wk, self.wv = (Linear(config, placement, inner, bias=stack.qkv_bias) for _ in range(3))
        self.wo = Linear(config, placement, stack.width)
        if stack.qk_norm != "none":
            all_heads = stack.qk_norm == "all_heads"
            self.q_norm, self.k_norm = (HeadNorm(config, placement, all_heads) for _ in range(2))

    def __call__(self, x_BTD: Float[Array, "B T D"], doc_id_BT: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """Each position attends to itself and to earlier positions of its document within the window."""
        return self._attend(*self._heads(x_BTD), doc_id_BT)

    def keep(
        self, x_BTD: Float[Array, "B T D"], doc_id_BT: Int[Array, "B T"], length_B: Int[Array, "B"], slots: int
    ) -> tuple[Float[Array, "B T D"], cached.Cache]:
        """What `__call__` gives rows of one document each, and the cache after the first `length` positions of each row."""
        q_BTHK, k_BTHK, v_BTHK = self._heads(x_BTD)
        cache = cached.keep(rope(k_BTHK, self._theta), v_BTHK, length_B, slots)
        return self._attend(q_BTHK, k_BTHK, v_BTHK, doc_id_BT), cache

    def step(
        self, x_B1D: Float[Array, "B 1 D"], cache: cached.Cache, position_B: Int[Array, "B"], on_B: Bool[Array, "B"]
    ) -> tuple[Float[Array, "B 1 D"], cached.Cache]:
        """What `__call__` gives at one position more. Only rows that are `on` extend the cache."""
        q_B1HK, k_B1HK, v_B1HK = self._heads(x_B1D)
        q_B1HK, k_B1HK = (rope(x, self._theta, position_B[:, None]) for x in (q_B1HK, k_B1HK))
        cache = cached.extend(cache, k_B1HK, v_B1HK, position_B, on_B)
        return self._out(cached.attend(q_B1HK, cache, position_B)), cache

    def _heads(self, x_BTD):
        """Queries and keys that are not yet rotated, and values, of the heads of this device."""
        b, t, _ = x_BTD.shape
        x_BTD, k = self.placement.enter(x_BTD), self.stack.size_of_head
        q_BTHK, k_BTHK, v_BTHK = (project(x_BTD).reshape(b, t, -1, k) for project in (self.wq, self.wk, self.wv))
        if (most := self.stack.qkv_clip) is not None:
            q_BTHK, k_BTHK, v_BTHK = (x.clip(-most, most) for x in (q_BTHK, k_BTHK, v_BTHK))
        if self.stack.qk_norm != "none":
            q_BTHK, k_BTHK = self.q_norm(q_BTHK), self.k_norm(k_BTHK)
        return q_BTHK, k_BTHK, v_BTHK

    def _attend(self, q_BTHK, k_BTHK, v_BTHK, doc_id_BT):
        window, block = self.stack.window, self.config.attention_block
        return self._out(self.placement.attend(q_BTHK, k_BTHK, v_BTHK, doc_id_BT, self._theta, window, block))

    @property
    def _theta(self):
        return theta_of(self.config, self.stack) if self.rotated else None

    def _out(self, out_BTHK):
        return self.placement.leave(self.wo(out_BTHK.reshape(*out_BTHK.shape[:2], -1)))


class SwiGLU(nn.Module):
    """w2(silu(w1 x) · w3 x) (Shazeer, arXiv 2002.05202)."""

    config: ModelConfig
    placement: Placement
    stack: StackConfig

    @nn.compact
    def __call__(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Computes each position by itself."""
        d, f = x_BTD.shape[-1], self.config.ffn_width_of(self.stack)
        x_BTD = self.placement.enter(x_BTD)
        gate_BTF, up_BTF = (Linear(self.config, self.placement, f, name=name)(x_BTD) for name in ("w1", "w3"))
        # The barrier keeps XLA on TPUs from computing `up` once more for each part of the next product's outputs.
        hidden_BTF = jax.lax.optimization_barrier(nn.silu(gate_BTF) * up_BTF)
        return self.placement.leave(Linear(self.config, self.placement, d, name="w2")(hidden_BTF))


class Block(nn.Module):
    """A transformer block: x + attention(norm(x)), then x + ffn(norm(x)).

    With `norm_place="after"` the norms come after attention and feed-forward: x + norm(attention(x)).
    """

    config: ModelConfig
    placement: Placement
    stack: StackConfig
    rotated: bool = True

    def setup(self):
        """Self-attention and feed-forward, each with its norm."""
        self.attention = SelfAttention(self.config, self.placement, self.stack, self.rotated)
        self.feed_forward = SwiGLU(self.config, self.placement, self.stack)
        self.attention_norm, self.ffn_norm = (NORMS[self.stack.norm](self.config) for _ in range(2))

    def __call__(self, x_BTD: Float[Array, "B T D"], doc_id_BT: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """Runs the block over whole rows."""
        out_BTD = self.attention(self._before(self.attention_norm, x_BTD), doc_id_BT)
        return self._feed_forward(x_BTD + self._after(self.attention_norm, out_BTD))

    def keep(
        self, x_BTD: Float[Array, "B T D"], doc_id_BT: Int[Array, "B T"], length_B: Int[Array, "B"], slots: int
    ) -> tuple[Float[Array, "B T D"], cached.Cache]:
        """Runs the block over rows of one document each; also the cache after `length` positions.

        The cache has `slots` slots, or as many as the window where that is smaller.
        """
        out_BTD, cache = self.attention.keep(
            self._before(self.attention_norm, x_BTD), doc_id_BT, length_B, min(self.stack.window or slots, slots)
        )
        return self._feed_forward(x_BTD + self._after(self.attention_norm, out_BTD)), cache

    def step(
        self, x_B1D: Float[Array, "B 1 D"], cache: cached.Cache, position_B: Int[Array, "B"], on_B: Bool[Array, "B"]
    ) -> tuple[Float[Array, "B 1 D"], cached.Cache]:
        """Runs the block over one position more of each row, see `SelfAttention.step`."""
        out_B1D, cache = self.attention.step(self._before(self.attention_norm, x_B1D), cache, position_B, on_B)
        return self._feed_forward(x_B1D + self._after(self.attention_norm, out_B1D)), cache

    def _feed_forward(self, x_BTD):
        out_BTD = self.feed_forward(self._before(self.ffn_norm, x_BTD))
        return x_BTD + self._after(self.ffn_norm, out_BTD)

    def _before(self, norm, x_BTD):
        return norm(x_BTD) if self.stack.norm_place == "before" else x_BTD

    def _after(self, norm, x_BTD):
        return norm(x_BTD) if self.stack.norm_place == "after" else x_BTD


def blocks(config: ModelConfig, placement: Placement, stack: StackConfig) -> list[Block]:
    """The blocks of a stack, for the `setup` of a module."""
    return [Block(config, placement, stack, stack.rotates(i)) for i in range(stack.layers)]
