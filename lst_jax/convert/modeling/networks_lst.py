"""The three networks of a Latent Speech-Text Transformer. See modeling_lst.py for the letters."""

import torch
import torch.nn.functional as F
from torch import nn

from .attention_lst import attend_ranges, attend_window, max_ranges, rope
from .cache_lst import LstCache, Slots
from .configuration_lst import LstConfig
from .patches_lst import Layout


class RMSNorm(nn.Module):
    """x / rms(x) · weight, in float32."""

    def __init__(self, config: LstConfig, width: int):
        """One weight per feature."""
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), config.norm_eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalizes the last axis."""
        x_float = x.float()
        x_float = x_float * torch.rsqrt(x_float.square().mean(-1, keepdim=True) + self.eps)
        return (x_float * self.weight.float()).to(x.dtype)


class Attention(nn.Module):
    """Four square projections."""

    def __init__(self, width: int, heads: int):
        """Queries, keys, values and what becomes of them."""
        super().__init__()
        self.heads = heads
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(width, width, bias=False) for _ in range(4))

    def split(self, x_BTE: torch.Tensor) -> torch.Tensor:
        """Heads [B, T, H, K]."""
        return x_BTE.unflatten(-1, (self.heads, -1))


class Block(nn.Module):
    """A pre-norm transformer block with RoPE and SwiGLU; `name` is that of its keys and values in the cache."""

    gradient_checkpointing = False  # transformers sets it, and the function below, by gradient_checkpointing_enable

    def __init__(self, config: LstConfig, stack: dict, name: str):
        """Two halves, each with its norm."""
        super().__init__()
        width, self.theta, self.window, self.name = stack["width"], config.rope_theta, stack["window"], name
        self.attention = Attention(width, stack["heads"])
        self.feed_forward = nn.ModuleDict(
            {
                "w1": nn.Linear(width, stack["ffn_width"], bias=False),
                "w3": nn.Linear(width, stack["ffn_width"], bias=False),
                "w2": nn.Linear(stack["ffn_width"], width, bias=False),
            }
        )
        self.attention_norm, self.ffn_norm = RMSNorm(config, width), RMSNorm(config, width)

    def forward(self, x_BTD: torch.Tensor, at: Slots, cache: LstCache) -> torch.Tensor:
        """The states of the things that `x` are; `at` has their numbers, which are their positions too."""
        a, normed_BTD = self.attention, self.attention_norm(x_BTD)
        q_BTHK, k_BTHK = (rope(a.split(w(normed_BTD)), at.number_BN, self.theta) for w in (a.wq, a.wk))
        k_BSHK = cache.put(f"{self.name}.k", k_BTHK, at)
        v_BSHK = cache.put(f"{self.name}.v", a.split(a.wv(normed_BTD)), at)
        x_BTD = x_BTD + a.wo(attend_window(q_BTHK, k_BSHK, v_BSHK, at, self.window))
        ff, normed_BTD = self.feed_forward, self.ffn_norm(x_BTD)
        return x_BTD + ff["w2"](F.silu(ff["w1"](normed_BTD)) * ff["w3"](normed_BTD))

    def run(self, x_BTD: torch.Tensor, at: Slots, cache: LstCache) -> torch.Tensor:
        """`forward`, without keeping what its gradient needs where that is asked for and nothing is cached."""
        if self.gradient_checkpointing and self.training and not cache.keeps and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(self.__call__, x_BTD, at, cache)
        return self(x_BTD, at, cache)


class CrossAttention(Attention):
    """x + wo(attention(wq norm_q(x), wk norm_kv(y), wv norm_kv(y))), without RoPE; callers add x once more."""

    def __init__(self, config: LstConfig, name: str):
        """A norm for each side."""
        width = config.patch_encoder["width"]
        super().__init__(width, config.cross_heads)
        self.name = name
        self.cross_attn_norm_q, self.cross_attn_norm_kv = RMSNorm(config, width), RMSNorm(config, width)

    def keys_values(self, y_BRE: torch.Tensor) -> list[torch.Tensor]:
        """What is attended to, [B, R, H, K] each."""
        y_BRE = self.cross_attn_norm_kv(y_BRE)
        return [self.split(w(y_BRE)) for w in (self.wk, self.wv)]

    def forward(self, x_BNCE: torch.Tensor, k_BRHK, v_BRHK, low_BN, high_BN, longest: int) -> torch.Tensor:
        """x plus what the C queries of each n find in the range low <= r < high."""
        q_BNCHK = self.split(self.wq(self.cross_attn_norm_q(x_BNCE)))
        return x_BNCE + self.wo(attend_ranges(q_BNCHK, k_BRHK, v_BRHK, low_BN, high_BN, longest))


class PatchEncoder(nn.Module):
    """Local tokens to their states [B, N, E], and the vectors [B, M, Q·E] of the local patches that end among them."""

    def __init__(self, config: LstConfig, vocab_size: int):
        """One cross-attention after every layer, or after the last only."""
        super().__init__()
        stack, self.queries = config.patch_encoder, config.queries_per_patch
        self.cross_window = config.encoder_cross_window
        self.tok_embeddings = nn.Embedding(vocab_size, stack["width"])
        self.layers = nn.ModuleList(Block(config, stack, f"encoder.{i}") for i in range(stack["layers"]))
        self.patch_embedding_projection = nn.Linear(stack["width"], self.queries * stack["width"], bias=False)
        crosses = stack["layers"] if config.encoder_cross_all_layers else 1
        self.cross_attn_layers = nn.ModuleList(CrossAttention(config, f"encoder.cross.{i}") for i in range(crosses))

    def forward(
        self, id_BN: torch.Tensor, at: Layout, cache: LstCache, states: list | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A patch starts from the largest values of its tokens' states at the first cross-attention.

        Args: `id` are rows of the embedding; `states` gets the states before the first layer and behind each.
        """
        h_BNE, first, keys = self.tok_embeddings(id_BN), len(self.layers) - len(self.cross_attn_layers), []
        _note(states, h_BNE)
        for i, layer in enumerate(self.layers):
            h_BNE = layer.run(h_BNE, at.local, cache)
            _note(states, h_BNE)
            if i == first:
                pooled_BSE = cache.put("encoder.pooled", h_BNE, at.local)
            if i >= first:
                cross = self.cross_attn_layers[i - first]
                pair = enumerate(cross.keys_values(h_BNE))
                keys.append([cache.put(f"{cross.name}.{j}", x, at.local) for j, x in pair])
        own_BM, low_BM, high_BM = at.ranges(self.cross_window)
        longest = int((high_BM - low_BM).amax()) if at.local_patches.count else 0
        x_BMW = self.patch_embedding_projection(max_ranges(pooled_BSE, own_BM, high_BM, longest))  # ty: ignore[possibly-unresolved-reference]
        x_BMQE = x_BMW.unflatten(-1, (self.queries, -1))
        for cross, pair in zip(self.cross_attn_layers, keys, strict=True):
            x_BMQE = x_BMQE + cross(x_BMQE, *pair, low_BM, high_BM, longest)
        return h_BNE, x_BMQE.flatten(2)


