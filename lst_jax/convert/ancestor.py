"""Names, shapes and configuration of the PyTorch ancestor, in both directions (paper §4 "Details as coded").

Ours                                            The ancestor's
patch_encoder/layers_0/attention/wq/kernel      local_encoder.layers.0.attention.wq.weight (transposed)
global_transformer/layers_3/ffn_norm/scale      global_transformer.layers.3.ffn_norm.weight
patch_encoder/tok_embeddings/embedding          local_encoder.tok_embeddings.weight
"""

import re
from collections.abc import Mapping
from typing import Any

from lst_jax.config import ModelConfig, StackConfig
from lst_jax.convert.source import Stored, check_shapes, expected_shapes, transposed, transposed_shape
from lst_jax.core.errors import DataError
from lst_jax.core.vocab import EOS_ID, UNUSED_SLOTS, Vocab
from lst_jax.model.architectures.latent import LatentSpeechText
from lst_jax.model.architectures.registry import architecture_named

NETWORKS = {
    "patch_encoder": "local_encoder",
    "global_transformer": "global_transformer",
    "patch_decoder": "local_decoder",
}
EMBEDDING = "local_encoder.tok_embeddings.weight"
NORM_EPS = 1e-5  # the ancestor's constant (paper §4), used where its configuration does not give one
ATTENTION_BLOCK = 64
LOGITS_CHUNK = 1024
# Features of the ancestor that our model does not have; configurations with another value are refused.
FIXED = {
    "cross_attn_encoder": True,
    "cross_attn_decoder": True,
    "cross_attn_init_by_pooling": True,
    "downsampling_by_pooling": "max",
    "use_local_encoder_transformer": True,
    "encoder_hash_byte_group_size": [],
    "ffn_dim_multiplier": 1.0,
}


def ancestor_name(path: str) -> str:
    """The ancestor's name of one of our parameters.

    Example: "patch_decoder/cross_attn_layers_2/wq/kernel" -> "local_decoder.cross_attn_layers.2.wq.weight"
    """
    network, *inner, _ = path.split("/")
    return ".".join([NETWORKS[network], *(re.sub(r"layers_(\d+)$", r"layers.\1", part) for part in inner), "weight"])


def from_ancestor(tensors: Mapping[str, Stored], config: ModelConfig, where: str) -> dict[str, Stored]:
    """Our parameters by path from the ancestor's tensors by name (torch [out, in] becomes [in, out]); they are read later.

    Raises: DataError where a tensor is missing, left over, or of another shape than the configuration gives.
    """
    if EMBEDDING not in tensors:
        raise DataError(f"{where}: {EMBEDDING} is missing; give all tensors of the checkpoint's model")
    expected = _expected(config, tensors[EMBEDDING].shape[0])
    check_shapes(
        {name: one.shape for name, one in tensors.items()},
        {ancestor_name(path): transposed_shape(path, shape) for path, shape in expected.items()},
        where,
    )
    return {path: transposed(path, tensors[ancestor_name(path)]) for path in expected}


def to_ancestor(arrays: Mapping[str, Stored], config: ModelConfig) -> dict[str, Stored]:
    """The ancestor's tensors by name; the exact inverse of `from_ancestor`."""
    expected = _expected(config, arrays["patch_encoder/tok_embeddings/embedding"].shape[0])
    check_shapes({path: one.shape for path, one in arrays.items()}, expected, "the parameters")
    return {ancestor_name(path): transposed(path, one) for path, one in arrays.items()}


