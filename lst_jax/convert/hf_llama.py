"""Base as a plain `LlamaForCausalLM` of Hugging Face, written and read; Base over unit pieces (BPE) likewise.

Ours [in, out]                                    Theirs [out, in]
tok_embeddings/embedding                          model.embed_tokens.weight (not transposed)
global_transformer/layers_3/attention/wq/kernel   model.layers.3.self_attn.q_proj.weight (rows of each head moved)
norm/scale, output/kernel                         model.norm.weight, lm_head.weight

Our rotary embedding rotates the adjacent pairs (2i, 2i+1) of a head, theirs the pairs (i, i + K/2), by the same angles.
The rows of the query and key matrices therefore change places. Nothing is computed, so a round trip is exact.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from lst_jax.config import Config
from lst_jax.convert import by_transformers, companions, streamed
from lst_jax.convert.hf_tokenizer import pad_id, write_tokenizer
from lst_jax.convert.inputs import Inputs
from lst_jax.convert.safetensors_files import open_safetensors, write_safetensors
from lst_jax.convert.source import Source, Stored, check_shapes, expected_shapes, transposed, transposed_shape
from lst_jax.core import files, json_files
from lst_jax.core.errors import LONGEST_QUOTE, DataError
from lst_jax.core.shapes import Float, ndarray
from lst_jax.core.vocab import BOS_ID, EOS_ID
from lst_jax.model.architectures.registry import architecture_named

MODEL_TYPE = "llama"
ROTATED = ("attention/wq/kernel", "attention/wk/kernel")
OUTER = {
    "tok_embeddings/embedding": "model.embed_tokens.weight",
    "norm/scale": "model.norm.weight",
    "output/kernel": "lm_head.weight",
}
LAYER = {
    "attention_norm/scale": "input_layernorm",
    "attention/wq/kernel": "self_attn.q_proj",
    "attention/wk/kernel": "self_attn.k_proj",
    "attention/wv/kernel": "self_attn.v_proj",
    "attention/wo/kernel": "self_attn.o_proj",
    "ffn_norm/scale": "post_attention_layernorm",
    "feed_forward/w1/kernel": "mlp.gate_proj",
    "feed_forward/w3/kernel": "mlp.up_proj",
    "feed_forward/w2/kernel": "mlp.down_proj",
}
BUFFER = "rotary_emb.inv_freq"  # a buffer of old checkpoints, which rope_theta determines
# The defaults of transformers for fields that config.json leaves out
ABSENT = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "num_key_value_heads": None,
    "head_dim": None,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e4,
    "rope_scaling": None,
    "rope_parameters": None,
    "sliding_window": None,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}
# Fields that change the forward pass, with the one value that our blocks compute
FIXED = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "sliding_window": None,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}
ROPE_FIELDS = frozenset({"rope_type", "type", "rope_theta", "partial_rotary_factor"})


@dataclasses.dataclass(frozen=True)
class Llama:
    """The fields of config.json of a LlamaForCausalLM that our blocks can represent."""

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    ffn_width: int
    rope_theta: float
    norm_eps: float
    tied: bool  # the output matrix is the embedding


def write(source: Source, out: pathlib.Path, progress: bool = False) -> None:
    """Writes a complete directory that `transformers` loads, one array at a time.

    Raises: DataError where a LlamaForCausalLM cannot represent the model, or arrays are missing.
    """
    config = source.config
    check_base(config)
    stack, shapes = config.model.global_transformer, expected_shapes(config.model, config.joint_vocab)
    check_shapes({path: one.shape for path, one in source.arrays.items()}, shapes, str(source.origin))
    tensors = {name: _to_theirs(path, source.arrays[path], stack.heads) for path, name in names(stack.layers).items()}
    files.write_json(out / "config.json", _config_json(config))
    files.write_json(
        out / "generation_config.json", {"bos_token_id": BOS_ID, "eos_token_id": EOS_ID, "pad_token_id": pad_id(config)}
    )
    companions.write_companions(config, out)
    write_tokenizer(config, out)
    write_safetensors(out, tensors, progress=progress)


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
    if llama.kv_heads != llama.heads or llama.tied:
        raise DataError(
            f"{path}: num_key_value_heads={llama.kv_heads} of {llama.heads} heads, tie_word_embeddings="
            f"{llama.tied}: Base has neither; --warm-start takes such a model"
        )
    tensors = open_tensors(path)
    shapes, theirs = expected_shapes(config.model, config.joint_vocab), names(llama.layers)
    check_shapes(
        {name: one.shape for name, one in tensors.items()},
        {name: transposed_shape(path, shapes[path]) for path, name in theirs.items()},
        str(path),
    )
    arrays = {ours: to_ours(ours, tensors[name], shapes[ours], llama.heads) for ours, name in theirs.items()}
    return Source(config, arrays, companions.origin("hf", path))


def logits(path: pathlib.Path, inputs: Inputs) -> tuple[Float[ndarray, "B T V"], str]:
    """Float32 logits [B, T, V] of `inputs.token_BT` from transformers, and what ran it.

    transformers maps the files, so memory holds activations and pages that can be dropped. Without transformers, this
    program reads the files back and runs them. Raises: DataError where a tensor is missing.
    """
    if not by_transformers.installed():
        return streamed.logits(open_source(path, None), inputs), by_transformers.MISSING
    return by_transformers.logits(path, "LlamaForCausalLM", inputs.token_BT, attn_implementation="sdpa")


def names(layers: int) -> dict[str, str]:
    """Our path to their name of every parameter, in their order."""
    inner = {
        f"global_transformer/layers_{i}/{ours}": f"model.layers.{i}.{theirs}.weight"
        for i in range(layers)
        for ours, theirs in LAYER.items()
    }
    (first, embedding), *rest = OUTER.items()
    return {first: embedding} | inner | dict(rest)


def open_tensors(path: pathlib.Path) -> dict[str, Stored]:
    """The tensors of a directory by name, without the buffers that old checkpoints hold. Raises: DataError."""
    return {name: one for name, one in open_safetensors(path).items() if not name.endswith(BUFFER)}


def to_ours(path: str, one: Stored, shape: tuple[int, ...], heads: int) -> Stored:
    """Their tensor as our array of that path and shape."""

    def read():
        value = rotated_pairs(one.read(), heads) if path.endswith(ROTATED) else one.read()
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


def read_llama(path: pathlib.Path) -> Llama:
    """Reads config.json. Raises: DataError where it is another kind of model, or has a feature that our blocks lack."""
    file = path / "config.json"
    mapping = ABSENT | json_files.read_model_file(file)
    if "model_type" not in mapping or mapping["model_type"] != MODEL_TYPE:
        kind = mapping["model_type"] if "model_type" in mapping else None
        raise DataError(f"{file}: model_type must be llama and is {kind!r}; give a directory of a LlamaForCausalLM")
    for name, value in FIXED.items():
        if mapping[name] != value:
            raise DataError(
                f"{file}: {name}={_quoted(mapping[name])}: only {value!r} is supported; choose such a model"
            )
    if "layer_types" in mapping and mapping["layer_types"] not in (None, ["full_attention"] * _layers(mapping)):
        raise DataError(
            f"{file}: layer_types={_quoted(mapping['layer_types'])}: only 'full_attention' in all layers is supported; "
            "choose such a model"
        )
    try:
        heads, width = int(mapping["num_attention_heads"]), int(mapping["hidden_size"])
        llama = Llama(
            int(mapping["vocab_size"]),
            width,
            int(mapping["num_hidden_layers"]),
            heads,
            int(mapping["num_key_value_heads"] or heads),
            int(mapping["intermediate_size"]),
            _rope_theta(file, mapping),
            float(mapping["rms_norm_eps"]),
            bool(mapping["tie_word_embeddings"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{file}: {error} is missing or no number; download the model again") from error
    sizes = {"hidden_size": width, "num_attention_heads": heads, "num_key_value_heads": llama.kv_heads}
    for name, size in sizes.items():
        if size < 1:
            raise DataError(f"{file}: {name}={size}: must be at least 1; choose another model")
    if mapping["head_dim"] not in (None, width // heads) or heads % llama.kv_heads:
        raise DataError(
            f"{file}: head_dim={mapping['head_dim']}, num_key_value_heads={llama.kv_heads}: {heads} heads "
            f"of width {width} must share them evenly; choose such a model"
        )
    return llama


def check_fields(config: Config, llama: Llama, path: pathlib.Path) -> None:
    """Compares a recipe's global transformer with config.json. Raises: DataError naming the field and both values."""
    model, stack = config.model, config.model.global_transformer
    for field, ours, theirs in [
        ("model.global_transformer.width", stack.width, llama.width),
        ("model.global_transformer.layers", stack.layers, llama.layers),
        ("model.global_transformer.heads", stack.heads, llama.heads),
        (
            f"model.ffn_multiple={model.ffn_multiple}: a feed-forward width",
            model.ffn_width(stack.width),
            llama.ffn_width,
        ),
        ("model.global_transformer.window", stack.window, None),
        ("model.rope_theta", model.rope_theta, llama.rope_theta),
        ("model.norm_eps", model.norm_eps, llama.norm_eps),
    ]:
        if ours != theirs:
            raise DataError(f"{field}={ours}: {path} has {theirs}; use that value in the recipe")


