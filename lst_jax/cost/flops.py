"""Analytic FLOPs of a training step, per network, from what a batch really holds.

Conventions:

- A multiply-add is two FLOPs. The backward pass costs twice the forward pass, so a step is three forward passes.
- Matrix products alone count, the output projection included. Norms, softmax, rotary angles and the look-up of
  embeddings do not.
- Padding is no useful work and does not count. Attention counts the (query, key) pairs that the mask leaves, with two
  products of the head width for each.
"""

from collections.abc import Mapping
from typing import SupportsInt

from lst_jax.config import ModelConfig
from lst_jax.core.vocab import Vocab
from lst_jax.model.architectures.registry import architecture_named

STEP_OVER_FORWARD = 3


def model_flops(config: ModelConfig, vocab: Vocab, counts: Mapping[str, SupportsInt]) -> dict[str, float]:
    """FLOPs of one training step (forward and backward) of each network.

    Args:
        counts: real `tokens` and `units` (patch positions), `local_tokens` and `local_units` of them that pass the
            local networks, and visible pairs: `encoder_pairs`, `global_pairs`, `decoder_pairs` of the three
            self-attentions, `encoder_cross_pairs` (tokens that a patch sees, times patches) and `decoder_cross_pairs`
            (patches that a token sees, times tokens), each before the factor Q.
    Example: model_flops(base, vocab, {"tokens": 8, "units": 8, "global_pairs": 36, ...})["output"] == 3 * 2 * 8 * D * V
    """
    count = {key: int(value) for key, value in counts.items() if not hasattr(value, "__len__")}
    forward = architecture_named(config.architecture).forward_flops(config, vocab, count)
    return {name: STEP_OVER_FORWARD * value for name, value in forward.items()}
