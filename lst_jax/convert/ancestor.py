"""Names, shapes and configuration of the PyTorch ancestor, in both directions (paper §4 "Details as coded").

Ours                                            The ancestor's
patch_encoder/layers_0/attention/wq/kernel      local_encoder.layers.0.attention.wq.weight (transposed)
global_transformer/layers_3/ffn_norm/scale      global_transformer.layers.3.ffn_norm.weight
patch_encoder/tok_embeddings/embedding          local_encoder.tok_embeddings.weight
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lst_jax.config import ModelConfig, StackConfig
from lst_jax.convert import ancestor_fields
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
EMBEDDING_PATH = "patch_encoder/tok_embeddings/embedding"
ATTENTION_BLOCK = 64
LOGITS_CHUNK = 1024
OWN_PATCH = 1  # the window of cross-attention that the ancestor writes as null
TOO_LARGE = 1 << 31
# Features of the ancestor that our model has, or lacks: checkpoints with other values are refused
FIXED = {
    "cross_attn_encoder": True,
    "cross_attn_decoder": True,
    "cross_attn_init_by_pooling": True,
    "downsampling_by_pooling": "max",
    "encoder_enable_byte_ngrams": False,
    "use_rope": True,
    "pm_size": 0,
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
    _check_layers(tensors, config, where)
    expected = _expected(config, tensors[EMBEDDING].shape[0])
    check_shapes(
        {name: one.shape for name, one in tensors.items()},
        {ancestor_name(path): transposed_shape(path, shape) for path, shape in expected.items()},
        where,
    )
    return {path: transposed(path, tensors[ancestor_name(path)]) for path in expected}


def _check_layers(tensors: Mapping[str, Stored], config: ModelConfig, where: str) -> None:
    """Compares the numbers of layers before anything is made of each. Raises: DataError."""
    for ours, theirs in NETWORKS.items():
        layers, held = getattr(config, ours).layers, 0
        while f"{theirs}.layers.{held}.attention_norm.weight" in tensors:
            held += 1
        if layers != held:
            raise DataError(
                f"{where}: holds {held} layers of {theirs}, the configuration has {layers}; use the configuration that it "
                "was made with"
            )


def to_ancestor(arrays: Mapping[str, Stored], config: ModelConfig) -> dict[str, Stored]:
    """The ancestor's tensors by name; the exact inverse of `from_ancestor`."""
    expected = _expected(config, arrays[EMBEDDING_PATH].shape[0])
    check_shapes({path: one.shape for path, one in arrays.items()}, expected, "the parameters")
    return {ancestor_name(path): transposed(path, one) for path, one in arrays.items()}


def model_config_from_ancestor(args: Mapping[str, Any], compute_dtype: str = "float32") -> ModelConfig:
    """Our configuration from the "model" of the ancestor's params.json, where what is absent or null has its default.

    Raises: DataError naming every field that is missing, of a wrong type, or of a model that we do not have.
    """
    if wrong := model_problems(args):
        raise DataError(f"{'; '.join(wrong)}; use a checkpoint of another model, or correct params.json")
    found = ancestor_fields.with_defaults(args, ancestor_fields.MODEL)
    local_window = found["local_attention_window_len"]

    def stack(name, window):
        return StackConfig(found[f"n_layers_{name}"], found[f"dim_{name}"], found[f"n_heads_{name}"], window)

    def window(side):
        patches = found[f"cross_attn_window_{side}"]
        return OWN_PATCH if patches is None else patches

    return ModelConfig(
        architecture=LatentSpeechText.config_name,
        patch_encoder=stack("local_encoder", local_window),
        global_transformer=stack("global", None),
        patch_decoder=stack("local_decoder", local_window),
        queries_per_patch=found["cross_attn_k"],
        cross_heads=found["cross_attn_nheads"],
        encoder_cross_window=window("encoder"),
        decoder_cross_window=window("decoder"),
        encoder_cross_all_layers=found["cross_attn_all_layers_encoder"],
        decoder_cross_all_layers=found["cross_attn_all_layers_decoder"],
        rope_theta=float(found["rope_theta"]),
        norm_eps=float(found["norm_eps"]),
        ffn_multiple=found["multiple_of"],
        compute_dtype=compute_dtype,
        attention_block=ATTENTION_BLOCK,
        logits_chunk=LOGITS_CHUNK,
        scan_layers=True,
        remat="none",
    )