def check_base(config: Config) -> None:
    """Raises: DataError where a LlamaForCausalLM cannot represent the model."""
    if architecture_named(config.model.architecture).conversions.transformers != MODEL_TYPE:
        raise DataError(
            f'model.architecture={config.model.architecture!r}: a LlamaForCausalLM is of "base" only; use another format'
        )
    if (window := config.model.global_transformer.window) is not None:
        raise DataError(
            f"model.global_transformer.window={window}: a LlamaForCausalLM has no window; use the format "
            "orbax, or train with None"
        )


def _config_json(config: Config) -> dict[str, Any]:
    model, stack = config.model, config.model.global_transformer
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": MODEL_TYPE,
        "vocab_size": config.joint_vocab.size,
        "hidden_size": stack.width,
        "intermediate_size": model.ffn_width(stack.width),
        "num_hidden_layers": stack.layers,
        "num_attention_heads": stack.heads,
        "num_key_value_heads": stack.heads,
        "head_dim": stack.width // stack.heads,
        "max_position_embeddings": config.data.row_patches,
        "rms_norm_eps": model.norm_eps,
        "rope_theta": model.rope_theta,  # transformers 4 reads it here, 5 below
        "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_theta},
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": BOS_ID,
        "eos_token_id": EOS_ID,
        "use_cache": True,
        "dtype": "float32",
        "torch_dtype": "float32",
    }


