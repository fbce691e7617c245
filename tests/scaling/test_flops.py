import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lst_jax import config as cfg
from lst_jax.model import lst
from lst_jax.scaling import peak
from lst_jax.scaling.flops import STEP_OVER_FORWARD, model_flops
from lst_jax.vocab import Vocab

COUNTS = dict.fromkeys(("tokens", "units", "local_tokens", "local_units", "encoder_pairs", "global_pairs",
                        "decoder_pairs", "encoder_cross_pairs", "decoder_cross_pairs"), 0)
POSITIONS = ("tokens", "units", "local_tokens", "local_units", "encoder_cross_pairs", "decoder_cross_pairs")


def xla_forward_flops(config, rows, tokens, speech=None):
    """What XLA counts for the forward pass of whole rows, every token its own patch, everything in one block."""
    model = lst.build(config.model, config.joint_vocab, tokens, speech)
    params = jax.eval_shape(model.init_params, jax.random.key(0))
    ids = jax.ShapeDtypeStruct((rows, tokens), jnp.int32)
    flags = jax.ShapeDtypeStruct((rows, tokens), bool)
    return jax.jit(model.__call__).lower(params, ids, ids, flags, flags).compile().cost_analysis()["flops"]


@pytest.mark.parametrize("arg", ["base", "static"])
def test_forward_flops_agree_with_what_xla_counts(arg):
    """One block covers the row, so XLA computes all T² pairs of each self-attention; they are counted as such here."""
    config = cfg.load_recipe(f"configs/demo.py:{arg}")
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, compute_dtype="float32"))
    rows, tokens = 2, 128
    counts = COUNTS | {k: rows * tokens for k in POSITIONS}
    counts |= {k: rows * tokens * tokens for k in ("encoder_pairs", "global_pairs", "decoder_pairs")}
    ours = sum(model_flops(config.model, config.joint_vocab, counts).values()) / STEP_OVER_FORWARD
    assert ours == pytest.approx(xla_forward_flops(config, rows, tokens), rel=0.06)


def test_forward_flops_of_the_bypass_fall_with_the_speech_in_a_row_as_xla_counts_them():
    config = cfg.load_recipe("configs/demo.py:bypass-static")
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, attention_block=128))
    rows, tokens = 2, 128
    for speech in (128, 32):
        counts = {k: rows * (speech if k in POSITIONS[2:] else tokens) for k in POSITIONS}
        counts |= {"encoder_pairs": rows * speech**2, "decoder_pairs": rows * speech**2,
                   "global_pairs": rows * tokens**2}
        ours = sum(model_flops(config.model, config.joint_vocab, counts).values()) / STEP_OVER_FORWARD
        assert ours == pytest.approx(xla_forward_flops(config, rows, tokens, speech), rel=0.06)


def test_the_output_projection_is_counted_by_its_size():
    config = cfg.load_recipe("configs/demo.py:base")
    flops = model_flops(config.model, config.joint_vocab, COUNTS | {"tokens": 8})
    assert flops["output"] == 3 * 2 * 8 * 192 * config.joint_vocab.size


def test_per_token_flops_of_the_paper_s_1b_follow_its_parameters():
    """Without attention, a step costs 6 FLOPs a parameter and position; the global transformer has 1,284.6M."""
    local, glob = cfg.StackConfig(1, 1024, 16, 512), cfg.StackConfig(25, 2048, 16, None)
    model = cfg.ModelConfig("lst", local, glob, dataclasses.replace(local, layers=9), 2, 16, 1, 1, False, True, 5e5,
                            1e-5, 256, "bfloat16", 128, 128, False, "none")
    flops = model_flops(model, Vocab(32000, 502), COUNTS | {"units": 1000, "local_units": 1000})
    np.testing.assert_allclose(flops["global_transformer"], 6 * 1000 * 1_284.5e6, rtol=1e-3)


def test_the_measured_peak_is_a_rate_that_a_machine_can_have():
    assert 1e8 < peak.measured_matmul_flops(size=256, repeats=2) < 1e14
