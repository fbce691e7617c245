"""Encoders from a local Hugging Face directory: `config.json` and safetensors, whole or sharded."""

import os
import pathlib
import re
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors

from lst_jax.core import json_files
from lst_jax.core.errors import DataError
from lst_jax.prepare.acoustic.wav2vec2 import ACTIVATIONS, Architecture

MODEL_TYPES = ("hubert", "wav2vec2")
# What pre-training, other heads and torch keep in the same file, and no hidden state depends on.
UNUSED = re.compile(
    r"masked_spec_embed$|(quantizer|project_hid|project_q|dropout_features)\.|classifier\.|projector\.|"
    r"layer_weights$|.*\.num_batches_tracked$"
)
LINEARS = {
    "query": "attention.q_proj",
    "key": "attention.k_proj",
    "value": "attention.v_proj",
    "out": "attention.out_proj",
    "up": "feed_forward.intermediate_dense",
    "down": "feed_forward.output_dense",
}
NORMS = {"attention_norm": "layer_norm", "feed_forward_norm": "final_layer_norm"}
# Weight norm under the names of torch < 2.1, of later ones, and already multiplied out.
WEIGHT_NORMS = (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))


def read_architecture(directory: str | os.PathLike) -> Architecture:
    """The architecture in `config.json`; fields that are absent have Hugging Face's defaults.

    Raises: DataError for other model types, and for parts that are not implemented.
    """
    path = pathlib.Path(directory) / "config.json"
    config = json_files.read_model_file(path)
    if "model_type" not in config or config["model_type"] not in MODEL_TYPES:
        raise DataError(f"{path}: model_type must be {' or '.join(MODEL_TYPES)}; choose such a model")
    for field in ("adapter_attn_dim", "add_adapter"):
        if field in config and config[field]:
            raise DataError(f"{path}: {field}={config[field]}: adapters are not implemented; choose a model without")
    values = {}
    for name, kind in typing.get_type_hints(Architecture).items():
        if name in config:
            values[name] = _convert(path, name, kind, config[name])
    if config["model_type"] == "wav2vec2":  # these fields are HuBERT's alone
        values |= {"feat_proj_layer_norm": True, "conv_pos_batch_norm": False}
    arch = Architecture(**values)
    _check(path, arch)
    return arch


def read_normalise(directory: str | os.PathLike) -> bool:
    """Whether recordings are brought to mean 0 and variance 1 first: `do_normalize` of `preprocessor_config.json`."""
    path = pathlib.Path(directory) / "preprocessor_config.json"
    if not path.is_file():
        raise DataError(
            f"{path}: no such file, so it is unknown whether audio is normalised; download it, or write "
            '{"do_normalize": true} or false into it as the model was trained'
        )
    config = json_files.read_model_file(path)
    if "do_normalize" not in config or not isinstance(config["do_normalize"], bool):
        raise DataError(f'{path}: do_normalize must be true or false; add "do_normalize" as the model was trained')
    if "sampling_rate" in config and config["sampling_rate"] != 16000:
        raise DataError(f"{path}: sampling_rate={config['sampling_rate']}: must be 16000; choose another model")
    return config["do_normalize"]


def read_parameters(directory: str | os.PathLike, arch: Architecture, layers: int, head: bool) -> dict[str, Any]:
    """Parameters as float32 numpy arrays: all up to hidden state `layers`, and the CTC head where `head`.

    Raises: DataError naming tensors that are missing, unknown or of another shape.
    """
    source, layers = pathlib.Path(directory), max(layers, 1)  # so that the layer axis exists
    files = _tensor_files(source)
    prefix = f"{arch.model_type}."
    plain = {name.removeprefix(prefix): name for name in files}
    if len(plain) < len(files):
        raise DataError(f"{source}: has tensors both with and without the prefix {prefix!r}; download the model again")
    gain, direction = _weight_norm(plain, arch)
    expected = shapes(arch, gain, direction)
    if "lm_head.weight" in plain or head:
        expected |= {"lm_head.weight": (arch.vocab_size, arch.hidden_size), "lm_head.bias": (arch.vocab_size,)}
    unknown = sorted(n for n in plain if n not in expected and not UNUSED.match(n))
    if missing := sorted(expected.keys() - plain.keys()):
        raise DataError(
            f"{source}: lacks {_list(missing)}{' and has ' + _list(unknown) if unknown else ''}; does "
            "config.json belong to these weights?" + _head_hint(missing)
        )
    if unknown:
        raise DataError(
            f"{source}: has tensors that config.json has no place for: {_list(unknown)}; does config.json "
            "belong to these weights?"
        )
    wanted = [n for n in expected if _needed(n, layers, head)]
    tensors = _read_tensors(source, files, {plain[n]: n for n in wanted})
    wrong = [f"{n} {tensors[n].shape} instead of {expected[n]}" for n in wanted if tensors[n].shape != expected[n]]
    if wrong:
        raise DataError(f"{source}: {_list(wrong)}; does config.json belong to these weights?")
    return _tree(tensors, arch, layers, head, gain, direction)


