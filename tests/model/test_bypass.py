"""System "lst_bypass": its size, what can influence what, independence of packing, and what text costs."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_cases import (
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
from lst_jax.core.vocab import Vocab
from lst_jax.model.architectures.registry import build

VOCAB = Vocab(text_size=200, unit_slots=200)  # every position of a batch may have its own id, of either modality
UNITS = 64  # also for rows of 61 patches
SPEECH_TOKENS, SPEECH_PATCHES = 36, 21  # of the fullest rows of seeds 2 and 3: room for no more
SYSTEMS = {
    "window1": small_config("lst_bypass", **windows(1)),
    "window3": small_config(
        "lst_bypass", **windows(3), attention_block=16, global_transformer=StackConfig(1, 24, 2, None)
    ),
    "projected": small_config("lst_bypass", **windows(1), global_transformer=StackConfig(2, 32, 2, None)),  # Q·E = D
}
each_system = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "projected")) for name in SYSTEMS]
)


@functools.cache
def params_of(name):
    return jax.device_put(random_params(build(SYSTEMS[name], VOCAB, UNITS)))


@functools.cache
def compiled(name):
    """Logits, and gradients of all parameters, of rows with bounds on speech: compiled once a system."""
    model = build(SYSTEMS[name], VOCAB, UNITS, SPEECH_TOKENS, row_speech_patches=SPEECH_PATCHES)
    return functools.partial(logits_and_pullback(model), params_of(name))


def logits_of(name, inputs):
    return compiled(name)(inputs, np.zeros((*inputs[0].shape, VOCAB.size), np.float32))[0]


@functools.cache
def roomy_logits(name):
    """Logits of rows that may be all speech."""
    return functools.partial(jax.jit(build(SYSTEMS[name], VOCAB, UNITS)), params_of(name))


def reading():
    """[V]: a random weight of each logit."""
    return np.random.default_rng(5).standard_normal(VOCAB.size).astype(np.float32)


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


def influence(name, batch):
    """[B, T, T']: whether a random reading of the logits at position T of all rows has a gradient at T' of row B."""
    found = []
    for t in range(batch.token.shape[1]):
        cotangent_BTV = np.zeros((*batch.token.shape, VOCAB.size), np.float32)
        cotangent_BTV[:, t] = reading()
        gradients = compiled(name)(batch.inputs, cotangent_BTV)[1]
        tables = gradients["text_embeddings"], gradients["patch_encoder"]["tok_embeddings"]
        sizes = np.concatenate([np.abs(np.asarray(table["embedding"])).max(-1) for table in tables])
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
    assert is_local.sum(1).max() == {3: SPEECH_TOKENS, 8: 29}[seed]
    got = influence(name, batch)
    for row in range(2):
        real = batch.doc_id[row] > 0
        np.testing.assert_array_equal(got[row][real], reach(SYSTEMS[name], batch, is_local, row)[real])


# the test before asks the same of gradients
@pytest.mark.parametrize(
    "name", ["window1", *(pytest.param(n, marks=pytest.mark.slow) for n in ("window3", "projected"))]
)
def test_what_comes_later_changes_no_earlier_logit(name):
    """Replacing tokens, modalities, documents and boundaries after any position leaves all logits up to it the same."""
    batch, other = random_batch(0), random_batch(1)
    add_speech(batch), add_speech(other, 1)
    logits = roomy_logits(name)
    before = np.asarray(logits(*batch.inputs))
    edges = np.flatnonzero(np.diff(batch.doc_id[0])).tolist()  # the last position of every document
    for t in sorted({*edges, *(e + 1 for e in edges), *range(2, 60, 9)}):
        changed = [a.copy() for a in batch.inputs]
        for mine, theirs in zip(changed, other.inputs, strict=True):
            mine[:, t + 1 :] = theirs[:, t + 1 :]
        changed[0][:, t + 1 :] += 1  # other tokens of the same modality too
        changed[1][:, t + 1 :] += (changed[1][:, t + 1 :] > 0) * 20  # the documents after t are others
        changed[2][:, t + 1] |= changed[1][:, t + 1] > 0  # which begin with a patch of their own
        after = np.asarray(logits(*changed))
        np.testing.assert_array_equal(after[:, : t + 1], before[:, : t + 1])
        assert (after[:, t + 1 :] != before[:, t + 1 :]).any() == changed[1][:, t + 1 :].any()


@each_system
def test_a_document_has_the_same_logits_alone_and_behind_others_whatever_room_speech_has(name):
    rng = np.random.default_rng(4)
    document, others = random_document(rng), [random_document(rng) for _ in range(2)]
    length = sum(n for n, _ in document)
    batch = stack([pack([document], 61), pack([*others, document], 61)])
    is_local = add_speech(batch)
    at = np.flatnonzero(batch.doc_id[1] == 3)
    is_local[1, at], batch.token[1, at] = is_local[0, :length], batch.token[0, :length]
    assert len(at) == length and at[0] > 0 and 0 < is_local[0].sum() < length
    assert is_local.sum(1).max() <= SPEECH_TOKENS and (is_local & batch.patch_start).sum(1).max() <= SPEECH_PATCHES
    found = [logits_of(name, batch.inputs), roomy_logits(name)(*batch.inputs)]
    for logits in found:
        np.testing.assert_allclose(logits[1, at], logits[0, :length], atol=1e-5)
    np.testing.assert_allclose(*found, atol=1e-5)


def test_a_row_with_more_speech_than_it_may_hold_is_not_a_number_and_the_others_are():
    batch = random_batch(2)
    is_local = add_speech(batch)
    batch.token[1, np.flatnonzero(~is_local[1])[:2]] += VOCAB.unit_offset
    assert is_local.sum(1).tolist() == [SPEECH_TOKENS, SPEECH_TOKENS - 1]  # and now as many, and one more
    logits = np.asarray(logits_of("window1", batch.inputs))
    assert np.isfinite(logits[0]).all() and np.isnan(logits[1]).all()


def test_a_row_with_more_patches_of_speech_than_it_may_hold_is_not_a_number_and_the_others_are():
    batch = random_batch(3)
    is_local = add_speech(batch)
    assert (is_local & batch.patch_start).sum(1).tolist() == [SPEECH_PATCHES - 3, SPEECH_PATCHES]
    text = np.flatnonzero(~is_local[0] & (batch.doc_id[0] > 0))  # each is a patch of its own
    for more, holds in ((3, True), (4, False)):
        batch.token[0, text[:more]] = VOCAB.unit_offset
        logits = np.asarray(logits_of("window1", batch.inputs))
        assert is_local[0].sum() + more < SPEECH_TOKENS
        assert np.isfinite(logits[1]).all() and np.isfinite(logits[0]).all() == holds != np.isnan(logits[0]).all()


def test_rows_of_text_alone_have_finite_logits_and_no_gradient_in_the_local_networks():
    batch = random_batch(2)
    batch.patch_start[:] = batch.patch_end[:] = batch.doc_id > 0
    gradients = gradients_of_loss("window1", batch, np.eye(VOCAB.size, dtype=np.float32)[7])
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).max() > 0) == (
            path[0].key in ("text_embeddings", "global_transformer", "text_norm", "output")
        ), path


def gradients_of_loss(name, batch, weight):
    """Of the sum of weighted log-probabilities."""

    @jax.jit
    @jax.grad
    def loss(logits):
        return jnp.sum(jax.nn.log_softmax(logits) * weight)

    return compiled(name)(batch.inputs, loss(logits_of(name, batch.inputs)))[1]


@each_system
def test_gradients_of_a_padded_batch_are_finite_and_reach_every_parameter(name):
    batch = random_batch(2)
    assert add_speech(batch).sum(1).max() == SPEECH_TOKENS
    gradients = gradients_of_loss(name, batch, (batch.doc_id > 0)[..., None] * reading())
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, path


def test_at_the_papers_1b_sizes_it_has_the_parameters_of_its_parts():
    """Those of "lst" (tests/model/test_lst.py) but for the tables: embeddings by modality, one output at D."""
    local = StackConfig(1, 1024, 16, 512)
    config = ModelConfig(
        architecture="lst",
        patch_encoder=local,
        global_transformer=StackConfig(25, 2048, 16, None),
        patch_decoder=dataclasses.replace(local, layers=9),
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
    vocab = Vocab(text_size=32000, unit_slots=502)
    sizes = {}
    for system in ("lst", "lst_bypass"):
        model = build(dataclasses.replace(config, architecture=system), vocab, 8, 4)
        shapes = jax.eval_shape(model.init_params, jax.random.key(0))
        sizes[system] = {name: sum(x.size for x in jax.tree.leaves(part)) for name, part in shapes.items()}
    plain, bypass = sizes["lst"], sizes["lst_bypass"]
    assert bypass == {
        "text_embeddings": 32005 * 2048,
        "patch_encoder": plain["patch_encoder"] - 32005 * 1024,
        "global_transformer": plain["global_transformer"],
        "patch_decoder": plain["patch_decoder"] - 32508 * 1024,
        "speech_projection": 1024 * 2048,
        "text_norm": 2048,
        "output": 32508 * 2048,
    }
    assert sum(bypass.values()) == 1_596_071_936