def model_config_from_ancestor(config: dict[str, Any]) -> ModelConfig:
    """Our configuration from the ancestor's JSON. Raises: DataError naming a field that is missing or unsupported."""

    def field(name):
        if name not in config:
            raise DataError(f"{name}: missing from the ancestor's configuration; add the value it was trained with")
        return config[name]

    def optional(name, unset):
        return config[name] if name in config and config[name] is not None else unset

    for name, value in FIXED.items():
        if name in config and config[name] != value:
            raise DataError(f"{name}={config[name]!r}: only {value!r} is supported; use a checkpoint made with it")
    if field("dim_local_encoder") != field("dim_local_decoder"):
        raise DataError(
            f"dim_local_decoder={config['dim_local_decoder']}: must equal dim_local_encoder="
            f"{config['dim_local_encoder']}; use a checkpoint with equal widths"
        )

    def number(name, value):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DataError(f"{name}={value!r}: must be a number; give the value it was trained with")
        return float(value)

    def stack(name, window):
        return StackConfig(field(f"n_layers_{name}"), field(f"dim_{name}"), field(f"n_heads_{name}"), window)

    local_window = field("local_attention_window_len")
    return ModelConfig(
        architecture=LatentSpeechText.config_name,
        patch_encoder=stack("local_encoder", local_window),
        global_transformer=stack("global", None),
        patch_decoder=stack("local_decoder", local_window),
        queries_per_patch=field("cross_attn_k"),
        cross_heads=field("cross_attn_nheads"),
        encoder_cross_window=optional("cross_attn_window_encoder", 1),
        decoder_cross_window=optional("cross_attn_window_decoder", 1),
        encoder_cross_all_layers=field("cross_attn_all_layers_encoder"),
        decoder_cross_all_layers=field("cross_attn_all_layers_decoder"),
        rope_theta=number("rope_theta", field("rope_theta")),
        norm_eps=number("norm_eps", optional("norm_eps", NORM_EPS)),
        ffn_multiple=field("multiple_of"),
        compute_dtype="float32",
        attention_block=ATTENTION_BLOCK,
        logits_chunk=LOGITS_CHUNK,
        scan_layers=True,
        remat="none",
    )


def ancestor_config(
    config: ModelConfig, vocab_size: int, patch_size: int, row_patches: int, row_tokens: int
) -> dict[str, Any]:
    """The ancestor's JSON of a model; `model_config_from_ancestor` restores the fields that decide its function.

    Raises: DataError where the ancestor has no such model.
    """
    _check_architecture(config)
    encoder, main, decoder = config.patch_encoder, config.global_transformer, config.patch_decoder
    if encoder.window != decoder.window or main.window is not None:
        raise DataError(
            f"model.patch_decoder.window={decoder.window}: the ancestor has one window for both local "
            "networks and none for the global one; convert such a model to another format"
        )
    own_patch = {1: None}  # the ancestor's word for a window of one patch
    return {
        **FIXED,
        "vocab_size": vocab_size,
        "patching_mode": "static",
        "patch_size": patch_size,
        "eos_id": EOS_ID,
        "max_seqlen": row_patches,
        "max_encoder_seq_length": row_tokens,
        "attn_impl": "sdpa",
        "attn_bias_type": "causal",
        "cross_attn_use_flex_attention": False,
        "local_attention_window_len": encoder.window,
        "rope_theta": config.rope_theta,
        "norm_eps": config.norm_eps,
        "multiple_of": config.ffn_multiple,
        "dim": main.width,
        "dim_token": encoder.width,
        **{
            f"{word}_{network}": getattr(stack, name)
            for network, stack in (("global", main), ("local_encoder", encoder), ("local_decoder", decoder))
            for word, name in (("dim", "width"), ("n_layers", "layers"), ("n_heads", "heads"))
        },
        "cross_attn_k": config.queries_per_patch,
        "cross_attn_nheads": config.cross_heads,
        "cross_attn_all_layers_encoder": config.encoder_cross_all_layers,
        "cross_attn_all_layers_decoder": config.decoder_cross_all_layers,
        **{
            f"cross_attn_window_{side}": own_patch[window] if window in own_patch else window
            for side, window in (("encoder", config.encoder_cross_window), ("decoder", config.decoder_cross_window))
        },
    }


def _check_architecture(config: ModelConfig) -> None:
    if not architecture_named(config.architecture).conversions.ancestor:
        raise DataError(
            f"model.architecture={config.architecture!r}: the ancestor has no such architecture; convert to another format"
        )


def _expected(config: ModelConfig, vocab_size: int) -> Mapping[str, tuple[int, ...]]:
    """Path to shape of every parameter of the configuration; the split of the vocabulary does not matter here."""
    _check_architecture(config)
    return expected_shapes(config, Vocab(text_size=vocab_size - UNUSED_SLOTS - 2, unit_slots=0))