def _tree(
    tensors: Mapping[str, np.ndarray], arch: Architecture, layers: int, head: bool, gain: str | None, direction: str
) -> dict[str, Any]:
    """The parameter tree that `wav2vec2` takes, from tensors under Hugging Face's names and in torch's layouts."""

    def linear(name):
        return {"kernel": tensors[f"{name}.weight"].T, "bias": tensors[f"{name}.bias"]}

    def norm(name):
        return {"scale": tensors[f"{name}.weight"], "bias": tensors[f"{name}.bias"]}

    convolutions = []
    for i in range(len(arch.conv_dim)):
        name = f"feature_extractor.conv_layers.{i}"
        one = {"kernel": tensors[f"{name}.conv.weight"].transpose(2, 1, 0)}
        one |= {"bias": tensors[f"{name}.conv.bias"]} if arch.conv_bias else {}
        one |= {"norm": norm(f"{name}.layer_norm")} if arch.feat_extract_norm == "layer" or i == 0 else {}
        convolutions.append(one)
    kernel = tensors[direction]
    if gain is not None:  # weight norm over all but the kernel's places
        kernel = tensors[gain] * kernel / np.sqrt(np.square(kernel).sum((0, 1), keepdims=True))
    positions = {"kernel": kernel.transpose(2, 1, 0), "bias": tensors["encoder.pos_conv_embed.conv.bias"]}
    if arch.conv_pos_batch_norm:
        name = "encoder.pos_conv_embed.batch_norm"
        positions["batch_norm"] = norm(name) | {
            "mean": tensors[f"{name}.running_mean"],
            "variance": tensors[f"{name}.running_var"],
        }
    blocks = []
    for i in range(layers):
        name = f"encoder.layers.{i}"
        blocks.append(
            {to: linear(f"{name}.{of}") for to, of in LINEARS.items()}
            | {to: norm(f"{name}.{of}") for to, of in NORMS.items()}
        )
    tree = {
        "convolutions": convolutions,
        "projection": linear("feature_projection.projection"),
        "positions": positions,
        "norm": norm("encoder.layer_norm"),
        "layers": _stack(blocks),
    }
    if arch.feat_proj_layer_norm:
        tree["projection_norm"] = norm("feature_projection.layer_norm")
    if head:
        tree["head"] = linear("lm_head")
    return tree