def model_problems(args: Mapping[str, Any]) -> list[str]:
    """Everything for which the "model" of a params.json cannot be ours; wrong types come first, and alone."""
    wrong = [*ancestor_fields.problems(args, ancestor_fields.MODEL)]
    return wrong or [*_contradictions(ancestor_fields.with_defaults(args, ancestor_fields.MODEL))]


def _contradictions(found: Mapping[str, Any]) -> Iterator[str]:
    """What the fields, all of the right type, ask for that our model does not have."""
    for name in ("cross_attn_k", "cross_attn_nheads"):
        if found[name] is None:
            yield f"{name}: missing"
    if found["vocab_size"] < 1:
        yield f"vocab_size={found['vocab_size']}: must be the size of the vocabulary"
    for name, value in FIXED.items():
        if found[name] != value:
            yield f"{name}={found[name]!r}: must be {value!r}"
    for name, value in found.items():
        if isinstance(value, int) and abs(value) >= TOO_LARGE and name != "seed":
            yield f"{name}={value}: must be below 2^31"
    if found["encoder_hash_byte_group_size"]:  # null, "" and [] all mean that there are no hash embeddings
        yield f"encoder_hash_byte_group_size={found['encoder_hash_byte_group_size']!r}: must be []"
    if found["patching_mode"] == "":
        yield "patching_mode='': must be null or a name, as else a row begins with tokens that are not ours"
    width = found["dim_local_encoder"]
    for name in ("dim_local_decoder", "dim_token"):
        if found[name] not in (None, width):
            yield f"{name}={found[name]}: must equal dim_local_encoder={width}"
    if found["dim_token"] is None and not found["use_local_encoder_transformer"]:
        yield f"dim_token=None: must be {width}, as use_local_encoder_transformer is false"
    for network, heads_of_values in (("global", "n_kv_heads_global"), ("local_encoder", "n_kv_heads")):
        if found[heads_of_values] not in (None, found[f"n_heads_{network}"]):
            yield f"{heads_of_values}={found[heads_of_values]}: must be null or n_heads_{network}={found[f'n_heads_{network}']}"
    for network in ("global", "local_encoder", "local_decoder"):
        heads, dim = found[f"n_heads_{network}"], found[f"dim_{network}"]
        if heads < 1 or found["head_dim"] not in (None, dim / heads):
            yield f"head_dim={found['head_dim']}: must be null or dim_{network}={dim} / n_heads_{network}={heads}"


def ancestor_config(
    config: ModelConfig, vocab_size: int, patch_size: int, row_patches: int, row_tokens: int
) -> dict[str, Any]:
    """The "model" of the ancestor's params.json; `model_config_from_ancestor` restores what decides its function.

    Its attention is what its modules accept for packed documents: they refuse others, or mask less.
    Raises: DataError where the ancestor has no such model.
    """
    _check_architecture(config)
    encoder, main, decoder = config.patch_encoder, config.global_transformer, config.patch_decoder
    if encoder.window != decoder.window or main.window is not None:
        raise DataError(
            f"model.patch_decoder.window={decoder.window}: the ancestor has one window for both local "
            "networks and none for the global one; convert such a model to another format"
        )
    own_patch = {OWN_PATCH: None}
    ours = {
        **FIXED,
        "encoder_hash_byte_group_size": [],
        "use_local_encoder_transformer": True,
        "vocab_size": vocab_size,
        "patching_mode": "static",
        "patch_size": float(patch_size),
        "eos_id": EOS_ID,
        "max_seqlen": row_patches,
        "max_encoder_seq_length": row_tokens,
        "attn_impl": "xformers",
        "attn_bias_type": "block_causal",
        "cross_attn_use_flex_attention": True,
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
    return ancestor_fields.with_defaults(ours, ancestor_fields.MODEL)


def _check_architecture(config: ModelConfig) -> None:
    if not architecture_named(config.architecture).conversions.ancestor:
        raise DataError(
            f"model.architecture={config.architecture!r}: the ancestor has no such architecture; convert to another format"
        )


def _expected(config: ModelConfig, vocab_size: int) -> Mapping[str, tuple[int, ...]]:
    """Path to shape of every parameter of the configuration; the split of the vocabulary does not matter here."""
    _check_architecture(config)
    return expected_shapes(config, Vocab(text_size=vocab_size - UNUSED_SLOTS - 2, unit_slots=0))
