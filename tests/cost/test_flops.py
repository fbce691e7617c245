import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lst_jax import config as cfg
from lst_jax.core.vocab import Vocab
from lst_jax.cost import peak
from lst_jax.cost.flops import model_flops
from lst_jax.model.architectures import registry
from lst_jax.recipes.load import load_recipe

COUNTS = dict.fromkeys(
    (
        "tokens",
        "units",
        "local_tokens",
        "local_units",
        "encoder_pairs",
        "global_pairs",
        "decoder_pairs",
        "encoder_cross_pairs",
        "decoder_cross_pairs",
    ),
    0,
)
POSITIONS = ("tokens", "units", "local_tokens", "local_units", "encoder_cross_pairs", "decoder_cross_pairs")


ROWS, TOKENS = 2, 256


def wide(arg):
    """A demo system, wide enough that norms, rotations and softmax weigh little, in one block and unrolled."""
    config = load_recipe(f"configs/demo.py:{arg}")
    local = None if arg == "base" else cfg.StackConfig(1, 256, 4, None)
    return dataclasses.replace(
        config,
        model=dataclasses.replace(
            config.model,
            patch_encoder=local,
            patch_decoder=local and dataclasses.replace(local, layers=2),
            global_transformer=cfg.StackConfig(2, 512, 4, None),
            attention_block=TOKENS,
            logits_chunk=TOKENS,
        ),
    )


def xla_step_flops(config, speech=None):
    """XLA's count, forward and backward, of whole rows in which every token is its own patch."""
    model = registry.build(config.model, config.joint_vocab, TOKENS, speech)
    params = jax.eval_shape(model.init_params, jax.random.key(0))
    ids, flags = (jax.ShapeDtypeStruct((ROWS, TOKENS), kind) for kind in (jnp.int32, bool))
    gradient = jax.jit(jax.grad(lambda params, *batch: model(params, *batch).sum()))
    return gradient.lower(params, ids, ids, flags, flags).compile().cost_analysis()["flops"]


def step_flops(config, speech=TOKENS):
    """Ours for the same. One block covers the row, so XLA computes all T² pairs of each self-attention."""
    counts = {k: ROWS * (speech if k in POSITIONS[2:] else TOKENS) for k in POSITIONS}
    counts |= {"encoder_pairs": ROWS * speech**2, "decoder_pairs": ROWS * speech**2, "global_pairs": ROWS * TOKENS**2}
    return sum(model_flops(config.model, config.joint_vocab, counts).values())


@pytest.mark.parametrize("arg", ["base", "static"])
def test_flops_of_a_step_agree_with_what_xla_counts(arg):
    assert step_flops(wide(arg)) == pytest.approx(xla_step_flops(wide(arg)), rel=0.02)


@pytest.mark.parametrize("speech", [256, 64])
def test_flops_of_the_bypass_fall_with_the_speech_in_a_row_as_xla_counts_them(speech):
    config = wide("bypass-static")
    assert step_flops(config, speech) == pytest.approx(xla_step_flops(config, speech), rel=0.02)


def test_the_output_projection_is_counted_by_its_size():
    config = load_recipe("configs/demo.py:base")
    flops = model_flops(config.model, config.joint_vocab, COUNTS | {"tokens": 8})
    assert flops["output"] == 3 * 2 * 8 * 192 * config.joint_vocab.size


def test_per_token_flops_of_the_paper_s_1b_follow_its_parameters():
    """Without attention, a step costs 6 FLOPs a parameter and position; the global transformer has 1,284.6M."""
    local, glob = cfg.StackConfig(1, 1024, 16, 512), cfg.StackConfig(25, 2048, 16, None)
    model = cfg.ModelConfig(
        "lst",
        local,
        glob,
        dataclasses.replace(local, layers=9),
        2,
        16,
        1,
        1,
        False,
        True,
        5e5,
        1e-5,
        256,
        "bfloat16",
        128,
        128,
        False,
        "none",
    )
    flops = model_flops(model, Vocab(32000, 502), COUNTS | {"units": 1000, "local_units": 1000})
    np.testing.assert_allclose(flops["global_transformer"], 6 * 1000 * 1_284.5e6, rtol=1e-3)


def test_the_measured_peak_is_a_rate_that_a_machine_can_have():
    assert 1e8 < peak.measured_matmul_flops(size=256, repeats=2) < 1e14