def shapes(arch: Architecture, gain: str | None, direction: str) -> dict[str, tuple[int, ...]]:
    """Every tensor of the encoder and its shape in torch's layout."""
    width, places = arch.hidden_size, arch.num_conv_pos_embeddings
    shapes: dict[str, tuple[int, ...]] = {}

    def add(name, *shape, bias=True):
        shapes[f"{name}.weight"] = shape
        shapes.update({f"{name}.bias": shape[:1]} if bias else {})

    for i, channels in enumerate(arch.conv_dim):
        name, before = f"feature_extractor.conv_layers.{i}", (1, *arch.conv_dim)[i]
        add(f"{name}.conv", channels, before, arch.conv_kernel[i], bias=arch.conv_bias)
        if arch.feat_extract_norm == "layer" or i == 0:
            add(f"{name}.layer_norm", channels)
    if arch.feat_proj_layer_norm:
        add("feature_projection.layer_norm", arch.conv_dim[-1])
    add("feature_projection.projection", width, arch.conv_dim[-1])
    shapes[direction] = (width, width // arch.num_conv_pos_embedding_groups, places)
    shapes |= {gain: (1, 1, places)} if gain is not None else {}
    shapes["encoder.pos_conv_embed.conv.bias"] = (width,)
    if arch.conv_pos_batch_norm:
        add("encoder.pos_conv_embed.batch_norm", width)
        shapes |= {f"encoder.pos_conv_embed.batch_norm.running_{of}": (width,) for of in ("mean", "var")}
    add("encoder.layer_norm", width)
    inner = {"up": (arch.intermediate_size, width), "down": (width, arch.intermediate_size)}
    for i in range(arch.num_hidden_layers):
        for to, of in LINEARS.items():
            add(f"encoder.layers.{i}.{of}", *(inner[to] if to in inner else (width, width)))
        for of in NORMS.values():
            add(f"encoder.layers.{i}.{of}", width)
    return shapes


def _weight_norm(names: Mapping[str, str], arch: Architecture) -> tuple[str | None, str]:
    """Names of gain and direction of the positional convolution; no gain where the weight is plain."""
    base = "encoder.pos_conv_embed.conv"
    if arch.conv_pos_batch_norm or f"{base}.weight" in names:
        return None, f"{base}.weight"
    old, new = ((f"{base}.{gain}", f"{base}.{direction}") for gain, direction in WEIGHT_NORMS)
    return old if old[1] in names else new


def _tensor_files(directory: pathlib.Path) -> dict[str, pathlib.Path]:
    """Tensor name → file that holds it."""
    index, whole = directory / "model.safetensors.index.json", directory / "model.safetensors"
    if whole.is_file():
        with _open(whole) as file:
            return dict.fromkeys(file.keys(), whole)
    if index.is_file():
        mapping = json_files.read_model_file(index)
        if "weight_map" not in mapping or not isinstance(mapping["weight_map"], dict):
            raise DataError(f"{index}: has no weight_map; download the model again")
        return {name: directory / file for name, file in mapping["weight_map"].items()}
    if (directory / "pytorch_model.bin").is_file():
        raise DataError(
            f"{whole}: no such file, only pytorch_model.bin; load it with transformers and save it with "
            "save_pretrained, which writes safetensors"
        )
    raise DataError(f"{whole}: no such file; give a Hugging Face model directory that has it")


def _read_tensors(
    directory: pathlib.Path, files: Mapping[str, pathlib.Path], wanted: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """The tensors `wanted` (name in the file → name to give) as float32."""
    tensors = {}
    for path in dict.fromkeys(files[name] for name in wanted):
        with _open(path) as file:
            held = set(file.keys())
            for name, to in wanted.items():
                if files[name] == path:
                    if name not in held:
                        raise DataError(f"{path}: lacks {name}, which the index puts there; download the model again")
                    tensors[to] = np.asarray(file.get_tensor(name), np.float32)
    return tensors


def _open(path: pathlib.Path):
    try:
        return safetensors.safe_open(path, framework="numpy")
    except (safetensors.SafetensorError, OSError) as error:
        raise DataError(f"{path}: cannot be read as safetensors ({error}); download it again") from error


def _needed(name: str, layers: int, head: bool) -> bool:
    block = re.match(r"encoder\.layers\.(\d+)\.", name)
    return int(block[1]) < layers if block else head or not name.startswith("lm_head.")


def _stack(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """Layers' trees as one with a leading layer axis."""
    return {
        part: {name: np.stack([block[part][name] for block in blocks]) for name in blocks[0][part]}
        for part in blocks[0]
    }


def _convert(path: pathlib.Path, name: str, kind: Any, value: Any) -> Any:
    if kind == tuple[int, ...] and isinstance(value, list) and all(type(v) is int for v in value):
        return tuple(value)
    if kind is float and type(value) in (int, float) and abs(value) < json_files.LARGEST:
        return float(value)
    if type(value) is kind:
        return value
    raise DataError(f"{path}: {name}={value!r} is of another type than {kind}; download the model again")


def _check(path: pathlib.Path, arch: Architecture) -> None:
    lengths = {len(arch.conv_dim), len(arch.conv_stride), len(arch.conv_kernel)}
    heads, groups = arch.num_attention_heads, arch.num_conv_pos_embedding_groups
    sizes = [arch.hidden_size, heads, groups, *arch.conv_dim, *arch.conv_stride, *arch.conv_kernel]
    divisible = min(heads, groups) > 0 and arch.hidden_size % heads == arch.hidden_size % groups == 0
    rules = {
        "hidden_size, num_attention_heads, num_conv_pos_embedding_groups, conv_dim, conv_stride and conv_kernel must be "
        "positive": min(sizes) > 0,
        "conv_dim, conv_stride and conv_kernel must be of one length": len(lengths) == 1 and 0 not in lengths,
        f"feat_extract_norm={arch.feat_extract_norm!r} must be 'group' or 'layer'": arch.feat_extract_norm
        in ("group", "layer"),
        f"hidden_size={arch.hidden_size} must be a multiple of num_attention_heads and "
        "num_conv_pos_embedding_groups": divisible,
    }
    for field in ("hidden_act", "feat_extract_activation"):
        value = getattr(arch, field)
        rules[f"{field}={value!r} must be one of {', '.join(ACTIVATIONS)}"] = value in ACTIVATIONS
    for rule, kept in rules.items():
        if not kept:
            raise DataError(f"{path}: {rule}; choose another model")


def _list(names: list[str]) -> str:
    """The first names, and how many more."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _head_hint(missing: list[str]) -> str:
    return " (an aligner needs a model with a CTC head)" if "lm_head.weight" in missing else ""
