"""Cached decoding gives the logits of the training forward over the same tokens, at every position."""

import functools

import jax
import numpy as np
import pytest
from generate_cases import VOCAB, document, forced_logits, random_params, rows_of, small_config, windows

from lst_jax.config import RopeScalingConfig, StackConfig
from lst_jax.model.architectures.registry import build
from lst_jax.model.cached_model import cached_model

SIZE, LENGTH = 3, 40
SCALING = RopeScalingConfig(8.0, positions=32)
SYSTEMS = {
    "lst": small_config(),
    "lst-window3": small_config(
        **windows(3),
        queries_per_patch=3,
        attention_block=16,
        encoder_cross_all_layers=True,
        decoder_cross_all_layers=False,
        patch_encoder=StackConfig(2, 16, 2, 4),
    ),
    "lst-equal-widths": small_config(global_transformer=StackConfig(2, 16, 2, None), queries_per_patch=1),
    "lst_bypass": small_config("lst_bypass", **windows(2)),
    "base": small_config("base"),
    "base-other-family": small_config(
        "base",
        tied_output=True,
        global_transformer=StackConfig(
            2, 24, 2, None, head_width=16, qkv_bias=True, qk_norm="head", norm_place="after", rope_scaling=SCALING
        ),
    ),
    "base-unrotated": small_config(
        "base", global_transformer=StackConfig(3, 24, 2, None, unrotated_every=2, norm="layer", qkv_clip=0.7)
    ),
}
SLOW = ("lst", "lst-equal-widths")  # test_adaptation.py compares the first with whole forwards
KINDS = ["s", "t", "sts", "tsts", "ssts", "stt"]


@functools.cache
def built(name):
    model = build(SYSTEMS[name], VOCAB, LENGTH)
    return model, jax.device_put(random_params(model))


@functools.cache
def compiled(name):
    return jax.jit(built(name)[0])


@pytest.mark.parametrize(
    "name, takes_marker",
    [
        *(pytest.param(name, False, marks=[pytest.mark.slow] * (name in SLOW)) for name in SYSTEMS),
        pytest.param("lst", True, marks=pytest.mark.slow),
        ("lst_bypass", True),
    ],
)
def test_every_logit_is_that_of_the_training_forward(name, takes_marker):
    """Speech, text and mixed documents, after prompts of one token, of any number, and cut within a patch."""
    model, params = built(name)
    decoder, rng = cached_model(model, SIZE, takes_marker), np.random.default_rng(7)
    documents = [document(rng, kinds) for kinds in KINDS]
    for prompts in (
        [1] * len(documents),
        [int(rng.integers(2, len(d) - 1)) for d in documents],
        [int(rng.integers(2, len(d) - 1)) for d in documents],
    ):
        whole = rows_of(documents, SIZE, LENGTH, takes_marker)
        prompt = rows_of([d[:n] for d, n in zip(documents, prompts, strict=True)], SIZE, LENGTH, takes_marker)
        # boundaries do not depend on what follows, so a prompt has those of its document
        np.testing.assert_array_equal(prompt[3], whole[3] & (prompt[1] > 0))
        length = np.array([len(d) for d in documents])
        got, _ = forced_logits(decoder, LENGTH, params, tuple(prompt), whole[0], length)
        wanted = np.asarray(compiled(name)(params, *whole))
        for i, (n, end) in enumerate(zip(prompts, length, strict=True)):
            np.testing.assert_allclose(got[i, n - 1 : end - 1], wanted[i, n - 1 : end - 1], atol=1e-4, err_msg=KINDS[i])
            assert np.isnan(got[i, : n - 1]).all() and np.isnan(got[i, end - 1 :]).all()
