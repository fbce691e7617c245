"""What other families of text models have beyond Llama: rotations, norms, widths and tied outputs, against slow oracles."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import traverse_util
from model_cases import VOCAB, random_batch, random_params, small_config

from lst_jax.config import RopeScalingConfig, StackConfig
from lst_jax.core.errors import ConfigError
from lst_jax.model.architectures.registry import ARCHITECTURES, build
from lst_jax.model.rotary import frequencies, theta_of

SCALING = RopeScalingConfig(8.0, 1.0, 4.0, 64)
PLAIN = StackConfig(2, 24, 2, None)
STACKS = {
    "wide heads": dataclasses.replace(PLAIN, head_width=20, ffn_width=40),
    "bias": dataclasses.replace(PLAIN, qkv_bias=True),
    "norms of heads": dataclasses.replace(PLAIN, qk_norm="head"),
    "norms behind": dataclasses.replace(PLAIN, qk_norm="all_heads", norm_place="after"),
    "scaled": dataclasses.replace(PLAIN, rope_scaling=SCALING),
    "some unrotated": dataclasses.replace(PLAIN, layers=5, unrotated_every=2),
    "layer norms": dataclasses.replace(PLAIN, norm="layer", qkv_clip=0.6),
}


def test_slow_pairs_are_slowed_and_quick_ones_stay():
    """By wavelengths, as Llama 3.1's description says it: longer than 64 positions, shorter than 16, and in between."""
    theta = theta_of(small_config(rope_theta=1e4), STACKS["scaled"])
    plain, scaled = frequencies(1e4, 32), frequencies(theta, 32)
    for before, after in zip(plain, scaled, strict=True):
        wavelength = 2 * np.pi / before
        share = (64 / wavelength - 1) / 3
        expected = (
            before
            if wavelength < 16
            else before / 8
            if wavelength > 64
            else ((1 - share) * before / 8 + share * before)
        )
        np.testing.assert_allclose(after, expected, rtol=1e-12)
    assert theta_of(small_config(), PLAIN) == 5e5 and {1, 8} < {round(r, 3) for r in plain / scaled}


def scale_of(params, name):
    return params[name]["scale"] if name in params else None


def oracle(params, stack, config, token):
    """Base over one document, position by position, in float64."""
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    x = wide["tok_embeddings"]["embedding"][token]
    k, rate = stack.size_of_head, frequencies(theta_of(config, stack), stack.size_of_head)

    def norm(x, scale):
        if stack.norm == "layer":
            return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + config.norm_eps)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + config.norm_eps) * scale

    def project(y, matrix):
        y = y @ matrix["kernel"] + matrix.get("bias", 0)
        return y if stack.qkv_clip is None else np.minimum(np.maximum(y, -stack.qkv_clip), stack.qkv_clip)

    def heads(y, matrix, scale):
        y = project(y, matrix)
        y = norm(y, scale) if stack.qk_norm == "all_heads" and scale is not None else y
        y = y.reshape(len(y), stack.heads, k)
        return norm(y, scale) if stack.qk_norm == "head" and scale is not None else y

    def turned(y):
        z = (y[..., ::2] + 1j * y[..., 1::2]) * np.exp(1j * np.arange(len(y))[:, None, None] * rate)
        return np.stack([z.real, z.imag], -1).reshape(y.shape)

    def attention(y, p, i):
        scales = (p["q_norm"]["scale"], p["k_norm"]["scale"]) if "q_norm" in p else (None, None)
        q, key = (heads(y, p[name], scale) for name, scale in zip(("wq", "wk"), scales, strict=True))
        if not stack.unrotated_every or i % stack.unrotated_every != stack.unrotated_every - 1:
            q, key = turned(q), turned(key)
        v = heads(y, p["wv"], None)
        score = np.einsum("thk,shk->hts", q, key) / np.sqrt(k)
        score = np.where(np.tril(np.ones(score.shape[1:], bool)), score, -np.inf)
        share = np.exp(score - score.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        return np.einsum("hts,shk->thk", share, v).reshape(len(y), -1) @ p["wo"]["kernel"]

    def feed_forward(y, p):
        gate = y @ p["w1"]["kernel"]
        return (gate / (1 + np.exp(-gate)) * (y @ p["w3"]["kernel"])) @ p["w2"]["kernel"]

    for i in range(stack.layers):
        p = wide["global_transformer"][f"layers_{i}"]
        for scale, inner in (
            (scale_of(p, "attention_norm"), lambda y, p=p, i=i: attention(y, p["attention"], i)),
            (scale_of(p, "ffn_norm"), lambda y, p=p: feed_forward(y, p["feed_forward"])),
        ):
            x = x + (norm(inner(x), scale) if stack.norm_place == "after" else inner(norm(x, scale)))
    x = norm(x, scale_of(wide, "norm"))
    return x @ (wide["output"]["kernel"] if "output" in wide else wide["tok_embeddings"]["embedding"].T)


@pytest.mark.parametrize("name", STACKS)
def test_logits_are_those_of_the_oracle(name):
    config = small_config("base", global_transformer=STACKS[name], tied_output=name == "bias", attention_block=16)
    model = build(config, VOCAB, 40)
    params, token = random_params(model), np.random.default_rng(3).integers(0, VOCAB.size, 40).astype(np.int32)
    one = np.ones((1, 40), np.int32)
    with jax.default_matmul_precision("highest"):
        found = jax.jit(model)(params, token[None], one, one > 0, one > 0)[0]
    np.testing.assert_allclose(found, oracle(params, STACKS[name], config, token), atol=3e-5)


@pytest.mark.parametrize("system", ["base", "lst"])
@pytest.mark.parametrize("name", STACKS)
def test_parameters_are_counted(name, system):
    config = small_config(system, global_transformer=STACKS[name], tied_output=system == "base" and name == "scaled")
    shapes = jax.eval_shape(build(config, VOCAB, 8).init_params, jax.random.key(0))
    counts = {top: sum(one.size for one in traverse_util.flatten_dict(tree).values()) for top, tree in shapes.items()}
    assert counts == ARCHITECTURES[system].parameter_counts(config, VOCAB)


def test_only_base_ties_its_output():
    with pytest.raises(ConfigError, match='model.tied_output=True: the output matrix of architecture "lst" is'):
        ARCHITECTURES["lst"].check_networks(small_config(tied_output=True))


def test_local_networks_may_have_them_too():
    local = dataclasses.replace(small_config().patch_encoder, qkv_bias=True, qk_norm="head", head_width=4)
    config = small_config(patch_encoder=local, patch_decoder=local)
    batch = random_batch(1)
    model = build(config, VOCAB, 61)
    assert np.isfinite(jax.jit(model)(random_params(model), *batch.inputs)).all()
