"""The systems in PyTorch with dense masks: the oracle of the gradient tests, and the other side of `lst bench torch`.

    rows = rows_of(batch, row_patches, vocab)
    params = to_torch(jax_params, torch.float64)
    loss = DenseModel(config, vocab).loss(params, rows)

The code is meant to be seen to be correct. A loop over tokens gives patch ids, every attention has a boolean mask with
an entry for each pair, and nothing of `lst_jax.model` is used. It computes in the dtype of the parameters. It needs
torch, which is an extra: import this module inside functions (`torch_step.require_torch`).
"""

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from lst_jax.config import ModelConfig, StackConfig
from lst_jax.core.shapes import Bool, Float, Int
from lst_jax.core.vocab import Vocab

Tensor = torch.Tensor
Params = dict[str, Any]  # nested `Tensor`s, as Flax names them; kernels are [in, out]


class Ids(NamedTuple):
    """The patch and document ids that masks are made of; -1 where there is no patch.

    Example (U=4, as in `lst_jax.model.patches`): patch_start 1 1 0 1 0, doc_id 1 1 1 2 0, patch_end 1 0 1 1 0
        -> patch 0 1 1 2 -1 | visible 0 0 1 2 -1 | doc of the patches 1 1 2 0
    """

    doc_BT: Int[Tensor, "B T"]
    patch_BT: Int[Tensor, "B T"]  # the token's patch
    visible_BT: Int[Tensor, "B T"]  # the latest patch of its document that has ended at the token
    doc_BU: Int[Tensor, "B U"]


class Local(NamedTuple):
    """For "lst_bypass": the S tokens per row that pass through the local networks, in P patches, and their origin."""

    token_BS: Int[Tensor, "B S"]  # counted from `<s>`
    ids: Ids
    position_BS: Int[Tensor, "B S"]  # in the row; T where there is no token
    unit_BP: Int[Tensor, "B P"]  # patch position in the row of each local patch; U where there is no patch
    text_BU: Int[Tensor, "B U"]  # the text token at each patch position; -1 where there is none


class Rows(NamedTuple):
    """A batch as the model reads it."""

    token_BT: Int[Tensor, "B T"]
    target_BT: Int[Tensor, "B T"]
    weight_BT: Float[Tensor, "B T"]
    ids: Ids
    local: Local | None


class Mask(NamedTuple):
    """Which keys a query sees. Where it sees none, the mask is open, and the result is multiplied by 0."""

    open_B1SR: Bool[Tensor, "B 1 S R"]
    sees_BS1: Bool[Tensor, "B S 1"]


def to_torch(params: Any, dtype: torch.dtype, device: str = "cpu") -> Any:
    """Nested arrays to leaves that collect gradients."""
    if isinstance(params, dict):
        return {name: to_torch(value, dtype, device) for name, value in params.items()}
    return torch.tensor(np.asarray(params), dtype=dtype, device=device, requires_grad=True)


def leaves(params: Params, prefix: str = "") -> dict[str, Tensor]:
    """Nested parameters to `{"patch_encoder/layers_0/...": tensor}`."""
    flat = {}
    for name, value in params.items():
        flat |= leaves(value, f"{prefix}{name}/") if isinstance(value, dict) else {prefix + name: value}
    return flat


def rows_of(batch: Any, units: int, vocab: Vocab, bypass: bool = False, device: str = "cpu") -> Rows:
    """The tensors of a `data.rows.Batch` (numpy), with patch ids that are found token by token."""
    inputs = [np.asarray(x) for x in (batch.token_BT, batch.doc_id_BT, batch.patch_start_BT, batch.patch_end_BT)]
    rows = Rows(
        inputs[0],
        np.asarray(batch.target_BT),
        np.asarray(batch.weight_BT),
        _ids(*inputs[1:], units),
        _local(*inputs, units, vocab) if bypass else None,
    )
    return _to_device(rows, device)


def _to_device(value: Any, device: str) -> Any:
    if isinstance(value, tuple):
        return type(value)(*(_to_device(x, device) for x in value))
    return None if value is None else torch.as_tensor(value, device=device)


