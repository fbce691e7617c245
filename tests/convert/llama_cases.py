"""Small Base models as sources, and what makes a whole model out of one."""

import dataclasses

import jax
import numpy as np
import synthetic_data
from flax import traverse_util

from lst_jax import config as cfg
from lst_jax.convert.inputs import Inputs
from lst_jax.convert.source import Source, Stored
from lst_jax.model.architectures.registry import build

STACK = cfg.StackConfig(3, 48, 4, None)  # heads of 12: a head's two halves are no power of two


def base_config(make=synthetic_data.make_config, **changes):
    """A run of Base whose norms and rotations are not Hugging Face's defaults."""
    config = make(160, units=160, strategy="none", **changes)
    return dataclasses.replace(
        config,
        model=dataclasses.replace(
            config.model, global_transformer=STACK, norm_eps=3e-5, rope_theta=3e4, ffn_multiple=8
        ),
    )


def bpe_config():
    return base_config(synthetic_data.make_bpe_config)


FAMILIES = {  # class in transformers -> fields of the stack that make Base one of this family
    "LlamaForCausalLM": {},
    "OlmoForCausalLM": {"norm": "layer", "qkv_clip": 0.5},
    "Olmo2ForCausalLM": {"qk_norm": "all_heads", "norm_place": "after"},
    "Qwen2ForCausalLM": {"qkv_bias": True},
    "Qwen3ForCausalLM": {"qk_norm": "head", "head_width": 16},
    "SmolLM3ForCausalLM": {"unrotated_every": 2, "layers": 5},
}


def family_config(name):
    """A run of Base that is exported as this class; its outputs are tied where it is SmolLM3."""
    config = base_config()
    stack = dataclasses.replace(STACK, **FAMILIES[name])
    eps = 1e-5 if name == "OlmoForCausalLM" else config.model.norm_eps
    tied = name == "SmolLM3ForCausalLM"
    model = dataclasses.replace(config.model, global_transformer=stack, norm_eps=eps, tied_output=tied)
    return dataclasses.replace(config, model=model)


def params_of(config, seed=6):
    """Random parameters, norms among them, as numpy arrays by path."""
    model = build(config.model, config.joint_vocab, config.data.row_patches)
    shapes = traverse_util.flatten_dict(jax.eval_shape(model.init_params, jax.random.key(0)), sep="/")
    rng = np.random.default_rng(seed)
    return {
        path: (
            rng.normal(1, 0.2, one.shape)
            if one.ndim == 1
            else rng.normal(0, one.shape[-1 if path.endswith("embedding") else 0] ** -0.5, one.shape)
        ).astype(np.float32)
        for path, one in sorted(shapes.items())
    }


def source_of(config, flat=None):
    """The model with these parameters, or with those of `params_of`."""
    flat = flat or params_of(config)
    arrays = {path: Stored(value.shape, lambda value=value: value) for path, value in flat.items()}
    return Source(config, arrays, {"format": "test"})


def inputs_for(config, rows=2, length=60, highest=None):
    """Every position is a patch; documents fill their rows."""
    token_BT = np.random.default_rng(1).integers(0, highest or config.joint_vocab.size, (rows, length), np.int32)
    flags_BT = np.ones(token_BT.shape, bool)
    return Inputs(token_BT, flags_BT, flags_BT)


def our_logits(source, inputs):
    """By the model as it trains, in float32."""
    config = source.config
    model = build(config.model, config.joint_vocab, inputs.token_BT.shape[1])
    with jax.default_matmul_precision("highest"):
        return np.asarray(
            jax.jit(model)(
                source.tree(),
                inputs.token_BT,
                np.ones_like(inputs.token_BT),
                inputs.patch_start_BT,
                inputs.patch_end_BT,
            )
        )
