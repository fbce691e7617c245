"""An LST as a directory for `AutoModelForCausalLM` with `trust_remote_code=True`, written and read.

The directory holds its own model code in PyTorch (a copy of `modeling/`), the weights under our names with dots, the
joint tokenizer and a README. `transformers` runs it without this package.

Ours                                            The directory's
patch_encoder/layers_0/attention/wq/kernel      patch_encoder.layers.0.attention.wq.weight (transposed)
patch_decoder/norm/scale                        patch_decoder.norm.weight
patch_encoder/tok_embeddings/embedding          patch_encoder.tok_embeddings.weight
"""

import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any

from lst_jax.config import Config, ModelConfig, StackConfig
from lst_jax.convert import by_transformers, companions, streamed
from lst_jax.convert.hf_readme import readme
from lst_jax.convert.hf_tokenizer import pad_id, write_tokenizer
from lst_jax.convert.inputs import Inputs
from lst_jax.convert.plain import check_plain
from lst_jax.convert.safetensors_files import open_safetensors, write_safetensors
from lst_jax.convert.source import Source, check_shapes, expected_shapes, transposed
from lst_jax.core import files, json_files
from lst_jax.core.errors import DataError
from lst_jax.core.shapes import Float, ndarray
from lst_jax.data.patching import strategy_of
from lst_jax.model.architectures.registry import architecture_named

MODEL_TYPE = "lst"
CODE = pathlib.Path(__file__).parent / "modeling"
CODE_FILES = (
    "configuration_lst.py",
    "modeling_lst.py",
    "networks_lst.py",
    "attention_lst.py",
    "patches_lst.py",
    "cache_lst.py",
)
ADDED = ("text_bypasses_local_networks", "marker_opens_patch", "aligned_patches", "tie_word_embeddings")
MAY_DIFFER = {"architectures", "auto_map", "dtype", "torch_dtype", "max_position_embeddings", "pad_token_id"}
WINDOWS = ("encoder_cross_window", "decoder_cross_window", "encoder_cross_all_layers", "decoder_cross_all_layers")


def write(source: Source, out: pathlib.Path, progress: bool = False, dtype: str = "float32") -> None:
    """Writes a complete directory that `transformers` loads, with few arrays in memory.

    Args: `dtype` of the weights in the files.
    Raises: DataError where the model has no such form, or its parameters are not those of the configuration.
    """
    config, expected = source.config, expected_shapes(source.config.model, source.config.joint_vocab)
    check_lst(config)
    check_shapes({path: one.shape for path, one in source.arrays.items()}, expected, str(source.origin))
    files.write_json(out / "config.json", config_json(config, dtype))
    files.write_json(
        out / "generation_config.json",
        {"bos_token_id": config.vocab.bos_id, "eos_token_id": config.vocab.eos_id, "pad_token_id": pad_id(config)},
    )
    for name in CODE_FILES:
        shutil.copyfile(CODE / name, out / name)
    companions.write_companions(config, out)
    bos = write_tokenizer(config, out)
    files.write_text(out / "README.md", readme(config, MODEL_TYPE, bos, added(config)["aligned_patches"]))
    write_safetensors(
        out,
        {hf_name(path): transposed(path, source.arrays[path]) for path in expected},
        progress=progress,
        dtype=dtype,
    )


def open_source(path: pathlib.Path, recipe: Config | None) -> Source:
    """Opens a directory; arrays are read later.

    Raises: DataError where configuration, recipe and tensors do not agree, naming both sides.
    """
    config = companions.read_companions(path, recipe)
    check_lst(config)
    _check_same(path / "config.json", config_json(config))
    tensors, expected = open_safetensors(path), expected_shapes(config.model, config.joint_vocab)
    names = {hf_name(ours): ours for ours in expected}
    arrays = {names[name] if name in names else name: one for name, one in tensors.items()}
    arrays = {ours: transposed(ours, one) for ours, one in arrays.items()}
    check_shapes({ours: one.shape for ours, one in arrays.items()}, expected, str(path))
    return Source(config, arrays, companions.origin("hf", path))


