"""How many parameters a model has, counted from its configuration; a test holds the count to the model's own."""

from lst_jax.config import ModelConfig, StackConfig
from lst_jax.core.vocab import Vocab


def parameters(config: ModelConfig, vocab: Vocab) -> int:
    """All of them: embeddings, norms and the output projection too.

    Example: parameters(config.model, config.joint_vocab) of configs/lst.py:1b -> 1_527_911_424 (paper §4)
    """
    return sum(parameters_by_network(config, vocab).values())


def parameters_by_network(config: ModelConfig, vocab: Vocab) -> dict[str, int]:
    """The count of each network, by the name of its part of the parameter tree."""
    width = config.global_transformer.width
    found = {"global_transformer": _stack(config.global_transformer, config)}
    if config.architecture == "base":
        return found | {"tok_embeddings": vocab.size * width, "norm": width, "output": width * vocab.size}
    local, bypass = config.patch_encoder.width, config.architecture == "lst_bypass"
    patch_width = config.queries_per_patch * local
    cross = 4 * local * local + 2 * local  # four projections; norms of queries and of keys and values
    encoder_crosses = config.patch_encoder.layers if config.encoder_cross_all_layers else 1
    decoder_crosses = config.patch_decoder.layers if config.decoder_cross_all_layers else 1
    encoder_ids = vocab.size - vocab.speech_marker if bypass else vocab.size
    found["patch_encoder"] = (
        encoder_ids * local + _stack(config.patch_encoder, config) + local * patch_width + encoder_crosses * cross
    )
    found["patch_decoder"] = (
        _stack(config.patch_decoder, config)
        + decoder_crosses * cross
        + local
        + (width * patch_width if width != local else 0)
    )
    projection = patch_width * width if patch_width != width else 0
    if not bypass:
        found["global_transformer"] += projection
        found["patch_decoder"] += local * vocab.size
        return found
    if projection:
        found["token_embedding_projection"] = projection
    return found | {
        "text_embeddings": vocab.speech_marker * width,
        "text_norm": width,
        "speech_projection": local * width,
        "output": width * vocab.size,
    }


def _stack(stack: StackConfig, config: ModelConfig) -> int:
    """Four d×d projections, SwiGLU's three d×f and two norms a layer."""
    width = stack.width
    return stack.layers * (4 * width * width + 3 * width * config.ffn_width(width) + 2 * width)
