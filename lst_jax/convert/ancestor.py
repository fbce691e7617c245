"""Weights and configuration of the PyTorch ancestor, both ways (tensor names: paper §4 "Details as coded").

Ours                                            The ancestor's
patch_encoder/layers_0/attention/wq/kernel      local_encoder.layers.0.attention.wq.weight (transposed)
global_transformer/layers_3/ffn_norm/scale      global_transformer.layers.3.ffn_norm.weight
patch_encoder/tok_embeddings/embedding          local_encoder.tok_embeddings.weight
"""

import re
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from lst_jax.config import ModelConfig, StackConfig
from lst_jax.errors import DataError
from lst_jax.model.lst import build
from lst_jax.vocab import UNUSED_SLOTS, Vocab

NETWORKS = {"patch_encoder": "local_encoder", "global_transformer": "global_transformer",
            "patch_decoder": "local_decoder"}
EMBEDDING = "local_encoder.tok_embeddings.weight"
NORM_EPS = 1e-5  # the ancestor's constant (paper §4), used where its configuration does not give one
ATTENTION_BLOCK = 64
LOGITS_CHUNK = 1024
# What the model has no other form of: configurations with another value are refused.
FIXED = {"cross_attn_encoder": True, "cross_attn_decoder": True, "cross_attn_init_by_pooling": True,
         "downsampling_by_pooling": "max", "use_local_encoder_transformer": True, "encoder_hash_byte_group_size": [],
         "ffn_dim_multiplier": 1.0}


def ancestor_name(path: str) -> str:
    """The ancestor's name of one of our parameters.

    Example: "patch_decoder/cross_attn_layers_2/wq/kernel" -> "local_decoder.cross_attn_layers.2.wq.weight"
    """
    network, *inner, _ = path.split("/")
    return ".".join([NETWORKS[network], *(re.sub(r"layers_(\d+)$", r"layers.\1", part) for part in inner), "weight"])


def from_ancestor(tensors: dict[str, np.ndarray], config: ModelConfig) -> Any:
    """Our nested float32 parameters from the ancestor's tensors by name (torch [out, in] becomes [in, out]).

    Raises: DataError where a tensor is missing, left over, or of another shape than the configuration gives.
    """
    if EMBEDDING not in tensors:
        raise DataError(f"{EMBEDDING}: missing tensor; give all tensors of the checkpoint's model")
    expected = _expected(config, tensors[EMBEDDING].shape[0])
    names = {ancestor_name(path): path for path in expected}
    missing, extra = sorted(names.keys() - tensors.keys()), sorted(tensors.keys() - names.keys())
    if missing or extra:
        raise DataError(f"{(missing or extra)[0]}: {len(missing)} tensors missing and {len(extra)} left over (missing: "
                        f"{', '.join(missing[:3]) or 'none'}; left over: {', '.join(extra[:3]) or 'none'}); "
                        "use the configuration the checkpoint was made with")
    params = {}
    for name, path in names.items():
        value = np.asarray(tensors[name], np.float32)
        value = value.T if path.endswith("/kernel") else value
        if value.shape != expected[path].shape:
            raise DataError(f"{name}: shape {tensors[name].shape} where {path} is {expected[path].shape}; "
                            "use the configuration the checkpoint was made with")
        params[path] = np.ascontiguousarray(value)
    return traverse_util.unflatten_dict(params, sep="/")


def to_ancestor(params: Any, config: ModelConfig) -> dict[str, np.ndarray]:
    """The ancestor's float32 tensors by name; the exact inverse of `from_ancestor`."""
    flat = traverse_util.flatten_dict(params, sep="/")
    expected = _expected(config, flat["patch_encoder/tok_embeddings/embedding"].shape[0])
    if flat.keys() != expected.keys():
        raise DataError(f"{sorted(flat.keys() ^ expected.keys())[0]}: the parameters are not those of the "
                        "configuration; use the configuration they were made with")
    return {ancestor_name(path): np.ascontiguousarray(np.asarray(value, np.float32).T if path.endswith("/kernel")
                                                      else np.asarray(value, np.float32))
            for path, value in flat.items()}


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
        raise DataError(f"dim_local_decoder={config['dim_local_decoder']}: must equal dim_local_encoder="
                        f"{config['dim_local_encoder']}; use a checkpoint with equal widths")

    def stack(name, window):
        return StackConfig(field(f"n_layers_{name}"), field(f"dim_{name}"), field(f"n_heads_{name}"), window)

    local_window = field("local_attention_window_len")
    return ModelConfig(
        system="lst", patch_encoder=stack("local_encoder", local_window), global_transformer=stack("global", None),
        patch_decoder=stack("local_decoder", local_window), queries_per_patch=field("cross_attn_k"),
        cross_heads=field("cross_attn_nheads"), encoder_cross_window=optional("cross_attn_window_encoder", 1),
        decoder_cross_window=optional("cross_attn_window_decoder", 1),
        encoder_cross_all_layers=field("cross_attn_all_layers_encoder"),
        decoder_cross_all_layers=field("cross_attn_all_layers_decoder"), rope_theta=float(field("rope_theta")),
        norm_eps=float(optional("norm_eps", NORM_EPS)), ffn_multiple=field("multiple_of"), compute_dtype="float32",
        attention_block=ATTENTION_BLOCK, logits_chunk=LOGITS_CHUNK, scan_layers=True, remat="none")


def _expected(config: ModelConfig, vocab_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Path to shape of every parameter of the configuration; the split of the vocabulary does not matter here."""
    if config.system != "lst":
        raise DataError(f'model.system={config.system!r}: the ancestor\'s form exists for "lst" only; use "lst"')
    vocab = Vocab(text_size=vocab_size - UNUSED_SLOTS - 2, unit_slots=0)
    shapes = jax.eval_shape(build(config, vocab, 1).init_params, jax.random.key(0))
    return traverse_util.flatten_dict(shapes, sep="/")
