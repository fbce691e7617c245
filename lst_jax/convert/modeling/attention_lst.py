"""Attention over windows and over ranges, and rotary positions; no array grows with the square of the length."""

import torch
import torch.nn.functional as F

from .cache_lst import Slots

BLOCK = 1024  # queries at a time where the window does not say how many
GATHERED = 8192  # keys that are gathered at a time


def attend_window(
    q_BTHK: torch.Tensor, k_BSHK: torch.Tensor, v_BSHK: torch.Tensor, at: Slots, window: int | None
) -> torch.Tensor:
    """Softmax attention [B, T, H·K] scaled by K^-½: query number n sees the keys n - window < m <= n."""
    t, s = q_BTHK.shape[1], k_BSHK.shape[1]
    if not t:
        return q_BTHK.flatten(2)
    q, k, v = (x.transpose(1, 2) for x in (q_BTHK, k_BSHK, v_BSHK))
    if at.high == 0 and t == s and (window is None or window >= t):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
    same = at.low == at.high
    first_B = at.first_B[:1] if same else at.first_B
    found, step = [], BLOCK if window is None else max(window, 16)
    for begin in range(0, t, step):
        end = min(begin + step, t)
        low = 0 if window is None else max(0, at.low + begin - window + 1)
        high = min(s, at.high + end)
        see_BTS = None
        if not (same and end - begin == 1):  # one query alone sees all keys of its slice
            number_BT = first_B[:, None] + torch.arange(begin, end, device=q.device)
            gap_BTS = number_BT[:, :, None] - torch.arange(low, high, device=q.device)
            see_BTS = (gap_BTS >= 0) if window is None else (gap_BTS >= 0) & (gap_BTS < window)
            see_BTS = see_BTS[:, None]
        found.append(
            F.scaled_dot_product_attention(q[:, :, begin:end], k[:, :, low:high], v[:, :, low:high], attn_mask=see_BTS)
        )
    return torch.cat(found, 2).transpose(1, 2).flatten(2)


def attend_ranges(
    q_BNCHK: torch.Tensor,
    k_BSHK: torch.Tensor,
    v_BSHK: torch.Tensor,
    low_BN: torch.Tensor,
    high_BN: torch.Tensor,
    longest: int,
) -> torch.Tensor:
    """Softmax attention [B, N, C, H·K]: the C queries of n see the keys low <= m < high, at most `longest` of them.

    Zeros where a query sees none.
    """
    if not longest or not k_BSHK.shape[1] or not q_BNCHK.shape[1]:
        return torch.zeros_like(q_BNCHK).flatten(3)
    found = []
    for begin, end, at_BNL, see_BNL in _blocks(low_BN, high_BN, longest, k_BSHK.shape[1]):
        k_BNLHK, v_BNLHK = (_taken(x, at_BNL) for x in (k_BSHK, v_BSHK))
        score_BNHCL = torch.einsum("bnchk,bnlhk->bnhcl", q_BNCHK[:, begin:end], k_BNLHK).float()
        see_BN11L = see_BNL[:, :, None, None]
        score_BNHCL = (score_BNHCL * q_BNCHK.shape[-1] ** -0.5).masked_fill(~see_BN11L, torch.finfo(torch.float).min)
        weight_BNHCL = score_BNHCL.softmax(-1) * see_BN11L
        found.append(torch.einsum("bnhcl,bnlhk->bnchk", weight_BNHCL.to(v_BNLHK.dtype), v_BNLHK))
    return torch.cat(found, 1).flatten(3)


def max_ranges(x_BSE: torch.Tensor, low_BN: torch.Tensor, high_BN: torch.Tensor, longest: int) -> torch.Tensor:
    """The largest value [B, N, E] of each feature in each range; zeros where a range is empty."""
    if not longest or not low_BN.shape[1]:
        return x_BSE.new_zeros(*low_BN.shape, x_BSE.shape[2])
    found = []
    for _, _, at_BNL, see_BNL in _blocks(low_BN, high_BN, longest, x_BSE.shape[1]):
        x_BNLE = _taken(x_BSE, at_BNL).masked_fill(~see_BNL[..., None], torch.finfo(x_BSE.dtype).min)
        found.append(torch.where(see_BNL.any(2, keepdim=True), x_BNLE.amax(2), 0))
    return torch.cat(found, 1)


def _blocks(low_BN, high_BN, longest, keys):
    """Blocks of ranges: (first, last, number of each key, is it in the range)."""
    step = max(1, GATHERED // longest)
    for begin in range(0, low_BN.shape[1], step):
        at_BNL = low_BN[:, begin : begin + step, None] + torch.arange(longest, device=low_BN.device)
        yield begin, begin + step, at_BNL.clamp(max=keys - 1), at_BNL < high_BN[:, begin : begin + step, None]


def _taken(x_BS: torch.Tensor, at_BNL: torch.Tensor) -> torch.Tensor:
    """The entries of each row with these numbers."""
    return x_BS[torch.arange(len(x_BS), device=x_BS.device)[:, None, None], at_BNL]


def rows(x_BND: torch.Tensor, index_BM: torch.Tensor) -> torch.Tensor:
    """Rows of `x` by number; some row for a number that there is not. Zeros where `x` has none at all."""
    if not x_BND.shape[1]:
        return x_BND.new_zeros(*index_BM.shape, x_BND.shape[2])
    index_BM = index_BM.to(x_BND.device).clamp(0, x_BND.shape[1] - 1)
    return x_BND.gather(1, index_BM[..., None].expand(-1, -1, x_BND.shape[2]))


def rope(x_BTHK: torch.Tensor, number_BT: torch.Tensor, theta: float) -> torch.Tensor:
    """Rotates the adjacent pairs (2i, 2i+1) by number · theta^(-2i/K), in float32."""
    k = x_BTHK.shape[-1]
    frequency = theta ** (-torch.arange(0, k, 2, dtype=torch.float64) / k)
    angle_BT1C = number_BT.float()[..., None, None] * frequency.to(x_BTHK.device, torch.float32)
    even_BTHC, odd_BTHC = x_BTHK.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angle_BT1C.cos(), angle_BT1C.sin()
    pairs = torch.stack([even_BTHC * cos - odd_BTHC * sin, odd_BTHC * cos + even_BTHC * sin], -1)
    return pairs.flatten(-2).to(x_BTHK.dtype)
