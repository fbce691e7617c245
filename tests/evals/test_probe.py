"""Looks inside a model: what is read is what the model computes, and the numbers are what they are called."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from synthetic_data import make_config, tokenizer, utterance, utterances

from lst_jax.checkpoints.trained_model import TrainedModel
from lst_jax.core.errors import DataError
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.interleave import Span
from lst_jax.data.patching import StaticRule, strategy_of
from lst_jax.data.records import Utterance, Word
from lst_jax.evals import probe, probe_figures
from lst_jax.evals.global_states import global_states
from lst_jax.model.architectures import registry
from lst_jax.model.layers import RMSNorm
from lst_jax.model.networks import GlobalTransformer, PatchDecoder, PatchEncoder
from lst_jax.model.patches import derive_patches
from lst_jax.model.placement import ONE_DEVICE
from lst_jax.parallel import sharding
from lst_jax.step import update


@functools.cache
def opened(strategy, **changes):
    config = make_config(256, 256, strategy=strategy, **changes)
    mesh = sharding.one_device()
    model = update.build_model(config, mesh)
    return TrainedModel(None, config, mesh, model, jax.jit(model.init_params)(jax.random.key(0)), 0)


def rows_of(example, length=128):
    n = len(example.token)
    return [
        jnp.pad(jnp.asarray(row), (0, length - n))[None]
        for row in (example.token, np.ones(n, np.int32), example.patch_start, example.patch_end)
    ]


@pytest.mark.parametrize("strategy", ["static", "none"])
def test_states_lead_to_the_model_s_own_outputs(strategy):
    """What is read behind the last layer, taken through the rest of the model, is what the model says."""
    run = opened(strategy)
    config, params = run.config, run.params
    rule = strategy_of(config.data.patching).inference_rule
    rows = rows_of(ExampleBuilder.of(config, tokenizer()).speech_only(utterance(1, 5), rule))
    states, unit_BT = jax.jit(global_states, static_argnums=0)(config, params, *rows)
    model = registry.build(config.model, config.joint_vocab, 128)
    real = rows[1][0] > 0
    if strategy == "none":
        hidden = RMSNorm(config.model).apply({"params": params["norm"]}, states[-1])
        assert unit_BT[0, :3].tolist() == [0, 1, 2]
    else:
        patches = derive_patches(*rows[1:], 128)
        h_BTE, _ = PatchEncoder(config.model, ONE_DEVICE, config.joint_vocab.size).apply(
            {"params": params["patch_encoder"]}, rows[0], rows[1], patches
        )
        hidden = PatchDecoder(config.model, ONE_DEVICE, config.joint_vocab.size).apply(
            {"params": params["patch_decoder"]}, h_BTE, states[-1], rows[1], patches
        )
        assert unit_BT[0, :8].tolist() == [0, 1, 2, 2, 2, 2, 3, 3]
    theirs = jax.jit(model.hidden)(params, *rows)
    np.testing.assert_allclose(hidden[0][real], theirs[0][real], rtol=1e-4, atol=1e-5)
    again = GlobalTransformer(config.model, ONE_DEVICE).apply(
        {"params": params["global_transformer"]},
        states[0],
        rows[1] if strategy == "none" else derive_patches(*rows[1:], 128).doc_id_BU,
    )
    np.testing.assert_allclose(again[0][:5], states[-1][0][:5], rtol=1e-4, atol=1e-5)


def test_states_of_text_that_goes_past_the_local_networks_are_what_its_logits_are_read_from():
    run = opened("static", speech_tokens=64)
    config, params = run.config, run.params
    one = utterance(1, 5)
    edge = one.words[1].end_frame
    spans = [Span("speech", 0, 2, 0, edge), Span("text", 2, 5, edge, len(one.units))]
    rows = rows_of(ExampleBuilder.of(config, tokenizer()).interleaved(one, spans, StaticRule(4)))
    states, unit_BT = jax.jit(global_states, static_argnums=0)(config, params, *rows)
    theirs = jax.jit(registry.build(config.model, config.joint_vocab, 128).hidden)(params, *rows)
    is_text = np.asarray((rows[0][0] < config.joint_vocab.speech_marker) & (rows[1][0] > 0))
    ours = RMSNorm(config.model).apply({"params": params["text_norm"]}, states[-1][0][unit_BT[0][is_text]])
    assert is_text.sum() > 4 and (~is_text & np.asarray(rows[1][0] > 0)).sum() > 10
    np.testing.assert_allclose(ours, theirs[0][is_text], rtol=1e-4, atol=1e-5)


def slow_silhouette(distance, label):
    values = []
    for i in range(len(label)):
        own = [j for j in range(len(label)) if label[j] == label[i] and j != i]
        if not own:
            values.append(0.0)
            continue
        a = np.mean([distance[i, j] for j in own])
        b = min(
            np.mean([distance[i, j] for j in range(len(label)) if label[j] == other])
            for other in set(label) - {label[i]}
        )
        values.append((b - a) / max(a, b))
    return np.mean(values)


def test_separation_agrees_with_its_definition_and_with_scikit_learn_where_it_is_installed():
    rng = np.random.default_rng(0)
    label = np.append(rng.integers(0, 4, 30), 9)
    vector = rng.normal(size=(5, 8))[np.minimum(label, 4)] + 0.5 * rng.normal(size=(31, 8))
    found = probe.separation(vector, label)
    unit = vector / np.linalg.norm(vector, axis=1, keepdims=True)
    within = [unit[i] @ unit[j] for i in range(31) for j in range(31) if i != j and label[i] == label[j]]
    between = [unit[i] @ unit[j] for i in range(31) for j in range(31) if label[i] != label[j]]
    assert found["cosine_within"] == pytest.approx(np.mean(within))
    assert found["cosine_between"] == pytest.approx(np.mean(between))
    distance = 1 - unit @ unit.T
    assert found["silhouette"] == pytest.approx(slow_silhouette(distance, label.tolist()))
    metrics = pytest.importorskip("sklearn.metrics")
    assert found["silhouette"] == pytest.approx(
        metrics.silhouette_score(np.maximum(distance - np.diag(np.diag(distance)), 0), label, metric="precomputed")
    )


def test_a_word_is_the_patches_that_are_mostly_its_own():
    units = np.arange(20, dtype=np.uint16)
    record = Utterance("u", units, (Word("the", 2, 9), Word("river", 9, 10), Word("his", 12, 20)), None, None)
    config = make_config(strategy="static")
    builder = ExampleBuilder.of(config, tokenizer())
    example = builder.speech_only(record, StaticRule(4))  # BOS <s> and patches of frames 0-3, 4-7, 8-11, 12-15, 16-19
    unit_T = np.cumsum(example.patch_start) - 1
    places = probe._spoken(record, builder, example)
    assert [probe._units_of(place, unit_T, True).tolist() for place in places] == [[2, 3], [4], [5, 6]]


def test_written_words_are_the_pieces_of_the_whole_text_between_them():
    builder = ExampleBuilder.of(make_config(), tokenizer())
    record = utterance(3, 12)
    example = builder.text_only(record)
    places = probe._written(record, builder)
    assert np.concatenate(places).tolist() == list(range(2, len(example.token) - 1))
    for word, place in zip(record.words, places, strict=True):
        assert tokenizer().decode(example.token[place].tolist()).strip() == word.text


SPOKEN = [u for u in utterances(16) if len(u.words) >= 4]


@pytest.fixture(scope="module")
def probed():
    run = opened("static")
    short = [
        Utterance(u.id, u.units[: u.words[min(11, len(u.words) - 1)].end_frame], u.words[:12], None, None)
        for u in SPOKEN
    ]
    return probe.probe(run, short[:8])


def test_all_numbers_are_there_and_within_their_bounds(probed):
    values, spoken, words = probed
    assert values["patches"] == "static" and values["occurrences"] == len(spoken.word_O) >= 4 * len(words) / 2
    assert -1 <= values["embeddings"]["silhouette"] <= 1
    assert len(values["text_speech"]) == len(spoken.state_NOD) == 2  # the input and one layer
    assert set(values["margins"]) == {"s2s", "t2t", "s2t", "t2s"}
    for found in values["margins"].values():
        assert found["items"] == len(found["means"]) and np.mean(found["means"]) == pytest.approx(
            found["mean_of_means"]
        )


def test_the_same_word_is_nearer_where_speech_and_text_share_directions():
    rng = np.random.default_rng(0)
    word_O = np.repeat(np.arange(5), 6)
    meaning = rng.normal(size=(5, 16))[word_O]
    spoken = probe.Occurrences(np.stack([rng.normal(size=(30, 16)), meaning + 5]), word_O)
    written = probe.Occurrences(np.stack([rng.normal(size=(30, 16)), meaning - 3]), word_O)
    first, second = probe.similarity_by_layer(spoken, written)
    assert abs(first["same_word"]) < 0.2 and second["same_word"] > 0.99 > 0.1 > second["other_word"]


def test_words_that_hardly_occur_are_refused_in_one_line():
    with pytest.raises(DataError, match="--probe: 0 words occur in 4 utterances of 1; give more held-out utterances"):
        probe.frequent_words([utterance(1, 4)])


def test_pictures_are_drawn_with_and_without_scikit_learn(probed, tmp_path, monkeypatch, capsys):
    values, spoken, words = probed
    monkeypatch.setitem(__import__("sys").modules, "sklearn.manifold", None)
    names = [path.name for path in probe_figures.write_all(values, spoken, words, tmp_path)]
    assert names == ["text_and_speech_by_layer.png", "margins_of_completion_choices.png"]
    assert "pip install -e '.[probe]'" in capsys.readouterr().out

    class AnyTSNE:
        def __init__(self, *_, **__):
            pass

        def fit_transform(self, x):
            return x[:, :2]

    monkeypatch.setitem(__import__("sys").modules, "sklearn.manifold", types.SimpleNamespace(TSNE=AnyTSNE))
    assert len(probe_figures.write_all(values, spoken, words, tmp_path)) == 3


def test_categories():
    assert [probe_figures.category(word) for word in ("seven", "the", "password")] == [
        "numbers",
        "function words",
        "other words",
    ]