def _ids(doc_BT, start_BT, end_BT, units: int) -> Ids:
    """Walks every row once."""
    patch_BT, visible_BT = np.full(doc_BT.shape, -1), np.full(doc_BT.shape, -1)
    doc_BU = np.zeros((len(doc_BT), units), np.int64)
    for doc_T, start_T, end_T, patch_T, visible_T, doc_U in zip(
        doc_BT.tolist(), start_BT, end_BT, patch_BT, visible_BT, doc_BU, strict=True
    ):
        patch = -1
        for t, doc in enumerate(doc_T):
            if doc == 0:
                continue
            patch += bool(start_T[t])
            patch_T[t], doc_U[patch] = patch, doc
            ended = patch if end_T[t] else patch - 1
            if ended >= 0 and doc_U[ended] == doc:
                visible_T[t] = ended
    return Ids(doc_BT.astype(np.int64), patch_BT, visible_BT, doc_BU)


def _local(token_BT, doc_BT, start_BT, end_BT, units: int, vocab: Vocab) -> Local:
    """Picks the tokens whose ids are `<s>` or above, in order; shorter rows are padded."""
    row = _ids(doc_BT, start_BT, end_BT, units)
    picked = [np.flatnonzero((t >= vocab.speech_marker) & (d > 0)) for t, d in zip(token_BT, doc_BT, strict=True)]
    size, length = max(len(p) for p in picked), token_BT.shape[1]
    position_BS = np.stack([np.pad(p, (0, size - len(p)), constant_values=length) for p in picked])
    token_BS, doc_BS, start_BS, end_BS, patch_BS = (
        np.take_along_axis(np.pad(x, ((0, 0), (0, 1)), constant_values=empty), position_BS, 1)
        for x, empty in (
            (token_BT, vocab.speech_marker),
            (doc_BT, 0),
            (start_BT, False),
            (end_BT, False),
            (row.patch_BT, -1),
        )
    )
    ids = _ids(doc_BS, start_BS, end_BS, size)
    unit_BP, text_BU = np.full((len(doc_BT), size), units), np.full((len(doc_BT), units), -1)
    for b in range(len(doc_BT)):
        for patch, unit in zip(ids.patch_BT[b], patch_BS[b], strict=True):
            if patch >= 0:
                unit_BP[b, patch] = unit
        for token, unit in zip(token_BT[b], row.patch_BT[b], strict=True):
            if unit >= 0 and token < vocab.speech_marker:
                text_BU[b, unit] = token
    return Local((token_BS - vocab.speech_marker).astype(np.int64), ids, position_BS, unit_BP, text_BU)


