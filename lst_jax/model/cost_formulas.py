"""Forward FLOPs and parameters of the networks that architectures are made of, counted from the configuration.

Conventions of the FLOPs: see `lst_jax.cost.flops`. `count` has its keys.
"""

from collections.abc import Mapping

from lst_jax.config import ModelConfig, StackConfig


def stack_flops(stack: StackConfig, config: ModelConfig, positions: int, pairs: int) -> float:
    """A stack over so many positions: four projections d×HK, SwiGLU's three d×f, scores and weighted values."""
    width, inner = stack.width, stack.heads * stack.size_of_head
    per_position = 2.0 * (4 * width * inner + 3 * width * config.ffn_width_of(stack))
    return stack.layers * (positions * per_position + 4.0 * pairs * inner)


def cross_attention_flops(width: int, queries: int, keys: int, pairs: int) -> float:
    """A cross-attention: wq and wo over the queries, wk and wv over the keys, scores and values."""
    return 2.0 * width * width * (2 * queries + 2 * keys) + 4.0 * pairs * width


def patch_encoder_flops(config: ModelConfig, count: Mapping[str, int]) -> float:
    """The layers, the first vectors of patches, and the cross-attentions."""
    local, queries = config.patch_encoder.width, config.queries_per_patch
    tokens, patches = count["local_tokens"], count["local_units"]
    cross = cross_attention_flops(local, patches * queries, tokens, count["encoder_cross_pairs"] * queries)
    return (
        stack_flops(config.patch_encoder, config, tokens, count["encoder_pairs"])
        + 2.0 * patches * local * queries * local
        + encoder_cross_attentions(config) * cross
    )


def patch_decoder_flops(config: ModelConfig, count: Mapping[str, int]) -> float:
    """The layers, the projection of global outputs, and the cross-attentions; without the output projection."""
    local, queries, width = config.patch_encoder.width, config.queries_per_patch, config.global_transformer.width
    tokens, patches = count["local_tokens"], count["local_units"]
    cross = cross_attention_flops(local, tokens, patches * queries, count["decoder_cross_pairs"] * queries)
    return (
        stack_flops(config.patch_decoder, config, tokens, count["decoder_pairs"])
        + (2.0 * patches * width * queries * local if width != local else 0.0)
        + decoder_cross_attentions(config) * cross
    )


def patch_projection_flops(config: ModelConfig, patches: int) -> float:
    """The projection of patch vectors to the global width, where the widths differ."""
    patch_width, width = config.queries_per_patch * config.patch_encoder.width, config.global_transformer.width
    return 2.0 * patches * patch_width * width if patch_width != width else 0.0


def stack_parameters(stack: StackConfig, config: ModelConfig) -> int:
    """Four projections d×HK, SwiGLU's three d×f and two RMS norms per layer; biases and norms of queries and keys."""
    width, inner = stack.width, stack.heads * stack.size_of_head
    norms = {"none": 0, "head": 2 * stack.size_of_head, "all_heads": 2 * inner}[stack.qk_norm]
    norms += 2 * width if stack.norm == "rms" else 0
    biases = 3 * inner if stack.qkv_bias else 0
    return stack.layers * (4 * width * inner + 3 * width * config.ffn_width_of(stack) + norms + biases)


def cross_attention_parameters(width: int) -> int:
    """Four projections, a norm of the queries, and a norm of the keys and values."""
    return 4 * width * width + 2 * width


def patch_encoder_parameters(config: ModelConfig, ids: int) -> int:
    """Embeddings of so many ids, the layers, the first vectors of patches, and the cross-attentions."""
    local = config.patch_encoder.width
    return (
        ids * local
        + stack_parameters(config.patch_encoder, config)
        + local * config.queries_per_patch * local
        + encoder_cross_attentions(config) * cross_attention_parameters(local)
    )


def patch_decoder_parameters(config: ModelConfig) -> int:
    """The layers, the cross-attentions, the norm, and the projection of global outputs; without the output."""
    local, width = config.patch_encoder.width, config.global_transformer.width
    return (
        stack_parameters(config.patch_decoder, config)
        + decoder_cross_attentions(config) * cross_attention_parameters(local)
        + local
        + (width * config.queries_per_patch * local if width != local else 0)
    )


def patch_projection_parameters(config: ModelConfig) -> int:
    """The projection of patch vectors to the global width, where the widths differ."""
    patch_width, width = config.queries_per_patch * config.patch_encoder.width, config.global_transformer.width
    return patch_width * width if patch_width != width else 0


def encoder_cross_attentions(config: ModelConfig) -> int:
    """How many cross-attentions the patch encoder has."""
    return config.patch_encoder.layers if config.encoder_cross_all_layers else 1


def decoder_cross_attentions(config: ModelConfig) -> int:
    """How many cross-attentions the patch decoder has."""
    return config.patch_decoder.layers if config.decoder_cross_all_layers else 1
