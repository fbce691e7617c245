"""The two systems: sizes, what can influence what, and independence of packing."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_cases import (
    VOCAB,
    logits_and_pullback,
    pack,
    random_batch,
    random_document,
    random_params,
    small_config,
    stack,
    windows,
)

from lst_jax.config import ModelConfig, StackConfig
from lst_jax.core.errors import ConfigError
from lst_jax.core.vocab import Vocab
from lst_jax.model.architectures.registry import build

UNITS = 50
ONE = {"global_transformer": StackConfig(1, 24, 2, None)}  # of its layers, each of which reaches all that more would
SYSTEMS = {
    "window1": small_config(**windows(1)),
    "window3": small_config(**windows(3), **ONE, attention_block=16),
    "window512": small_config(**windows(512), **ONE),
    "all_encoder_layers": small_config(
        **windows(2),
        **ONE,
        encoder_cross_all_layers=True,
        decoder_cross_all_layers=False,
        queries_per_patch=3,
        patch_encoder=StackConfig(2, 16, 2, 4),
    ),
    "equal_widths": small_config(**windows(2), global_transformer=StackConfig(2, 16, 2, None), queries_per_patch=1),
    "base": small_config("base", attention_block=16),
}
SLOW = ("window512", "equal_widths")  # window3 and all_encoder_layers have the same connections, and more of each kind
each_system = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in SYSTEMS]
)
both_forms = pytest.mark.parametrize("name", ["window1", "window3", "base"])  # of cross-attention, and none


@functools.cache
def model_and_params(name):
    """A model and random parameters."""
    model = build(SYSTEMS[name], VOCAB, UNITS)
    return model, jax.device_put(random_params(model))


@functools.cache
def compiled(name):
    """Logits, and gradients of all parameters, of any batch of one size: compiled once a system."""
    model, params = model_and_params(name)
    return functools.partial(logits_and_pullback(model), params)


def logits_of(name, inputs):
    return compiled(name)(inputs, np.zeros((*inputs[0].shape, VOCAB.size), np.float32))[0]


def reading():
    """[V]: a random weight of each logit."""
    return np.random.default_rng(5).standard_normal(VOCAB.size).astype(np.float32)


def test_the_papers_1b_model_has_its_parameter_count():
    config = ModelConfig(
        architecture="lst",
        patch_encoder=StackConfig(1, 1024, 16, 512),
        global_transformer=StackConfig(25, 2048, 16, None),
        patch_decoder=StackConfig(9, 1024, 16, 512),
        queries_per_patch=2,
        cross_heads=16,
        encoder_cross_window=1,
        decoder_cross_window=1,
        encoder_cross_all_layers=False,
        decoder_cross_all_layers=True,
        rope_theta=5e5,
        norm_eps=1e-5,
        ffn_multiple=256,
        compute_dtype="bfloat16",
        attention_block=512,
        logits_chunk=1024,
        scan_layers=False,
        remat="none",
    )
    model = build(config, Vocab(text_size=32000, unit_slots=502), row_patches=8)
    shapes = jax.eval_shape(model.init_params, jax.random.key(0))
    sizes = {name: sum(x.size for x in jax.tree.leaves(part)) for name, part in shapes.items()}
    assert sum(sizes.values()) == 1_527_911_424
    assert {k: round(v / 1e6, 1) for k, v in sizes.items()} == {
        "patch_encoder": 52.4,
        "global_transformer": 1284.6,
        "patch_decoder": 190.9,
    }
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(shapes))


def test_initial_values_are_truncated_normals_of_the_papers_width():
    def kernels(key):
        params = build(SYSTEMS["window1"], VOCAB, UNITS).init_params(key)
        ffn = params["global_transformer"]["layers_0"]["feed_forward"]
        return params["patch_encoder"]["tok_embeddings"]["embedding"], ffn["w1"]["kernel"], ffn["w2"]["kernel"]

    for kernel in jax.jit(kernels)(jax.random.key(0)):
        fan_in = 16 if kernel.shape[0] == VOCAB.size else kernel.shape[0]
        assert abs(np.std(kernel) * fan_in**0.5 - 0.986) < 0.05  # 0.986: deviation of a normal cut at 3σ
        assert np.abs(kernel).max() <= 3 * fan_in**-0.5


def test_equal_widths_with_several_queries_are_refused():
    with pytest.raises(ConfigError, match="model.queries_per_patch=2: must be 1"):
        build(small_config(global_transformer=StackConfig(2, 16, 2, None)), VOCAB, UNITS)


def influence(name, batch):
    """[B, T, T']: whether a random reading of the logits at position T of all rows has a gradient at T' of row B.

    The gradient is the embedding's: every position has a token id of its own.
    """
    count, length, found = batch.token.size, batch.token.shape[1], []
    for t in range(length):
        cotangent_BTV = np.zeros((*batch.token.shape, VOCAB.size), np.float32)
        cotangent_BTV[:, t] = reading()
        gradients = compiled(name)(batch.inputs, cotangent_BTV)[1]
        table = (gradients if name == "base" else gradients["patch_encoder"])["tok_embeddings"]["embedding"]
        found.append(np.abs(np.asarray(table)[:count]).max(-1) > 0)
    return np.stack(found, 1).reshape(*batch.token.shape, -1).swapaxes(1, 2)


def reach(config, batch, row):
    """[T, T]: which positions of one row may and must influence which, by following every allowed connection."""
    doc, patch, visible = batch.doc_id[row], batch.patch[row], batch.visible[row]
    t = np.arange(len(doc))
    same = (doc[:, None] == doc) & (doc > 0)
    own = same & (t[:, None] == t)
    causal = same & (t[:, None] >= t)
    if config.architecture == "base":
        return causal
    near = causal & (t[:, None] - t < config.patch_encoder.window)  # both local stacks have this window
    states = functools.reduce(np.matmul, [near] * config.patch_encoder.layers, own)
    u = np.arange(UNITS)
    unit_doc = np.asarray([doc[patch == i].max(initial=0) for i in u])
    together = unit_doc[:, None] == doc
    in_window = (u[:, None] - patch >= 0) & (u[:, None] - patch < config.encoder_cross_window) & together & (doc > 0)
    whole = (unit_doc[:, None] == unit_doc) & (unit_doc > 0) & (u[:, None] >= u)
    global_outputs = whole @ (in_window @ states)
    gap = visible[:, None] - u
    seen = (gap >= 0) & (gap < config.decoder_cross_window) & (visible >= 0)[:, None] & together.T
    for layer in range(config.patch_decoder.layers):
        if layer == 0 or config.decoder_cross_all_layers:
            states = states | (seen @ global_outputs)
        states = near @ states
    return states


@each_system
def test_exactly_the_allowed_positions_influence_the_logits(name):
    """No future token, other document, other row or unfinished patch leaks; and nothing that may be used is cut off."""
    batch = random_batch(3)
    got = influence(name, batch)
    for row in range(2):
        real = batch.doc_id[row] > 0
        np.testing.assert_array_equal(got[row][real], reach(SYSTEMS[name], batch, row)[real])


@each_system
def test_what_comes_later_changes_no_earlier_logit(name):
    """Replacing tokens, documents and boundaries after any position leaves all logits up to it the same to the bit."""
    batch, other = random_batch(0), random_batch(1)
    rng = np.random.default_rng(0)
    before = np.asarray(logits_of(name, batch.inputs))
    edges = np.flatnonzero(np.diff(batch.doc_id[0])).tolist()  # the last position of every document
    for t in sorted({*edges, *(e + 1 for e in edges), *rng.integers(0, 60, 8).tolist()}):
        changed = [a.copy() for a in batch.inputs]
        for mine, theirs in zip(changed, other.inputs, strict=True):
            mine[:, t + 1 :] = theirs[:, t + 1 :] if mine is not changed[0] else mine[:, t + 1 :][:, ::-1]
        changed[1][:, t + 1 :] += (changed[1][:, t + 1 :] > 0) * 20  # the documents after t are others
        changed[2][:, t + 1] |= changed[1][:, t + 1] > 0  # which begin with a patch of their own
        after = np.asarray(logits_of(name, tuple(changed)))
        np.testing.assert_array_equal(after[:, : t + 1], before[:, : t + 1])
        assert (after[:, t + 1 :] != before[:, t + 1 :]).any()


@both_forms
def test_a_document_has_the_same_logits_alone_and_behind_others(name):
    rng = np.random.default_rng(4)
    document, others = random_document(rng), [random_document(rng) for _ in range(2)]
    length = sum(n for n, _ in document)
    alone, packed = (pack(documents, 61) for documents in ([document], [*others, document, *others]))
    at = np.flatnonzero(packed.doc_id == 3)
    assert len(at) == length and at[0] > 0
    batch = stack([alone, packed])
    batch.token[1, at] = batch.token[0, :length]
    logits = logits_of(name, batch.inputs)
    np.testing.assert_allclose(logits[1, at], logits[0, :length], atol=1e-5)


@pytest.mark.parametrize("name", ["window3", "base"])
def test_block_size_does_not_change_the_function(name):
    batch, (_, params) = random_batch(2), model_and_params(name)
    dense = build(dataclasses.replace(SYSTEMS[name], attention_block=512), VOCAB, UNITS)
    np.testing.assert_allclose(jax.jit(dense)(params, *batch.inputs), logits_of(name, batch.inputs), atol=1e-5)


@pytest.mark.parametrize("name", [pytest.param("window1", marks=pytest.mark.slow), "window3", "base"])
def test_bfloat16_compute_stays_near_float32_and_gives_float32_logits(name):
    batch, (_, params) = random_batch(2), model_and_params(name)
    half = build(dataclasses.replace(SYSTEMS[name], compute_dtype="bfloat16"), VOCAB, UNITS)

    @jax.jit
    def both(params, inputs):
        hidden = half.hidden(params, *inputs)
        return hidden, half.logits(params, hidden)

    hidden, logits = both(params, batch.inputs)
    assert hidden.dtype == jnp.bfloat16 and logits.dtype == jnp.float32
    exact = np.asarray(logits_of(name, batch.inputs))
    assert np.abs(logits - exact).mean() < 0.03 * np.abs(exact).mean()  # a few roundings of 2^-9


@both_forms
def test_gradients_of_a_padded_batch_are_finite_and_reach_every_parameter(name):
    batch = random_batch(2)
    weight_BTV = (batch.doc_id > 0)[..., None] * reading()
    loss = jax.jit(jax.grad(lambda logits: jnp.sum(jax.nn.log_softmax(logits) * weight_BTV)))
    _, gradients = compiled(name)(batch.inputs, loss(logits_of(name, batch.inputs)))
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, path
