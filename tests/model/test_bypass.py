"""System "lst_bypass": its size, what can influence what, independence of packing, and what text costs."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_cases import pack, random_batch, random_document, small_config, stack, windows

from lst_jax.config import ModelConfig, StackConfig
from lst_jax.model.lst import build
from lst_jax.vocab import Vocab

VOCAB = Vocab(text_size=200, unit_slots=200)  # every position of a batch may have its own id, of either modality
UNITS = 50
SYSTEMS = {
    "window1": small_config("lst_bypass", **windows(1)),
    "window3": small_config("lst_bypass", **windows(3), attention_block=16),
    "projected": small_config("lst_bypass", **windows(1), global_transformer=StackConfig(2, 32, 2, None)),  # Q·E = D
}
each_system = pytest.mark.parametrize("name", SYSTEMS)


@functools.cache
def model_and_params(name, speech_tokens=None):
    model = build(SYSTEMS[name], VOCAB, UNITS, speech_tokens)
    params = jax.jit(model.init_params)(jax.random.key(0))
    return model, jax.tree.map(lambda x: x * 1.5 if x.ndim == 1 else x, params)


def add_speech(batch, seed=0):
    """Local positions [B, T]: the patches that only speech has, the marker before each run, and some of one token.

    Each gets a unit's id of its own, markers too: the model tells both from text alike.
    """
    rng = np.random.default_rng(seed)
    is_local = np.zeros(batch.token.shape, bool)
    for row, patch in enumerate(batch.patch):
        length = np.bincount(patch + 1)[patch + 1]
        first = np.flatnonzero((patch >= 0) & ((length > 1) | ~batch.patch_end[row]))
        is_local[row, first] = is_local[row, first - 1] = True
        is_local[row] |= (patch >= 0) & (length == 1) & (rng.random(len(patch)) < 0.2)
    batch.token = batch.token + is_local * VOCAB.unit_offset
    return is_local


def influence(name, batch, speech_tokens):
    """[B, T, T']: whether a random reading of the logits at position T of all rows has a gradient at T' of row B."""
    model, params = model_and_params(name, speech_tokens)
    reading_V = jax.random.normal(jax.random.key(5), (VOCAB.size,))

    def reading(tables, t):
        changed = params | {"text_embeddings": {"embedding": tables[0]},
                            "patch_encoder": params["patch_encoder"] | {"tok_embeddings": {"embedding": tables[1]}}}
        return jnp.sum(model(changed, *batch.inputs)[:, t] @ reading_V)

    tables = params["text_embeddings"]["embedding"], params["patch_encoder"]["tok_embeddings"]["embedding"]
    gradient = jax.jit(jax.grad(reading))
    found = []
    for t in range(batch.token.shape[1]):
        sizes = np.concatenate([np.abs(np.asarray(g)).max(-1) for g in gradient(tables, t)])
        found.append(sizes[batch.token] > 0)
    return np.stack(found, 1)


def reach(config, batch, is_local, row):
    """[T, T]: which positions of one row may and must influence which, by following every allowed connection."""
    doc, patch, local = batch.doc_id[row], batch.patch[row], is_local[row]
    place = np.cumsum(local)  # order among what the local networks see
    same = (doc[:, None] == doc) & (doc > 0)
    both = same & local[:, None] & local
    gap = place[:, None] - place
    states = near = both & (gap >= 0) & (gap < config.patch_encoder.window)
    assert config.patch_encoder.layers == 1
    u = np.arange(UNITS)
    unit_doc = np.asarray([doc[patch == i].max(initial=0) for i in u])
    local_unit = np.asarray([local[patch == i].any() for i in u])
    unit_place = np.cumsum(local_unit)
    together = unit_doc[:, None] == doc
    gap = unit_place[:, None] - unit_place[patch]
    pooled = together & local_unit[:, None] & local & (gap >= 0) & (gap < config.encoder_cross_window)
    inputs = (pooled @ states) | (together & ~local & (u[:, None] == patch))
    outputs = ((unit_doc[:, None] == unit_doc) & (unit_doc > 0) & (u[:, None] >= u)) @ inputs
    # the latest local patch complete at a token, counted from 1 as unit_place is
    complete = unit_place[patch] - ~batch.patch_end[row]
    gap = complete[:, None] - unit_place
    seen = (gap >= 0) & (gap < config.decoder_cross_window) & local[:, None] & local_unit & together.T
    for _ in range(config.patch_decoder.layers):
        states = near @ (states | (seen @ outputs))
    return np.where(local[:, None], states, outputs[patch])


@each_system
@pytest.mark.parametrize("seed", [3, 8])
def test_exactly_the_allowed_positions_influence_the_logits(name, seed):
    """No future token, other document, other row or unfinished patch leaks; and nothing that may be used is cut off."""
    batch = random_batch(seed)
    is_local = add_speech(batch)
    assert {True, False} == set(is_local[batch.doc_id > 0].tolist())
    got = influence(name, batch, int(is_local.sum(1).max()))
    for row in range(2):
        real = batch.doc_id[row] > 0
        np.testing.assert_array_equal(got[row][real], reach(SYSTEMS[name], batch, is_local, row)[real])


@each_system
def test_what_comes_later_changes_no_earlier_logit(name):
    """Replacing tokens, modalities, documents and boundaries after any position leaves all logits up to it the same."""
    model, params = model_and_params(name)
    batch, other = random_batch(0), random_batch(1)
    add_speech(batch), add_speech(other, 1)
    logits = jax.jit(functools.partial(model, params))
    before = np.asarray(logits(*batch.inputs))
    edges = np.flatnonzero(np.diff(batch.doc_id[0])).tolist()  # the last position of every document
    for t in sorted({*edges, *(e + 1 for e in edges), *range(2, 60, 9)}):
        changed = [a.copy() for a in batch.inputs]
        for mine, theirs in zip(changed, other.inputs, strict=True):
            mine[:, t + 1:] = theirs[:, t + 1:]
        changed[0][:, t + 1:] += 1  # other tokens of the same modality too
        changed[1][:, t + 1:] += (changed[1][:, t + 1:] > 0) * 20  # the documents after t are others
        changed[2][:, t + 1] |= changed[1][:, t + 1] > 0  # which begin with a patch of their own
        after = np.asarray(logits(*changed))
        np.testing.assert_array_equal(after[:, :t + 1], before[:, :t + 1])
        assert (after[:, t + 1:] != before[:, t + 1:]).any() == changed[1][:, t + 1:].any()


@each_system
def test_a_document_has_the_same_logits_alone_and_behind_others_whatever_room_speech_has(name):
    rng = np.random.default_rng(4)
    document, others = random_document(rng), [random_document(rng) for _ in range(2)]
    length = sum(n for n, _ in document)
    batch = stack([pack([document], 80), pack([*others, document, *others], 80)])
    is_local = add_speech(batch)
    at = np.flatnonzero(batch.doc_id[1] == 3)
    is_local[1, at], batch.token[1, at] = is_local[0, :length], batch.token[0, :length]
    assert len(at) == length and at[0] > 0 and 0 < is_local[0].sum() < length
    found = []
    for speech_tokens in (int(is_local.sum(1).max()), None):
        model, params = model_and_params(name, speech_tokens)
        logits = jax.jit(functools.partial(model, params))(*batch.inputs)
        np.testing.assert_allclose(logits[1, at], logits[0, :length], atol=1e-5)
        found.append(logits)
    np.testing.assert_allclose(*found, atol=1e-5)


def test_a_row_with_more_speech_than_it_may_hold_is_not_a_number_and_the_others_are():
    batch = random_batch(0)
    sizes = add_speech(batch).sum(1)
    assert sizes[0] != sizes[1]
    model, params = model_and_params("window1", int(sizes.max()) - 1)
    logits = np.asarray(model(params, *batch.inputs))
    for row, size in enumerate(sizes):
        assert np.isnan(logits[row]).all() if size == sizes.max() else np.isfinite(logits[row]).all()


def test_rows_of_text_alone_have_finite_logits_and_no_gradient_in_the_local_networks():
    batch, (model, params) = random_batch(2), model_and_params("window1", 16)
    batch.patch_start[:] = batch.patch_end[:] = batch.doc_id > 0
    units = 80
    model = build(SYSTEMS["window1"], VOCAB, units, 16)
    gradients = jax.jit(jax.grad(lambda p: jnp.sum(jax.nn.log_softmax(model(p, *batch.inputs))[..., 7])))(params)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).max() > 0) == (path[0].key in ("text_embeddings", "global_transformer", "text_norm",
                                                                "output")), path


@each_system
def test_gradients_of_a_padded_batch_are_finite_and_reach_every_parameter(name):
    batch = random_batch(2)
    sizes = add_speech(batch).sum(1)
    model, params = model_and_params(name, int(sizes.max()))
    weight = jnp.asarray(batch.doc_id > 0)[..., None]
    reading_V = jax.random.normal(jax.random.key(5), (VOCAB.size,))
    gradients = jax.jit(jax.grad(lambda p: jnp.sum(
        jax.nn.log_softmax(model(p, *batch.inputs)) * reading_V * weight)))(params)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, path


def test_at_the_papers_1b_sizes_it_has_the_parameters_of_its_parts():
    """Those of "lst" (tests/model/test_lst.py) but for the tables: embeddings by modality, one output at D."""
    local = StackConfig(1, 1024, 16, 512)
    config = ModelConfig(
        system="lst", patch_encoder=local, global_transformer=StackConfig(25, 2048, 16, None),
        patch_decoder=dataclasses.replace(local, layers=9), queries_per_patch=2, cross_heads=16, encoder_cross_window=1,
        decoder_cross_window=1, encoder_cross_all_layers=False, decoder_cross_all_layers=True, rope_theta=5e5,
        norm_eps=1e-5, ffn_multiple=256, compute_dtype="bfloat16", attention_block=512, logits_chunk=1024,
        scan_layers=False, remat="none")
    vocab = Vocab(text_size=32000, unit_slots=502)
    sizes = {}
    for system in ("lst", "lst_bypass"):
        model = build(dataclasses.replace(config, system=system), vocab, 8, 4)
        shapes = jax.eval_shape(model.init_params, jax.random.key(0))
        sizes[system] = {name: sum(x.size for x in jax.tree.leaves(part)) for name, part in shapes.items()}
    plain, bypass = sizes["lst"], sizes["lst_bypass"]
    assert bypass == {
        "text_embeddings": 32005 * 2048, "patch_encoder": plain["patch_encoder"] - 32005 * 1024,
        "global_transformer": plain["global_transformer"], "patch_decoder": plain["patch_decoder"] - 32508 * 1024,
        "speech_projection": 1024 * 2048, "text_norm": 2048, "output": 32508 * 2048}
    assert sum(bypass.values()) == 1_596_071_936