def logits(path: pathlib.Path, inputs: Inputs) -> tuple[Float[ndarray, "B T V"], str]:
    """Float32 logits [B, T, V] of `inputs.token_BT` from the directory's own code under transformers, and what ran it.

    That code finds the patches itself. Without transformers, this program reads the files back and runs them.
    Raises: DataError where a tensor is missing, or the code is not what `write` puts there.
    """
    for name in CODE_FILES:
        if not (path / name).is_file() or (path / name).read_bytes() != (CODE / name).read_bytes():
            raise DataError(
                f"{path / name}: is not what this version of lst_jax writes, and other code is not run; "
                "convert it again"
            )
    if not by_transformers.installed():
        return streamed.logits(open_source(path, None), inputs), by_transformers.MISSING
    # the rows of a proof have patches beside the marker, which a model may count otherwise by itself
    own = open_source(path, None).config.data.patching.marker_opens_patch
    given = {"patch_starts": inputs.patch_start_BT, "patch_ends": inputs.patch_end_BT} if own else {}
    return by_transformers.logits(path, "AutoModelForCausalLM", inputs.token_BT, given, trust_remote_code=True)


def check_lst(config: Config) -> None:
    """Raises: DataError where the model is not an LST."""
    if architecture_named(config.model.architecture).conversions.transformers != MODEL_TYPE:
        raise DataError(
            f"model.architecture={config.model.architecture!r}: has no form for transformers with model_type={MODEL_TYPE!r}; "
            "convert it to orbax, or ask it with `lst evaluate` and `lst generate`"
        )
    check_plain(config.model, "the code for transformers")


def config_json(config: Config, dtype: str = "float32") -> dict[str, Any]:
    """The contents of `config.json`."""
    model, vocab, patching = config.model, config.joint_vocab, config.data.patching
    networks = {
        name: _network(model, getattr(model, name)) for name in ("patch_encoder", "global_transformer", "patch_decoder")
    }
    return {
        "architectures": ["LstForCausalLM"],
        "model_type": MODEL_TYPE,
        "auto_map": {
            "AutoConfig": "configuration_lst.LstConfig",
            "AutoModelForCausalLM": "modeling_lst.LstForCausalLM",
        },
        "tie_word_embeddings": False,  # transformers 4 would take True for granted
        "dtype": dtype,  # read by transformers from 4.56 on, the next one before
        "torch_dtype": dtype,
        "vocab_size": vocab.size,
        "unit_offset": vocab.unit_offset,
        "static_size": patching.static_size,
        **added(config),
        **networks,
        "queries_per_patch": model.queries_per_patch,
        "cross_heads": model.cross_heads,
        **{name: getattr(model, name) for name in WINDOWS},
        "rope_theta": model.rope_theta,
        "norm_eps": model.norm_eps,
        "max_position_embeddings": min(config.data.row_tokens, config.data.row_patches),
        "bos_token_id": config.vocab.bos_id,
        "eos_token_id": config.vocab.eos_id,
        "pad_token_id": pad_id(config),
    }


def added(config: Config) -> dict[str, bool]:
    """The fields of `config.json` that directories of earlier versions lack; all of theirs are False."""
    return {
        "text_bypasses_local_networks": architecture_named(config.model.architecture).text_bypasses_local_networks,
        "marker_opens_patch": config.data.patching.marker_opens_patch,
        "aligned_patches": strategy_of(config.data.patching).inference_rule.needs_words,
    }


def hf_name(path: str) -> str:
    """The directory's name of one of our parameters.

    Example: "patch_decoder/cross_attn_layers_2/wq/kernel" -> "patch_decoder.cross_attn_layers.2.wq.weight"
    """
    *inner, _ = path.split("/")
    return ".".join([*(re.sub(r"layers_(\d+)$", r"layers.\1", part) for part in inner), "weight"])


def _network(model: ModelConfig, stack: StackConfig) -> dict[str, Any]:
    return {
        "layers": stack.layers,
        "width": stack.width,
        "heads": stack.heads,
        "window": stack.window,
        "ffn_width": model.ffn_width(stack.width),
    }


def _check_same(path: pathlib.Path, expected: Mapping[str, Any]) -> None:
    """Compares the fields that decide the function with the file; lengths and dtype may have been changed since."""
    found = dict.fromkeys(ADDED, False) | json_files.read_model_file(path)
    for name in expected.keys() - MAY_DIFFER:
        if name not in found or found[name] != expected[name]:
            value = repr(found[name]) if name in found else "missing"
            raise DataError(
                f"{path}: {name} is {value} where the configuration gives {expected[name]!r}; use the "
                "configuration that the model was made with"
            )