class GlobalTransformer(nn.Module):
    """The large stack over patches; no final norm."""

    def __init__(self, config: LstConfig):
        """The projection is there for patch vectors of another width only, where nothing has brought them to it."""
        super().__init__()
        stack, patch_width = config.global_transformer, config.queries_per_patch * config.patch_encoder["width"]
        self.token_embedding_projection = None
        if patch_width != stack["width"] and not config.text_bypasses_local_networks:
            self.token_embedding_projection = nn.Linear(patch_width, stack["width"], bias=False)
        self.layers = nn.ModuleList(Block(config, stack, f"global.{i}") for i in range(stack["layers"]))

    def forward(self, x_BMW: torch.Tensor, at: Layout, cache: LstCache, states: list | None = None) -> torch.Tensor:
        """Outputs [B, M, D] of the patches that end in this call; `states` gets the inputs and each layer's outputs."""
        x_BMD = x_BMW if self.token_embedding_projection is None else self.token_embedding_projection(x_BMW)
        _note(states, x_BMD)
        for layer in self.layers:
            if at.patches.count:
                x_BMD = layer.run(x_BMD, at.patches, cache)
            _note(states, x_BMD)
        return x_BMD


class PatchDecoder(nn.Module):
    """The states of local tokens, and global outputs of local patches, to the states that logits are read from."""

    def __init__(self, config: LstConfig):
        """One cross-attention before every layer, or before the first only."""
        super().__init__()
        stack, self.queries = config.patch_decoder, config.queries_per_patch
        self.cross_window = config.decoder_cross_window
        global_width, crosses = config.global_transformer["width"], range(stack["layers"])
        self.patch_embedding_projection = None
        if global_width != stack["width"]:
            self.patch_embedding_projection = nn.Linear(global_width, self.queries * stack["width"], bias=False)
        self.layers = nn.ModuleList(Block(config, stack, f"decoder.{i}") for i in crosses)
        crosses = crosses if config.decoder_cross_all_layers else range(1)
        self.cross_attn_layers = nn.ModuleList(CrossAttention(config, f"decoder.cross.{i}") for i in crosses)
        self.norm = RMSNorm(config, stack["width"])
        if not config.text_bypasses_local_networks:
            self.output = nn.Linear(stack["width"], config.vocab_size, bias=False)

    def forward(
        self, h_BNE: torch.Tensor, global_BMD: torch.Tensor, at: Layout, cache: LstCache, states: list | None = None
    ) -> torch.Tensor:
        """Normed states [B, N, E], from the encoder's and the global outputs of the new local patches."""
        y_BMD = global_BMD if self.patch_embedding_projection is None else self.patch_embedding_projection(global_BMD)
        y_BME = y_BMD.unflatten(-1, (self.queries, -1))
        high_BN = at.seen_BN()
        low_BN = (high_BN - self.cross_window).clamp(min=0) * self.queries
        high_BN = high_BN * self.queries
        for i, layer in enumerate(self.layers):
            if i < len(self.cross_attn_layers):
                cross = self.cross_attn_layers[i]
                pair = enumerate(cross.keys_values(y_BME))
                k_BRHK, v_BRHK = (cache.put(f"{cross.name}.{j}", x, at.local_patches).flatten(1, 2) for j, x in pair)
                longest = min(self.cross_window * self.queries, k_BRHK.shape[1])
                h_BNE = h_BNE + cross(h_BNE[:, :, None], k_BRHK, v_BRHK, low_BN, high_BN, longest)[:, :, 0]
            h_BNE = layer.run(h_BNE, at.local, cache)
            _note(states, h_BNE)
        return self.norm(h_BNE)


def _note(states: list | None, x: torch.Tensor) -> None:
    if states is not None:
        states.append(x)
