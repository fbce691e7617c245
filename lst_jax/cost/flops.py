"""Analytic FLOPs of a training step, per module, from what a batch really holds.

Conventions: two FLOPs a multiply-add; the backward pass costs twice the forward, so a step is three forwards; matrix
products only (norms, softmax, rotary angles and the embedding's look-up are left out; the output projection is
counted). Padding is not useful work and is not counted; attention counts the (query, key) pairs that the mask leaves,
two products of the head width each.
"""

from collections.abc import Mapping
from typing import SupportsInt

from lst_jax.config import ModelConfig, StackConfig
from lst_jax.core.vocab import Vocab

STEP_OVER_FORWARD = 3


def model_flops(config: ModelConfig, vocab: Vocab, counts: Mapping[str, SupportsInt]) -> dict[str, float]:
    """FLOPs of one training step (forward and backward) of each module.

    Args:
        counts: real `tokens` and `units` (positions), `local_tokens` and `local_units` of them that pass the local
            networks, and visible pairs `encoder_pairs`, `global_pairs`,
            `decoder_pairs` of the three self-attentions, `encoder_cross_pairs` (tokens a patch sees, times patches) and
            `decoder_cross_pairs` (patches a token sees, times tokens), each before the factor Q.
    Example: model_flops(base, vocab, {"tokens": 8, "units": 8, "global_pairs": 36, ...})["output"] == 3 * 2 * 8 * D * V
    """
    count = {key: int(value) for key, value in counts.items() if not hasattr(value, "__len__")}
    tokens, units = count["tokens"], count["units"]
    local_tokens, local_units = count["local_tokens"], count["local_units"]
    stack = config.global_transformer
    forward = {"global_transformer": _stack(stack, config, units, count["global_pairs"])}
    if config.architecture == "base":
        forward["output"] = 2.0 * tokens * stack.width * vocab.size
        return {name: STEP_OVER_FORWARD * value for name, value in forward.items()}
    local, queries = config.patch_encoder.width, config.queries_per_patch
    encoder_crosses = config.patch_encoder.layers if config.encoder_cross_all_layers else 1
    decoder_crosses = config.patch_decoder.layers if config.decoder_cross_all_layers else 1
    patch_width = queries * local
    forward["patch_encoder"] = (
        _stack(config.patch_encoder, config, local_tokens, count["encoder_pairs"])
        + 2.0 * local_units * local * patch_width
        + encoder_crosses * _cross(local, local_units * queries, local_tokens, count["encoder_cross_pairs"] * queries)
    )
    if patch_width != stack.width:
        forward["global_transformer"] += 2.0 * local_units * patch_width * stack.width
    forward["patch_decoder"] = (
        _stack(config.patch_decoder, config, local_tokens, count["decoder_pairs"])
        + (2.0 * local_units * stack.width * patch_width if stack.width != local else 0.0)
        + decoder_crosses * _cross(local, local_tokens, local_units * queries, count["decoder_cross_pairs"] * queries)
    )
    if config.architecture == "lst_bypass":  # every state is read at the global width; the decoder's are brought to it
        forward["patch_decoder"] += 2.0 * local_tokens * local * stack.width
        forward["output"] = 2.0 * tokens * stack.width * vocab.size
    else:
        forward["output"] = 2.0 * tokens * local * vocab.size
    return {name: STEP_OVER_FORWARD * value for name, value in forward.items()}


def _stack(stack: StackConfig, config: ModelConfig, positions: int, pairs: int) -> float:
    """Forward FLOPs of a stack: four d×d projections, SwiGLU's three d×f, scores and weighted values."""
    width = stack.width
    per_position = 2.0 * (4 * width * width + 3 * width * config.ffn_width(width))
    return stack.layers * (positions * per_position + 4.0 * pairs * width)


def _cross(width: int, queries: int, keys: int, pairs: int) -> float:
    """Forward FLOPs of a cross-attention: wq and wo over the queries, wk and wv over the keys, scores and values."""
    return 2.0 * width * width * (2 * queries + 2 * keys) + 4.0 * pairs * width
