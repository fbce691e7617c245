"""Base as a plain `LlamaForCausalLM` of Hugging Face or one of its relatives (`hf_families`), written and read.

Ours [in, out]                                    Theirs [out, in]
tok_embeddings/embedding                          model.embed_tokens.weight (not transposed)
global_transformer/layers_3/attention/wq/kernel   model.layers.3.self_attn.q_proj.weight (rows of each head moved)
norm/scale, output/kernel                         model.norm.weight, lm_head.weight

Our rotary embedding rotates the adjacent pairs (2i, 2i+1) of a head, theirs the pairs (i, i + K/2), by the same angles.
The rows of the query and key matrices, and of their biases and norms, therefore change places. Nothing is computed, so
a round trip is exact.
"""

import pathlib
from collections.abc import Callable

import numpy as np

from lst_jax.config import Config, StackConfig
from lst_jax.convert import by_transformers, companions, hf_families, streamed
from lst_jax.convert.hf_families import Llama, check_fields, read_llama
from lst_jax.convert.hf_readme import readme
from lst_jax.convert.hf_tokenizer import pad_id, write_tokenizer
from lst_jax.convert.inputs import Inputs
from lst_jax.convert.safetensors_files import open_safetensors, write_safetensors
from lst_jax.convert.source import Source, Stored, check_shapes, expected_shapes, transposed, transposed_shape
from lst_jax.core import files
from lst_jax.core.errors import DataError
from lst_jax.core.shapes import Float, ndarray
from lst_jax.model.architectures.registry import architecture_named

BASE = "llama"  # `Conversions.transformers` of an architecture that these families hold
EMBEDDING, LAST_NORM, OUTPUT = "tok_embeddings/embedding", "norm/scale", "output/kernel"
OUTER = {
    EMBEDDING: "model.embed_tokens.weight",
    LAST_NORM: "model.norm.weight",
    OUTPUT: "lm_head.weight",
}
LAYER = {
    "attention_norm/scale": "input_layernorm.weight",
    "attention/wq/kernel": "self_attn.q_proj.weight",
    "attention/wk/kernel": "self_attn.k_proj.weight",
    "attention/wv/kernel": "self_attn.v_proj.weight",
    "attention/wo/kernel": "self_attn.o_proj.weight",
    "ffn_norm/scale": "post_attention_layernorm.weight",
    "feed_forward/w1/kernel": "mlp.gate_proj.weight",
    "feed_forward/w3/kernel": "mlp.up_proj.weight",
    "feed_forward/w2/kernel": "mlp.down_proj.weight",
}
NORMS_AFTER = {
    "attention_norm/scale": "post_attention_layernorm.weight",
    "ffn_norm/scale": "post_feedforward_layernorm.weight",
}
QKV_BIAS = {f"attention/w{one}/bias": f"self_attn.{one}_proj.bias" for one in "qkv"}
QK_NORM = {f"attention/{one}_norm/scale": f"self_attn.{one}_norm.weight" for one in "qk"}
# Arrays whose rows are features of queries or keys, head by head
ROTATED = ("wq/kernel", "wk/kernel", "wq/bias", "wk/bias", "q_norm/scale", "k_norm/scale")
BUFFER = "rotary_emb.inv_freq"  # a buffer of old checkpoints, which rope_theta determines


def write(source: Source, out: pathlib.Path, progress: bool = False, dtype: str = "float32") -> None:
    """Writes a complete directory that `transformers` loads, with few arrays in memory.

    Args: `dtype` of the weights in the files.
    Raises: DataError where a LlamaForCausalLM cannot represent the model, or arrays are missing.
    """
    config = source.config
    check_base(config)
    stack, shapes = config.model.global_transformer, expected_shapes(config.model, config.joint_vocab)
    check_shapes({path: one.shape for path, one in source.arrays.items()}, shapes, str(source.origin))
    theirs = names(stack, config.model.tied_output)
    tensors = {name: _to_theirs(path, source.arrays[path], stack.size_of_head) for path, name in theirs.items()}
    files.write_json(out / "config.json", hf_families.config_json(config, dtype))
    files.write_json(
        out / "generation_config.json",
        {"bos_token_id": config.vocab.bos_id, "eos_token_id": config.vocab.eos_id, "pad_token_id": pad_id(config)},
    )
    companions.write_companions(config, out)
    bos = write_tokenizer(config, out)
    files.write_text(out / "README.md", readme(config, BASE, bos))
    write_safetensors(out, tensors, progress=progress, dtype=dtype)