def _rope_theta(file: pathlib.Path, mapping: Mapping[str, Any]) -> float:
    """The angle base from `rope_parameters` (transformers 5) or `rope_theta` (4). Raises: DataError for any scaling."""
    rope = {"rope_theta": mapping["rope_theta"], "partial_rotary_factor": 1.0}
    for name in ("rope_scaling", "rope_parameters"):
        if not isinstance(mapping[name], dict | None):
            raise DataError(f"{file}: {name}={_quoted(mapping[name])}: must be an object; download the model again")
        rope |= mapping[name] or {}
    declared = [rope[name] for name in ("rope_type", "type") if name in rope]
    kind = [one for one in declared if one != "default"]
    if kind:
        raise DataError(
            f'{file}: rope_type={_quoted(kind[0])}: only "default" is supported; choose a model without '
            "scaled positions"
        )
    odd = rope.keys() - ROPE_FIELDS if not declared else set()
    if odd or rope["partial_rotary_factor"] != 1.0:
        name = min(odd, default="partial_rotary_factor")
        raise DataError(
            f"{file}: {name}={_quoted(rope[name])} of the rotary positions: is not supported; choose a model without it"
        )
    return float(rope["rope_theta"])


def _layers(mapping: Mapping[str, Any]) -> int:
    layers = mapping["num_hidden_layers"] if "num_hidden_layers" in mapping else 0
    return layers if isinstance(layers, int) else 0


def _quoted(value: Any) -> str:
    return repr(value)[:LONGEST_QUOTE]


def _to_theirs(path: str, one: Stored, heads: int) -> Stored:
    theirs = transposed(path, one)
    return Stored(theirs.shape, lambda: rotated_halves(theirs.read(), heads)) if path.endswith(ROTATED) else theirs