class DenseModel:
    """A system as functions of its parameters (`to_torch`)."""

    def __init__(self, config: ModelConfig, vocab: Vocab):
        """The configuration may be of any system."""
        self.config, self.vocab = config, vocab

    def loss(self, params: Params, rows: Rows) -> Float[Tensor, ""]:
        """The weighted mean of nats per target."""
        logits_BTV = self.logits(params, rows)
        nll_N = F.cross_entropy(logits_BTV.flatten(0, 1), rows.target_BT.flatten().long(), reduction="none")
        weight_N = rows.weight_BT.flatten().to(nll_N.dtype)
        return (nll_N * weight_N).sum() / weight_N.sum().clamp(min=1)

    def logits(self, params: Params, rows: Rows) -> Float[Tensor, "B T V"]:
        """Logits of the token that follows each, in float32 or wider."""
        if self.config.architecture == "base":
            h_BTD = F.embedding(rows.token_BT, params["tok_embeddings"]["embedding"])
            h_BTD = self._norm(self._global(params["global_transformer"], h_BTD, rows.ids.doc_BT), params["norm"])
            return _wide(_linear(h_BTD, params["output"]))
        if self.config.architecture == "lst_bypass":
            return _wide(_linear(self._bypass(params, rows), params["output"]))
        h_BTE, masks, x_BUW = self._encode(params["patch_encoder"], rows.token_BT, rows.ids)
        global_BUD = self._global(params["global_transformer"], x_BUW, rows.ids.doc_BU)
        h_BTE = self._decode(params["patch_decoder"], h_BTE, global_BUD, rows.ids, masks)
        return _wide(_linear(h_BTE, params["patch_decoder"]["output"]))

    def _bypass(self, params: Params, rows: Rows) -> Tensor:
        """Final states [B, T, D] where text is embedded at the global width and read at the global output."""
        local, (b, t), u = rows.local, rows.token_BT.shape, rows.ids.doc_BU.shape[1]
        row_B1 = torch.arange(b, device=rows.token_BT.device)[:, None]
        h_BSE, masks, x_BPW = self._encode(params["patch_encoder"], local.token_BS, local.ids)
        if "token_embedding_projection" in params:
            x_BPW = _linear(x_BPW, params["token_embedding_projection"])
        text_BUD = F.embedding(local.text_BU.clamp(min=0), params["text_embeddings"]["embedding"])
        text_BUD = F.pad(
            text_BUD * (local.text_BU >= 0)[..., None], (0, 0, 0, 1)
        )  # one position more, for what has no patch
        x_BUD = text_BUD.index_put((row_B1, local.unit_BP), x_BPW)[:, :u]
        global_BUD = self._global(params["global_transformer"], x_BUD, rows.ids.doc_BU)
        for_patch_BPD = F.pad(global_BUD, (0, 0, 0, 1))[row_B1, local.unit_BP]
        h_BSE = self._decode(params["patch_decoder"], h_BSE, for_patch_BPD, local.ids, masks)
        normed_BUD = F.pad(self._norm(global_BUD, params["text_norm"]), (0, 0, 0, 1))  # -1 reads the zeros
        h_BTD = F.pad(normed_BUD[row_B1, rows.ids.patch_BT], (0, 0, 0, 1))
        return h_BTD.index_put((row_B1, local.position_BS), _linear(h_BSE, params["speech_projection"]))[:, :t]

    def _encode(self, p: Params, token_BT, ids: Ids):
        """Token states, the mask of self-attention with its window, and the patches [B, U, Q·E]."""
        stack, (b, u) = self.config.patch_encoder, ids.doc_BU.shape
        h_BTE, masks = F.embedding(token_BT, p["tok_embeddings"]["embedding"]), {}
        masks[stack.window] = _self_mask(ids.doc_BT, stack.window)
        unit_BR, doc_BR = self._patch_side(ids)
        cross_mask = _mask(unit_BR, ids.patch_BT, doc_BR, ids.doc_BT, self.config.encoder_cross_window)
        first_cross = 0 if self.config.encoder_cross_all_layers else stack.layers - 1
        x_BRE = None
        for i in range(stack.layers):
            h_BTE = self._block(h_BTE, p[f"layers_{i}"], stack, masks[stack.window])
            if i >= first_cross:
                if x_BRE is None:
                    pooled_BUE = _max_pool(h_BTE, ids.patch_BT, u)
                    x_BRE = _linear(pooled_BUE, p["patch_embedding_projection"]).reshape(b, -1, stack.width)
                x_BRE = x_BRE + self._cross(x_BRE, h_BTE, p[f"cross_attn_layers_{i - first_cross}"], cross_mask)
        return h_BTE, masks, x_BRE.reshape(b, u, -1)

    def _global(self, p: Params, x_BUW, doc_BU):
        stack = self.config.global_transformer
        x_BUD = _linear(x_BUW, p["token_embedding_projection"]) if "token_embedding_projection" in p else x_BUW
        mask = _self_mask(doc_BU, stack.window)
        for i in range(stack.layers):
            x_BUD = self._block(x_BUD, p[f"layers_{i}"], stack, mask)
        return x_BUD

    def _decode(self, p: Params, h_BTE, global_BUD, ids: Ids, masks: dict):
        """Normed token states; `masks` of the encoder, which are the decoder's where the windows are equal."""
        stack = self.config.patch_decoder
        mask = masks[stack.window] if stack.window in masks else _self_mask(ids.doc_BT, stack.window)
        if "patch_embedding_projection" in p:
            global_BUD = _linear(global_BUD, p["patch_embedding_projection"])
        y_BRE = global_BUD.reshape(len(h_BTE), -1, stack.width)
        unit_BR, doc_BR = self._patch_side(ids)
        sees_doc_BT = ids.doc_BT * (ids.visible_BT >= 0)
        cross_mask = _mask(ids.visible_BT, unit_BR, sees_doc_BT, doc_BR, self.config.decoder_cross_window)
        for i in range(stack.layers):
            if i == 0 or self.config.decoder_cross_all_layers:
                h_BTE = h_BTE + self._cross(h_BTE, y_BRE, p[f"cross_attn_layers_{i}"], cross_mask)
            h_BTE = self._block(h_BTE, p[f"layers_{i}"], stack, mask)
        return self._norm(h_BTE, p["norm"])

    def _patch_side(self, ids: Ids):
        """Patch index and document of each of the U·Q vectors."""
        doc_BR = ids.doc_BU.repeat_interleave(self.config.queries_per_patch, 1)
        unit_R = torch.arange(doc_BR.shape[1], device=doc_BR.device) // self.config.queries_per_patch
        return unit_R.expand_as(doc_BR), doc_BR

    def _block(self, x_BTD, p: Params, stack: StackConfig, mask: Mask):
        y_BTD, a = self._norm(x_BTD, p["attention_norm"]), p["attention"]
        q_BHTK, k_BHTK, v_BHTK = (_heads(_linear(y_BTD, a[name]), stack.heads) for name in ("wq", "wk", "wv"))
        q_BHTK, k_BHTK = (_rope(z, self.config.rope_theta) for z in (q_BHTK, k_BHTK))
        x_BTD = x_BTD + _linear(_attend(q_BHTK, k_BHTK, v_BHTK, mask), a["wo"])
        y_BTD, f = self._norm(x_BTD, p["ffn_norm"]), p["feed_forward"]
        return x_BTD + _linear(F.silu(_linear(y_BTD, f["w1"])) * _linear(y_BTD, f["w3"]), f["w2"])

    def _cross(self, x_BSE, y_BRE, p: Params, mask: Mask):
        """Cross-attention with its own residual; callers add the input once more."""
        x_norm_BSE, y_norm_BRE = self._norm(x_BSE, p["cross_attn_norm_q"]), self._norm(y_BRE, p["cross_attn_norm_kv"])
        q_BHSK, k_BHRK, v_BHRK = (
            _heads(_linear(z, p[name]), self.config.cross_heads)
            for name, z in (("wq", x_norm_BSE), ("wk", y_norm_BRE), ("wv", y_norm_BRE))
        )
        return x_BSE + _linear(_attend(q_BHSK, k_BHRK, v_BHRK, mask), p["wo"])

    def _norm(self, x, p: Params):
        wide = _wide(x)
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.config.norm_eps)
        return (normed * p["scale"]).to(x.dtype)