def open_source(path: pathlib.Path, recipe: Config | None) -> Source:
    """Opens a directory as Base; arrays are read later.

    Raises: DataError where configuration, recipe and tensors do not agree, naming both sides.
    """
    config, llama = companions.read_companions(path, recipe), read_llama(path)
    check_base(config)
    check_fields(config, llama, path)
    if config.joint_vocab.size != llama.vocab_size:
        raise DataError(
            f"vocab.text_size={config.vocab.text_size} and vocab.unit_slots={config.vocab.unit_slots} make "
            f"{config.joint_vocab.size} ids, {path} has vocab_size={llama.vocab_size}; use the recipe it "
            "was trained with, or --warm-start for a text model"
        )
    if llama.kv_heads != llama.heads or llama.tied != config.model.tied_output:
        raise DataError(
            f"{path}: num_key_value_heads={llama.kv_heads} of {llama.heads} heads, tie_word_embeddings="
            f"{llama.tied}: {'Base has neither' if llama.tied else 'model.tied_output is True'}; --warm-start takes such a model"
        )
    tensors, shapes = open_tensors(path), expected_shapes(config.model, config.joint_vocab)
    theirs = names(llama, llama.tied)
    if llama.tied:
        tensors.pop(OUTER[OUTPUT], None)  # some checkpoints hold the tied matrix twice
    check_shapes(
        {name: one.shape for name, one in tensors.items()},
        {name: transposed_shape(path, shapes[path]) for path, name in theirs.items()},
        str(path),
    )
    arrays = {ours: to_ours(ours, tensors[name], shapes[ours], llama.size_of_head) for ours, name in theirs.items()}
    return Source(config, arrays, companions.origin("hf", path))


def logits(path: pathlib.Path, inputs: Inputs) -> tuple[Float[ndarray, "B T V"], str]:
    """Float32 logits [B, T, V] of `inputs.token_BT` from transformers, and what ran it.

    transformers maps the files, so memory holds activations and pages that can be dropped. Without transformers, this
    program reads the files back and runs them. Raises: DataError where a tensor is missing.
    """
    if not by_transformers.installed():
        return streamed.logits(open_source(path, None), inputs), by_transformers.MISSING
    kind = hf_families.FAMILIES[read_llama(path).family]
    return by_transformers.logits(path, kind.class_name, inputs.token_BT, attn_implementation="sdpa")


def names(model: Llama | StackConfig, tied: bool = False) -> dict[str, str]:
    """Our path to their name of every parameter, in their order.

    Without the output matrix where it is tied, and without norms that have no parameters.
    """
    layer = dict(LAYER) | (NORMS_AFTER if model.norm_place == "after" else {})
    if model.norm == "layer":  # norms without parameters
        layer = {ours: theirs for ours, theirs in layer.items() if ours not in NORMS_AFTER}
    layer |= (QKV_BIAS if model.qkv_bias else {}) | (QK_NORM if model.qk_norm != "none" else {})
    inner = {
        f"global_transformer/layers_{i}/{ours}": f"model.layers.{i}.{theirs}"
        for i in range(model.layers)
        for ours, theirs in layer.items()
    }
    absent = {OUTPUT if tied else None, LAST_NORM if model.norm == "layer" else None}
    (first, embedding), *rest = OUTER.items()
    return {first: embedding} | inner | {ours: theirs for ours, theirs in rest if ours not in absent}


def open_tensors(path: pathlib.Path) -> dict[str, Stored]:
    """The tensors of a directory by name, without the buffers that old checkpoints hold. Raises: DataError."""
    return {name: one for name, one in open_safetensors(path).items() if not name.endswith(BUFFER)}


def to_ours(path: str, one: Stored, shape: tuple[int, ...], head: int) -> Stored:
    """Their tensor as our array of that path and shape. Args: `head` is the width of a head."""

    def read():
        value = _moved(path, one.read(), rotated_pairs, head)
        return value.T if path.endswith("/kernel") else value

    return Stored(shape, read)


def rotated_halves(weight_FD: Float[ndarray, "F D"], heads: int) -> Float[ndarray, "F D"]:
    """Reorders the rows of each head from adjacent pairs to halves. Example: one head of 4, rows 0 1 2 3 -> 0 2 1 3"""
    f, d = weight_FD.shape
    return weight_FD.reshape(heads, f // heads // 2, 2, d).swapaxes(1, 2).reshape(f, d)


def rotated_pairs(weight_FD: Float[ndarray, "F D"], heads: int) -> Float[ndarray, "F D"]:
    """The inverse of `rotated_halves`."""
    f, d = weight_FD.shape
    return weight_FD.reshape(heads, 2, f // heads // 2, d).swapaxes(1, 2).reshape(f, d)


def check_base(config: Config) -> None:
    """Raises: DataError where a LlamaForCausalLM cannot represent the model."""
    if architecture_named(config.model.architecture).conversions.transformers != BASE:
        raise DataError(
            f'model.architecture={config.model.architecture!r}: a LlamaForCausalLM is of "base" only; use another format'
        )
    hf_families.family_of(config)
    if (window := config.model.global_transformer.window) is not None:
        raise DataError(
            f"model.global_transformer.window={window}: a LlamaForCausalLM has no window; use the format "
            "orbax, or train with None"
        )


def _to_theirs(path: str, one: Stored, head: int) -> Stored:
    theirs = transposed(path, one)
    return Stored(theirs.shape, lambda: _moved(path, theirs.read(), rotated_halves, head))


def _moved(path: str, value: np.ndarray, move: Callable[..., np.ndarray], head: int) -> np.ndarray:
    """`move` applied to the rows of each head, where the array has rows that are rotated; vectors have rows of 1."""
    if not path.endswith(ROTATED):
        return value
    return move(value.reshape(len(value), -1), len(value) // head).reshape(value.shape)
