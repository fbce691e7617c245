"""The families of text models of `transformers` whose blocks ours can compute, and their config.json.

A family is what its blocks have beyond Llama's: a bias, norms of queries and keys, norms behind attention or without
parameters, layers without rotation. What a config.json leaves out means the default of that family's class in
transformers 5.23.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from lst_jax.config import Config, RopeScalingConfig, StackConfig
from lst_jax.convert.hf_tokenizer import pad_id
from lst_jax.core import json_files
from lst_jax.core.errors import LONGEST_QUOTE, DataError

FEATURES = ("qkv_bias", "qk_norm", "norm_place", "norm")  # fields of a stack that tell families apart
OPTIONS = ("unrotated_every", "qkv_clip")  # fields of a stack that a model of some families may have; None = it has not


@dataclasses.dataclass(frozen=True)
class Family:
    """One `model_type`."""

    class_name: str  # of transformers
    qkv_bias: bool = False
    qk_norm: str = "none"
    norm_place: str = "before"
    norm: str = "rms"
    norm_eps: float | None = None  # that of its class, where config.json does not say it
    options: tuple[str, ...] = ()
    absent: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # defaults that differ from `ABSENT`
    written: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # fields of config.json beside the common ones


BIASES = {"attention_bias": False, "mlp_bias": False}
FAMILIES = {
    "llama": Family("LlamaForCausalLM", written=BIASES),
    "mistral": Family("MistralForCausalLM", absent={"num_key_value_heads": 8, "sliding_window": 4096}),
    "olmo": Family(
        "OlmoForCausalLM", norm="layer", norm_eps=1e-5, options=("qkv_clip",), written={"attention_bias": False}
    ),
    "olmo2": Family("Olmo2ForCausalLM", qk_norm="all_heads", norm_place="after", absent={"rms_norm_eps": 1e-5}),
    "qwen2": Family("Qwen2ForCausalLM", qkv_bias=True, absent={"num_key_value_heads": 32}),
    "qwen3": Family("Qwen3ForCausalLM", qk_norm="head", absent={"num_key_value_heads": 32, "head_dim": 128}),
    "smollm3": Family(
        "SmolLM3ForCausalLM",
        options=("unrotated_every",),
        absent={"num_key_value_heads": 4, "rope_theta": 2e6, "tie_word_embeddings": True},
        written=BIASES | {"use_sliding_window": False},
    ),
}
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
    "use_sliding_window": False,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
    "no_rope_layers": None,
    "no_rope_layer_interval": 4,
    "clip_qkv": None,
}
# Fields that change the forward pass, with the one value that our blocks compute
FIXED = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "use_sliding_window": False,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
}
ROPE_FIELDS = frozenset({"rope_type", "type", "rope_theta", "partial_rotary_factor"})
# Our field of a scaled rotation -> the field of a config.json whose rope_type is "llama3"
SCALING = {
    "factor": "factor",
    "low_turns": "low_freq_factor",
    "high_turns": "high_freq_factor",
    "positions": "original_max_position_embeddings",
}


@dataclasses.dataclass(frozen=True)
class Llama:
    """The fields of the config.json of a text model that our blocks can represent."""

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    ffn_width: int
    rope_theta: float
    norm_eps: float
    tied: bool  # the output matrix is the embedding
    head_width: int | None = None  # None = width / heads
    window: int | None = None
    rope_scaling: RopeScalingConfig = RopeScalingConfig()
    family: str = "llama"
    unrotated_every: int | None = None  # as `StackConfig.unrotated_every`
    qkv_clip: float | None = None

    @property
    def size_of_head(self) -> int:
        """The width of one head."""
        return self.width // self.heads if self.head_width is None else self.head_width

    @property
    def qkv_bias(self) -> bool:
        """Whether queries, keys and values have a bias."""
        return FAMILIES[self.family].qkv_bias

    @property
    def qk_norm(self) -> str:
        """As `StackConfig.qk_norm`."""
        return FAMILIES[self.family].qk_norm

    @property
    def norm_place(self) -> str:
        """As `StackConfig.norm_place`."""
        return FAMILIES[self.family].norm_place

    @property
    def norm(self) -> str:
        """As `StackConfig.norm`."""
        return FAMILIES[self.family].norm


def read_llama(path: pathlib.Path) -> Llama:
    """Reads config.json. Raises: DataError where it is another kind of model, or has a feature that our blocks lack."""
    file = path / "config.json"
    found = json_files.read_model_file(file)
    kind = found["model_type"] if "model_type" in found else None
    if not isinstance(kind, str) or kind not in FAMILIES:
        *some, last = FAMILIES
        raise DataError(
            f"{file}: model_type must be {', '.join(some)} or {last}, and is {kind!r}; give a directory of such a model"
        )
    family = FAMILIES[kind]
    mapping = ABSENT | family.absent | found
    _check_fixed(file, mapping, kind)
    try:
        heads, width = int(mapping["num_attention_heads"]), int(mapping["hidden_size"])
        theta, scaling = _rotation(file, mapping)
        llama = Llama(
            int(mapping["vocab_size"]),
            width,
            int(mapping["num_hidden_layers"]),
            heads,
            int(mapping["num_key_value_heads"] or heads),
            int(mapping["intermediate_size"]),
            theta,
            float(mapping["rms_norm_eps"]) if family.norm_eps is None else family.norm_eps,
            bool(mapping["tie_word_embeddings"]),
            None if mapping["head_dim"] is None else int(mapping["head_dim"]),
            mapping["sliding_window"] if kind == "mistral" else None,
            scaling,
            kind,
            _unrotated_every(file, mapping, int(mapping["num_hidden_layers"])) if kind == "smollm3" else None,
            _clip(file, mapping) if kind == "olmo" else None,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{file}: {error} is missing or no number; download the model again") from error
    sizes = {"hidden_size": width, "num_attention_heads": heads, "num_key_value_heads": llama.kv_heads}
    for name, size in sizes.items():
        if size < 1:
            raise DataError(f"{file}: {name}={size}: must be at least 1; choose another model")
    if heads % llama.kv_heads or (llama.head_width is None and width % heads) or llama.size_of_head % 2:
        raise DataError(
            f"{file}: head_dim={mapping['head_dim']}, num_key_value_heads={llama.kv_heads}: {heads} heads of width "
            f"{width} must share them evenly, and a head's width must be even; choose such a model"
        )
    return llama


def differences(config: Config, llama: Llama) -> list[tuple[str, str, Any, Any]]:
    """Where a recipe's global transformer is not the model: words for the field, the field to set, and both values.

    Widths that follow from others count as they will be when all differences are set.
    """
    model, stack = config.model, config.model.global_transformer
    place = "model.global_transformer"
    scaling = llama.rope_scaling
    found = [
        (f"{place}.width", f"{place}.width", stack.width, llama.width),
        (f"{place}.layers", f"{place}.layers", stack.layers, llama.layers),
        (f"{place}.heads", f"{place}.heads", stack.heads, llama.heads),
        (f"{place}.window", f"{place}.window", stack.window, llama.window),
        ("model.rope_theta", "model.rope_theta", model.rope_theta, llama.rope_theta),
        ("model.norm_eps", "model.norm_eps", model.norm_eps, llama.norm_eps),
        *(
            (f"{place}.{name}", f"{place}.{name}", getattr(stack, name), getattr(llama, name))
            for name in FEATURES + OPTIONS
        ),
        *(
            (f"{place}.rope_scaling.{name}",) * 2 + (getattr(stack.rope_scaling, name), getattr(scaling, name))
            for name in SCALING
        ),
    ]
    found = [one for one in found if one[2] != one[3]]
    feed_forward = model.ffn_width(llama.width) if stack.ffn_width is None else stack.ffn_width
    if feed_forward != llama.ffn_width:
        words = f"model.ffn_multiple={model.ffn_multiple}: a feed-forward width"
        found.append((words, f"{place}.ffn_width", model.ffn_width_of(stack), llama.ffn_width))
    head = llama.width / llama.heads if stack.head_width is None else stack.head_width
    if head != llama.size_of_head:
        found.append((f"{place}.head_width", f"{place}.head_width", stack.size_of_head, llama.size_of_head))
    return found


def check_fields(config: Config, llama: Llama, path: pathlib.Path) -> None:
    """Compares a recipe's global transformer with config.json.

    Raises: DataError naming the first field that differs with both values, and what to set for all that differ.
    """
    found = differences(config, llama)
    if not found:
        return
    words, _, ours, theirs = found[0]
    every = " ".join(f"--set {field}={value}" for _, field, _, value in found)
    raise DataError(
        f"{words}={ours}: {path} has {theirs}; use that value in the recipe"
        + (f", and all {len(found)} that differ: {every}" if len(found) > 1 else "")
    )


def family_of(config: Config) -> str:
    """The `model_type` as which transformers computes Base. Raises: DataError where no family has all of its features."""
    stack, eps = config.model.global_transformer, config.model.norm_eps
    ours = {name: getattr(stack, name) for name in FEATURES}
    options = {name: value for name in OPTIONS if (value := getattr(stack, name)) is not None}
    for name, family in FAMILIES.items():
        own = {feature: getattr(family, feature) for feature in FEATURES}
        if own != ours or not options.keys() <= set(family.options):
            continue
        if family.norm_eps not in (None, eps):
            raise DataError(
                f"model.norm_eps={eps}: {family.class_name} computes with {family.norm_eps}; use the format orbax"
            )
        return name
    ours |= options
    named = ", ".join(f"model.global_transformer.{name}={value!r}" for name, value in ours.items())
    raise DataError(f"{named}: no family of transformers has these together; use the format orbax")


def config_json(config: Config, dtype: str = "float32") -> dict[str, Any]:
    """The contents of the config.json of Base; `dtype` is that of the weights in the files."""
    model, stack, kind = config.model, config.model.global_transformer, family_of(config)
    family = FAMILIES[kind]
    rope, scaling = {"rope_type": "default", "rope_theta": model.rope_theta}, {}
    if stack.rope_scaling.factor != 1:
        scaling = {"rope_type": "llama3"} | {SCALING[name]: getattr(stack.rope_scaling, name) for name in SCALING}
    return {
        "architectures": [family.class_name],
        "model_type": kind,
        "vocab_size": config.joint_vocab.size,
        "hidden_size": stack.width,
        "intermediate_size": model.ffn_width_of(stack),
        "num_hidden_layers": stack.layers,
        "num_attention_heads": stack.heads,
        "num_key_value_heads": stack.heads,
        "head_dim": stack.size_of_head,
        "max_position_embeddings": config.data.row_patches,
        **({"rms_norm_eps": model.norm_eps} if family.norm_eps is None else {}),
        "rope_theta": model.rope_theta,  # transformers 4 reads it here, 5 below
        **({"rope_scaling": scaling} if scaling else {}),
        "rope_parameters": rope | scaling,
        "hidden_act": "silu",
        "attention_dropout": 0.0,
        **family.written,
        **_written_options(stack, family),
        "tie_word_embeddings": model.tied_output,
        "bos_token_id": config.vocab.bos_id,
        "eos_token_id": config.vocab.eos_id,
        "pad_token_id": pad_id(config),  # OLMo's default is a text piece, which training would then leave as it is
        "use_cache": True,
        "dtype": dtype,
        "torch_dtype": dtype,
    }


def _check_fixed(file: pathlib.Path, mapping: Mapping[str, Any], kind: str) -> None:
    fixed = FIXED | ({"sliding_window": None} if kind == "llama" else {})  # Qwen's has no effect without its switch
    for name, value in fixed.items():
        if mapping[name] != value:
            raise DataError(
                f"{file}: {name}={_quoted(mapping[name])}: only {value!r} is supported; choose such a model"
            )
    layers = mapping["num_hidden_layers"] if "num_hidden_layers" in mapping else 0
    layers = layers if isinstance(layers, int) else 0
    usual = {"layer_types": "full_attention"} | ({} if kind == "smollm3" else {"no_rope_layers": 1})
    for name, value in usual.items():
        if name in mapping and mapping[name] not in (None, [value] * layers):
            raise DataError(
                f"{file}: {name}={_quoted(mapping[name])}: only {value!r} in all layers is supported; choose such a model"
            )


def _unrotated_every(file: pathlib.Path, mapping: Mapping[str, Any], layers: int) -> int | None:
    """n, where every n-th layer has no rotation; None where all layers have one.

    Raises: DataError where `no_rope_layers`, which is 0 at such a layer, is another pattern.
    """
    found, every = mapping["no_rope_layers"], mapping["no_rope_layer_interval"]
    if found is not None:
        if not isinstance(found, list) or len(found) < layers:
            raise DataError(
                f"{file}: no_rope_layers={_quoted(found)}: must list 1 or 0 for each of {layers} layers; download it again"
            )
        every = 1 + next((i for i, rotates in enumerate(found[:layers]) if not rotates), layers)
        if any(bool(rotates) == ((i + 1) % every == 0) for i, rotates in enumerate(found[:layers])):
            raise DataError(
                f"{file}: no_rope_layers={_quoted(found)}: only 0 at every n-th layer is supported; choose such a model"
            )
    if not isinstance(every, int) or every < 1:
        raise DataError(f"{file}: no_rope_layer_interval={_quoted(every)}: must be at least 1; download it again")
    return every if every <= layers else None


def _clip(file: pathlib.Path, mapping: Mapping[str, Any]) -> float | None:
    clip = mapping["clip_qkv"]
    if clip is not None and (isinstance(clip, bool) or not _positive(clip)):
        raise DataError(f"{file}: clip_qkv={_quoted(clip)}: must be a positive number, or null; choose such a model")
    return None if clip is None else float(clip)


def _written_options(stack: StackConfig, family: Family) -> dict[str, Any]:
    """The fields of config.json for the options of a family, of any value."""
    if "qkv_clip" in family.options:
        return {"clip_qkv": stack.qkv_clip}
    if "unrotated_every" in family.options:
        layers = range(stack.layers)
        return {
            "no_rope_layers": [int(stack.rotates(i)) for i in layers],
            "no_rope_layer_interval": stack.period,
            "layer_types": ["full_attention" for _ in layers],
        }
    return {}


def _rotation(file: pathlib.Path, mapping: Mapping[str, Any]) -> tuple[float, RopeScalingConfig]:
    """The angle base and its scaling, from `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (4).

    Raises: DataError for any scaling but Llama 3.1's.
    """
    rope = {"rope_theta": mapping["rope_theta"], "partial_rotary_factor": 1.0}
    for name in ("rope_scaling", "rope_parameters"):
        if not isinstance(mapping[name], dict | None):
            raise DataError(f"{file}: {name}={_quoted(mapping[name])}: must be an object; download the model again")
        rope |= mapping[name] or {}
    declared = [rope[name] for name in ("rope_type", "type") if name in rope]
    kinds = {one for one in declared if one != "default"}
    if kinds == {"llama3"}:
        return float(rope["rope_theta"]), _scaling(file, rope)
    if kinds:
        raise DataError(
            f'{file}: rope_type={_quoted(min(kinds, key=str))}: only "default" and "llama3" are supported; choose a '
            "model without other scaled positions"
        )
    odd = rope.keys() - ROPE_FIELDS if not declared else set()
    if odd or rope["partial_rotary_factor"] != 1.0:
        name = min(odd, default="partial_rotary_factor")
        raise DataError(
            f"{file}: {name}={_quoted(rope[name])} of the rotary positions: is not supported; choose a model without it"
        )
    return float(rope["rope_theta"]), RopeScalingConfig()


def _scaling(file: pathlib.Path, rope: Mapping[str, Any]) -> RopeScalingConfig:
    values = {ours: rope.get(theirs) for ours, theirs in SCALING.items()}
    if wrong := [SCALING[name] for name, value in values.items() if isinstance(value, bool) or not _positive(value)]:
        raise DataError(
            f"{file}: rope_type='llama3': {wrong[0]} is missing or no positive number; download the model again"
        )
    positions = int(values.pop("positions"))
    return RopeScalingConfig(**{name: float(value) for name, value in values.items()}, positions=positions)


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0


def _quoted(value: Any) -> str:
    return repr(value)[:LONGEST_QUOTE]