def _wide(x):
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _linear(x, p: Params):
    return x @ p["kernel"]


def _heads(x_BTD, heads: int):
    return x_BTD.unflatten(-1, (heads, -1)).transpose(1, 2)


def _rope(x_BHTK, theta: float):
    """Turns the adjacent pair i of position t by t·theta^(-2i/K)."""
    t, k = x_BHTK.shape[-2:]
    frequency = theta ** (-torch.arange(0, k, 2, dtype=torch.float64, device=x_BHTK.device) / k)
    angle = torch.arange(t, dtype=torch.float64, device=x_BHTK.device)[:, None] * frequency
    cos, sin = (f(angle).to(_wide(x_BHTK[:0]).dtype) for f in (torch.cos, torch.sin))
    even, odd = x_BHTK.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2).to(x_BHTK.dtype)


def _mask(q_id_BS, k_id_BR, q_doc_BS, k_doc_BR, window: int | None) -> Mask:
    """Same document and 0 <= q_id - k_id < window, for every pair; document 0 sees nothing and is not seen."""
    gap_BSR = q_id_BS.int()[:, :, None] - k_id_BR.int()[:, None, :]
    open_BSR = (q_doc_BS[:, :, None] == k_doc_BR[:, None, :]) & (k_doc_BR != 0)[:, None, :] & (gap_BSR >= 0)
    if window is not None:
        open_BSR = open_BSR & (gap_BSR < window)
    sees_BS1 = open_BSR.any(-1, keepdim=True)
    return Mask((open_BSR | ~sees_BS1)[:, None], sees_BS1)


def _self_mask(doc_BT, window: int | None) -> Mask:
    position_BT = torch.arange(doc_BT.shape[1], device=doc_BT.device).expand_as(doc_BT)
    return _mask(position_BT, position_BT, doc_BT, doc_BT, window)


def _attend(q_BHSK, k_BHRK, v_BHRK, mask: Mask):
    """[B, S, H·K]: softmax of the scores scaled by K^-½ over what the mask opens."""
    out_BHSK = F.scaled_dot_product_attention(q_BHSK, k_BHRK, v_BHRK, attn_mask=mask.open_B1SR)
    return out_BHSK.transpose(1, 2).flatten(2) * mask.sees_BS1


def _max_pool(h_BTE, patch_BT, units: int):
    """The largest value of each feature in a patch, 0 where there is no patch. Padding goes into one extra patch."""
    place_BTE = torch.where(patch_BT >= 0, patch_BT, units)[..., None].expand_as(h_BTE)
    pooled = h_BTE.new_zeros(len(h_BTE), units + 1, h_BTE.shape[-1])
    return pooled.scatter_reduce(1, place_BTE, h_BTE, "amax", include_self=False)[:, :units]
