"""The Latent Speech-Text Transformer (Lu et al., arXiv 2510.06195) in PyTorch, for `transformers`.

Speech units (25 per second) and text pieces share one vocabulary, but only the local networks see every unit: patches of
units, and each text piece as a patch of its own, are what the large transformer runs over.

    tokens ─► patch encoder ─► patches ─► global transformer ─► patch decoder ─► logits of the token after each token

    model = AutoModelForCausalLM.from_pretrained(FOLDER, trust_remote_code=True)
    model(input_ids, attention_mask).logits          # the patches follow from the ids alone
    model.generate(input_ids, max_new_tokens=50)     # one step of the global transformer a patch, not a token

A row is one document: BOS, then runs of text behind the marker <|text|> and of units behind <|speech|>. Units go in
patches of `config.static_size` from the first unit of their run; every other token is a patch of its own. A token sees
the patches that have ended before it or with it as far as the tokens up to it tell: a short last patch of a run ends
with the token behind the run. Padding may stand anywhere: it is what `attention_mask` says, not what the ids are.

Names of arrays end in their axes:  B rows · T tokens given · S tokens known, earlier ones and these · M patches that
end among these · U patches known · Q queries per patch · R = U·Q · E, D local and global width · H, K heads and their
width · V vocabulary.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_lst import LstConfig

NONE = 2**30  # an id beyond all others: as a key it is seen by no token


class LstCache:
    """What earlier tokens leave behind, by name, each [B, S or U, ...]; `forward` adds to it.

    Patches lie in the slot of their number. Rows may be at different patches: slots that a row has not reached hold
    something that no token of it sees, and are written again when it does.
    """

    def __init__(self, keeps: bool = True):
        """Empty. `keeps` False: it gives back what it is given and stays empty, for a call without earlier tokens."""
        self.keeps, self.held = keeps, {}

    def append(self, name: str, new_BT: torch.Tensor) -> torch.Tensor:
        """All that is known of the tokens: the earlier ones' and `new`."""
        whole_BS = torch.cat([self.held[name], new_BT], 1) if name in self.held else new_BT
        return self._keep(name, whole_BS)

    def put(self, name: str, new_BM: torch.Tensor, patch_BM: torch.Tensor, units: int) -> torch.Tensor:
        """All that is known of the first `units` patches, with `new` at these numbers (consecutive in a row)."""
        if name not in self.held:  # numbers from 0 on
            return self._keep(name, new_BM)
        if new_BM.shape[1]:
            old_BU = self.held[name]
            more = old_BU.new_zeros(len(old_BU), units + new_BM.shape[1] - old_BU.shape[1], *old_BU.shape[2:])
            whole_BU = torch.cat([old_BU, more], 1)
            whole_BU[torch.arange(len(old_BU), device=old_BU.device)[:, None], patch_BM] = new_BM
            self._keep(name, whole_BU[:, :units])
        return self.held[name]

    def swap(self, name: str, new: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """What was kept, or `first` if nothing was; `new` is kept in its place."""
        old = self.held[name] if name in self.held else first
        self._keep(name, new)
        return old

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens that it knows of, S."""
        return self.held["token"].shape[1] if self.held else 0

    def reorder_cache(self, row_index: torch.Tensor) -> None:
        """Makes its rows those with the given numbers, which may repeat: beams, or several answers to one prompt."""
        self.held = {name: x.index_select(0, row_index.to(x.device)) for name, x in self.held.items()}

    def _keep(self, name, whole):
        if self.keeps:
            self.held[name] = whole
        return whole


class Patches(NamedTuple):
    """What the tokens of each row say of patches, from 0 on; see `find_patches`."""

    position_BS: torch.Tensor  # place among the row's tokens, NONE for padding
    patch_BS: torch.Tensor  # number of the token's patch, NONE for padding
    visible_BS: torch.Tensor  # number of the latest patch that is known to have ended, -1 where there is none
    ended_B: torch.Tensor  # how many have


def find_patches(token_BS: torch.Tensor, real_BS: torch.Tensor, config: LstConfig) -> Patches:
    """The static rule (see the module), from ids and attention mask alone.

    Example (static_size 2, u a unit, - padding):   BOS <t> a  <s> u u u - <t>
        patch 0 1 2 3 4 4 5 - 6 | visible 0 1 2 3 3 4 4 - 6 | 7 have ended
    """
    position_BS = real_BS.cumsum(1) - 1
    is_unit_BS = real_BS & (token_BS >= config.unit_offset)
    # the first place of the run of units that a unit is in
    run_BS = torch.where(real_BS & ~is_unit_BS, position_BS + 1, 0).cummax(1).values
    place_BS = (position_BS - run_BS) % config.static_size
    starts_BS = real_BS & (~is_unit_BS | (place_BS == 0))
    ends_BS = real_BS & (~is_unit_BS | (place_BS == config.static_size - 1))
    patch_BS = starts_BS.cumsum(1) - 1
    visible_BS = torch.where(real_BS, torch.where(ends_BS, patch_BS, patch_BS - 1), -1)
    return Patches(
        position_BS.masked_fill(~real_BS, NONE),
        patch_BS.masked_fill(~real_BS, NONE),
        visible_BS,
        visible_BS.amax(1) + 1,
    )


def may_see(query_BT: torch.Tensor, key_BS: torch.Tensor, window: int | None) -> torch.Tensor:
    """The mask rule [B, T, S] of all attentions, over ids that differ: 0 <= query - key < window."""
    gap_BTS = query_BT[:, :, None] - key_BS[:, None, :]
    return (gap_BTS >= 0) if window is None else (gap_BTS >= 0) & (gap_BTS < window)


def attend(q_BTHK: torch.Tensor, k_BSHK: torch.Tensor, v_BSHK: torch.Tensor, see_BTS: torch.Tensor) -> torch.Tensor:
    """Softmax attention [B, T, H·K] scaled by K^-½; zeros where a query sees no key."""
    some_B1T1 = see_BTS.any(-1, keepdim=True)[:, None]
    if not see_BTS.shape[2]:
        return torch.zeros_like(q_BTHK).flatten(2)
    # a query without keys looks at all of them and is set to zero: a softmax over nothing would be NaN
    out_BHTK = F.scaled_dot_product_attention(
        *(x.transpose(1, 2) for x in (q_BTHK, k_BSHK, v_BSHK)), attn_mask=see_BTS[:, None] | ~some_B1T1
    )
    return torch.where(some_B1T1, out_BHTK, 0).transpose(1, 2).flatten(2)


def rope(x_BTHK: torch.Tensor, position_BT: torch.Tensor, theta: float) -> torch.Tensor:
    """Rotates the adjacent pairs (2i, 2i+1) by position · theta^(-2i/K), in float32."""
    k = x_BTHK.shape[-1]
    frequency = theta ** (-torch.arange(0, k, 2, dtype=torch.float64) / k)
    angle_BT1C = position_BT.float()[..., None, None] * frequency.to(x_BTHK.device, torch.float32)
    even_BTHC, odd_BTHC = x_BTHK.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angle_BT1C.cos(), angle_BT1C.sin()
    pairs = torch.stack([even_BTHC * cos - odd_BTHC * sin, odd_BTHC * cos + even_BTHC * sin], -1)
    return pairs.flatten(-2).to(x_BTHK.dtype)


class RMSNorm(nn.Module):
    """x / rms(x) · weight, in float32."""

    def __init__(self, config: LstConfig, width: int):
        """One weight a feature."""
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

    def __init__(self, config: LstConfig, stack: dict, name: str):
        """Two halves, each with its norm."""
        super().__init__()
        width, self.theta, self.name = stack["width"], config.rope_theta, name
        self.attention = Attention(width, stack["heads"])
        self.feed_forward = nn.ModuleDict(
            {
                "w1": nn.Linear(width, stack["ffn_width"], bias=False),
                "w3": nn.Linear(width, stack["ffn_width"], bias=False),
                "w2": nn.Linear(stack["ffn_width"], width, bias=False),
            }
        )
        self.attention_norm, self.ffn_norm = RMSNorm(config, width), RMSNorm(config, width)

    def forward(self, x_BTD: torch.Tensor, place_BT: torch.Tensor, see_BTS: torch.Tensor, remember) -> torch.Tensor:
        """Args: places of `x` and what each may see; `remember(name, keys of x)` gives all keys that are known."""
        a, normed_BTD = self.attention, self.attention_norm(x_BTD)
        q_BTHK, k_BTHK = (rope(a.split(w(normed_BTD)), place_BT, self.theta) for w in (a.wq, a.wk))
        k_BSHK = remember(f"{self.name}.k", k_BTHK)
        v_BSHK = remember(f"{self.name}.v", a.split(a.wv(normed_BTD)))
        x_BTD = x_BTD + a.wo(attend(q_BTHK, k_BSHK, v_BSHK, see_BTS))
        ff, normed_BTD = self.feed_forward, self.ffn_norm(x_BTD)
        return x_BTD + ff["w2"](F.silu(ff["w1"](normed_BTD)) * ff["w3"](normed_BTD))


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

    def forward(
        self, x_BTE: torch.Tensor, k_BRHK: torch.Tensor, v_BRHK: torch.Tensor, see_BTR: torch.Tensor
    ) -> torch.Tensor:
        """x + what it finds."""
        return x_BTE + self.wo(attend(self.split(self.wq(self.cross_attn_norm_q(x_BTE))), k_BRHK, v_BRHK, see_BTR))


class PatchEncoder(nn.Module):
    """Tokens to token states [B, T, E], and the vectors of the patches that end among them [B, M, Q·E]."""

    def __init__(self, config: LstConfig):
        """One cross-attention after every layer, or after the last only."""
        super().__init__()
        stack, self.queries = config.patch_encoder, config.queries_per_patch
        self.window, self.cross_window = stack["window"], config.encoder_cross_window
        self.tok_embeddings = nn.Embedding(config.vocab_size, stack["width"])
        self.layers = nn.ModuleList(Block(config, stack, f"encoder.{i}") for i in range(stack["layers"]))
        self.patch_embedding_projection = nn.Linear(stack["width"], self.queries * stack["width"], bias=False)
        crosses = stack["layers"] if config.encoder_cross_all_layers else 1
        self.cross_attn_layers = nn.ModuleList(CrossAttention(config, f"encoder.cross.{i}") for i in range(crosses))

    def forward(
        self, token_BT: torch.Tensor, at: Patches, patch_BM: torch.Tensor, cache: LstCache
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A patch starts from the largest values of its tokens' states at the first cross-attention."""
        place_BT, first = at.position_BS[:, -token_BT.shape[1] :], len(self.layers) - len(self.cross_attn_layers)
        see_BTS = may_see(place_BT, at.position_BS, self.window)
        h_BTE, keys = self.tok_embeddings(token_BT), []
        for i, layer in enumerate(self.layers):
            h_BTE = layer(h_BTE, place_BT, see_BTS, cache.append)
            if i == first:
                pooled_BSE = cache.append("encoder.pooled", h_BTE)
            if i >= first:
                cross = self.cross_attn_layers[i - first]
                keys.append([cache.append(f"{cross.name}.{j}", x) for j, x in enumerate(cross.keys_values(h_BTE))])
        x_BMW = self.patch_embedding_projection(max_pool(pooled_BSE, at.patch_BS, patch_BM))  # ty: ignore[possibly-unresolved-reference]
        x_BNE = x_BMW.unflatten(-1, (self.queries, -1)).flatten(1, 2)  # N = M·Q
        see_BNS = may_see(patch_BM.repeat_interleave(self.queries, 1), at.patch_BS, self.cross_window)
        for cross, pair in zip(self.cross_attn_layers, keys, strict=True):
            x_BNE = x_BNE + cross(x_BNE, *pair, see_BNS)
        return h_BTE, x_BNE.reshape(x_BMW.shape)


def max_pool(h_BSE: torch.Tensor, patch_BS: torch.Tensor, patch_BM: torch.Tensor) -> torch.Tensor:
    """Largest value [B, M, E] of every feature among the tokens of each of these patches; zeros where it has none."""
    b, m = patch_BM.shape
    index_BS = patch_BS - patch_BM[:, :1] if m else torch.zeros_like(patch_BS)
    index_BS = torch.where((index_BS >= 0) & (index_BS < m), index_BS, m)
    empty = h_BSE.new_zeros(b, m + 1, h_BSE.shape[2])
    return empty.scatter_reduce(1, index_BS[..., None].expand_as(h_BSE), h_BSE, "amax", include_self=False)[:, :m]


class GlobalTransformer(nn.Module):
    """The large stack over patches; no final norm."""

    def __init__(self, config: LstConfig):
        """The projection is there for patch vectors of another width only."""
        super().__init__()
        stack, patch_width = config.global_transformer, config.queries_per_patch * config.patch_encoder["width"]
        self.window = stack["window"]
        self.token_embedding_projection = None
        if patch_width != stack["width"]:
            self.token_embedding_projection = nn.Linear(patch_width, stack["width"], bias=False)
        self.layers = nn.ModuleList(Block(config, stack, f"global.{i}") for i in range(stack["layers"]))

    def forward(
        self, x_BMW: torch.Tensor, patch_BM: torch.Tensor, patch_BU: torch.Tensor, cache: LstCache
    ) -> torch.Tensor:
        """Outputs [B, M, D] of the patches `patch_BM`; all that are known are `patch_BU`."""

        def remember(name, new_BMHK):
            return cache.put(name, new_BMHK, patch_BM, patch_BU.shape[1])

        x_BMD = x_BMW if self.token_embedding_projection is None else self.token_embedding_projection(x_BMW)
        see_BMU = may_see(patch_BM, patch_BU, self.window)
        for layer in self.layers if patch_BM.shape[1] else ():
            x_BMD = layer(x_BMD, patch_BM, see_BMU, remember)
        return x_BMD


class PatchDecoder(nn.Module):
    """Token states and global outputs to the states that logits are read from."""

    def __init__(self, config: LstConfig):
        """One cross-attention before every layer, or before the first only."""
        super().__init__()
        stack, self.queries = config.patch_decoder, config.queries_per_patch
        self.window, self.cross_window = stack["window"], config.decoder_cross_window
        global_width, crosses = config.global_transformer["width"], range(stack["layers"])
        self.patch_embedding_projection = None
        if global_width != stack["width"]:
            self.patch_embedding_projection = nn.Linear(global_width, self.queries * stack["width"], bias=False)
        self.layers = nn.ModuleList(Block(config, stack, f"decoder.{i}") for i in crosses)
        crosses = crosses if config.decoder_cross_all_layers else range(1)
        self.cross_attn_layers = nn.ModuleList(CrossAttention(config, f"decoder.cross.{i}") for i in crosses)
        self.norm = RMSNorm(config, stack["width"])
        self.output = nn.Linear(stack["width"], config.vocab_size, bias=False)

    def forward(
        self,
        h_BTE: torch.Tensor,
        global_BMD: torch.Tensor,
        at: Patches,
        patch_BM: torch.Tensor,
        patch_BU: torch.Tensor,
        cache: LstCache,
    ) -> torch.Tensor:
        """Normed states [B, T, E], from the encoder's states and the global outputs of the patches `patch_BM`."""
        place_BT, (m, units) = at.position_BS[:, -h_BTE.shape[1] :], (patch_BM.shape[1], patch_BU.shape[1])
        y_BMD = global_BMD if self.patch_embedding_projection is None else self.patch_embedding_projection(global_BMD)
        y_BRE = y_BMD.unflatten(-1, (self.queries, -1)).flatten(1, 2)
        see_BTS = may_see(place_BT, at.position_BS, self.window)
        see_BTU = may_see(at.visible_BS[:, -place_BT.shape[1] :], patch_BU, self.cross_window)
        for i, layer in enumerate(self.layers):
            if i < len(self.cross_attn_layers):
                cross = self.cross_attn_layers[i]
                pair = [
                    cache.put(f"{cross.name}.{j}", x.unflatten(1, (m, self.queries)), patch_BM, units).flatten(1, 2)
                    for j, x in enumerate(cross.keys_values(y_BRE))
                ]
                h_BTE = h_BTE + cross(h_BTE, *pair, see_BTU.repeat_interleave(self.queries, 2))
            h_BTE = layer(h_BTE, place_BT, see_BTS, cache.append)
        return self.norm(h_BTE)


class LstForCausalLM(PreTrainedModel, GenerationMixin):
    """The three networks, as a causal language model over the joint vocabulary."""

    config_class = LstConfig
    _supports_sdpa = True
    _is_stateful = True  # a cache cannot be cut: what was read cannot be taken back, as assisted generation would

    def __init__(self, config: LstConfig):
        """Of parameters as `_init_weights` draws them."""
        super().__init__(config)
        self.patch_encoder = PatchEncoder(config)
        self.global_transformer = GlobalTransformer(config)
        self.patch_decoder = PatchDecoder(config)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        past_key_values: LstCache | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool = False,
        logits_to_keep: int | torch.Tensor = 0,
        return_dict: bool | None = None,
        **loss_arguments,
    ) -> CausalLMOutputWithPast | tuple:
        """Logits [B, T, V] of the token after each token, and the loss where there are labels.

        Args: `input_ids` [B, T], behind those that `past_key_values` (of an earlier call) knows of; `attention_mask`
            [B, T or more], the last T count, 0 = padding; `labels` [B, T], the ids themselves and -100 where nothing is
            to be learned; `logits_to_keep` so many last positions or these ones only, 0 = all.
        """
        t = input_ids.shape[1]
        if past_key_values is not None and not isinstance(past_key_values, LstCache):
            raise ValueError(
                f"past_key_values: must be what an earlier call returned, is a "
                f"{type(past_key_values).__name__}; leave it out"
            )
        if attention_mask is not None and attention_mask.dim() != 2:
            raise ValueError(f"attention_mask: must be [B, T], has {attention_mask.dim()} axes; give 1 or 0 per token")
        cache = LstCache(keeps=use_cache) if past_key_values is None else past_key_values
        real_BT = torch.ones_like(input_ids) if attention_mask is None else attention_mask[:, -t:]
        h_BTE = self.hidden(input_ids, real_BT.bool(), cache)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits_BTV = self.patch_decoder.output(h_BTE[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits_BTV, labels=labels, vocab_size=self.config.vocab_size, **loss_arguments
            )
        output = CausalLMOutputWithPast(loss, logits_BTV, cache if cache.keeps else None)
        return output.to_tuple() if return_dict is False else output

    def hidden(self, token_BT: torch.Tensor, real_BT: torch.Tensor, cache: LstCache) -> torch.Tensor:
        """Normed states [B, T, E] of tokens behind those that the cache knows of; `real` False is padding."""
        at = find_patches(cache.append("token", token_BT), cache.append("real", real_BT), self.config)
        done_B = cache.swap("ended", at.ended_B, torch.zeros_like(at.ended_B))
        count, units = torch.stack([at.ended_B - done_B, at.ended_B]).amax(1).tolist()
        patch_BM = done_B[:, None] + torch.arange(count, device=done_B.device)
        patch_BU = torch.arange(units, device=done_B.device).expand(len(done_B), -1)
        h_BTE, x_BMW = self.patch_encoder(token_BT, at, patch_BM, cache)
        global_BMD = self.global_transformer(x_BMW, patch_BM, patch_BU, cache)
        return self.patch_decoder(h_BTE, global_BMD, at, patch_BM, patch_BU, cache)

    def get_input_embeddings(self) -> nn.Embedding:
        """The one table of the joint vocabulary."""
        return self.patch_encoder.tok_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Puts another in its place."""
        self.patch_encoder.tok_embeddings = value

    def get_output_embeddings(self) -> nn.Linear:
        """The output projection, not tied to the input's."""
        return self.patch_decoder.output

    def set_output_embeddings(self, value: nn.Linear) -> None:
        """Puts another in its place."""
        self.patch_decoder.output = value

    def _init_weights(self, module: nn.Module) -> None:
        """Normal with σ = (input width)^-½, cut at ±3σ; norms start at 1."""
        if isinstance(module, (nn.Linear, nn.Embedding)):
            std = module.weight.shape[1] ** -0.5
            nn.init.trunc_normal_(module.weight, std=std, a=-3 * std, b=3 * std)
        elif isinstance(module, RMSNorm):
            nn.init.ones_(module.weight)

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        """False: `generate` leaves it to `forward` to make a cache."""
        return False
