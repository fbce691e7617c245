"""The scorer against an oracle of its own, its conventions, and how full its rows are."""

import dataclasses

import jax
import numpy as np
import pytest
import slow_scores
import synthetic_data
from flax import traverse_util

from lst_jax import config as cfg
from lst_jax.core.errors import DataError
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.patching import AlignedRule, StaticRule, strategy_of
from lst_jax.data.records import Word
from lst_jax.data.unit_pieces import token_frames
from lst_jax.evals import scorer, shared_prompts
from lst_jax.evals.conventions import GRIDS, RULES
from lst_jax.evals.scorer import Speech, Text
from lst_jax.parallel import sharding
from lst_jax.step import update

SIZE = 3
STATIC = StaticRule(SIZE)


def small_config(**changes):
    local, wide = cfg.StackConfig(1, 16, 2, 8), cfg.StackConfig(2, 24, 2, None)
    config = synthetic_data.make_config(tokens=160, units=96, rows=8, static_size=SIZE, **changes)
    if config.model.architecture == "base":
        return config
    return dataclasses.replace(
        config,
        model=dataclasses.replace(
            config.model,
            patch_encoder=local,
            global_transformer=wide,
            queries_per_patch=2,
            ffn_multiple=8,
            patch_decoder=dataclasses.replace(local, layers=2),
        ),
    )


def random_params(config, mesh):
    """Larger than fresh ones, so that what a token sees matters; the norms are not all 1."""
    shapes = update.state_shape(config, update.build_model(config, mesh), mesh).params
    rng, flat = np.random.default_rng(5), traverse_util.flatten_dict(shapes)
    values = {
        path: rng.normal(1, 0.2, s.shape) if path[-1] == "scale" else rng.normal(0, s.shape[0] ** -0.5, s.shape)
        for path, s in sorted(flat.items())
    }
    values = {path: value * (4 if "embedding" in path else 1) for path, value in values.items()}
    return jax.tree.map(
        lambda v, s: jax.device_put(v.astype(np.float32), s.sharding), traverse_util.unflatten_dict(values), shapes
    )


def make_builder(config):
    return ExampleBuilder.of(config, synthetic_data.tokenizer())


def words(rng, count):
    return " ".join(rng.choice(synthetic_data.WORDS, count))


def random_span(rng, modality, longest=14):
    if modality == "text":
        return ("text", words(rng, int(rng.integers(1, longest // 2))))
    return ("speech", rng.integers(0, 501, int(rng.integers(1, longest))))


def ours(spans):
    return [Text(content) if kind == "text" else Speech(content.astype(np.uint16), ()) for kind, content in spans]


@pytest.fixture(scope="module")
def opened():
    config = small_config()
    mesh = sharding.make_mesh(config.mesh)
    params = random_params(config, mesh)
    return config, mesh, params, scorer.Scorer(config, mesh), make_builder(config)


def questions(seed, count):
    """(prompt, response) with prompts of 0 to 2 spans, in every direction."""
    rng, found = np.random.default_rng(seed), []
    for i in range(count):
        kinds = [["speech"], ["text"], ["speech", "text"], ["text", "speech"], []][i % 5]
        prompt = [random_span(rng, kind, 24) for kind in kinds]
        found += [(prompt, [random_span(rng, kind)]) for kind in ("speech", "text") for _ in range(3)]
    return found


@pytest.mark.parametrize("grid", GRIDS)
def test_every_token_s_nats_equal_those_of_a_slow_dense_loop(opened, grid):
    config, _, params, one_scorer, builder = opened
    asked = questions(1, 10)
    candidates = [scorer.candidate(builder, ours(p), ours(r), STATIC, grid) for p, r in asked]
    nats, fill = one_scorer.nats(params, candidates)
    assert fill.batches * fill.rows < len(asked)  # packed
    tokens = [len(c.example.token) for c in candidates]
    computed = fill.token_fill * fill.batches * fill.rows * fill.row_tokens
    assert fill.prompt_shared > 0.15 and computed == pytest.approx((1 - fill.prompt_shared) * sum(tokens))
    host = jax.device_get(params)
    for (prompt, response), candidate, found in zip(asked, candidates, nats, strict=True):
        entries, start = slow_scores.sequence(
            builder.vocab, builder.tokenizer, prompt, response, SIZE, grid == "continue"
        )
        expected = slow_scores.nats(host, config.model, entries)
        assert (candidate.response_start, candidate.response_end) == (start, len(entries))
        np.testing.assert_allclose(found[: len(expected)], expected, rtol=1e-5, atol=1e-5)
        for scope, first in (("response", start), ("whole", 2)):
            amount = scorer.amount(builder, candidate, found, 25.0, scope)
            patches = len({patch for _, patch, _ in entries[first:]})
            total = expected[first - 1 :].sum()
            assert (amount.tokens, amount.patches) == (len(entries) - first, patches)
            kinds = {kind for kind, _ in (response if scope == "response" else prompt + response)}
            scores = [total, total / (len(entries) - first), total / patches]
            if kinds == {"speech"}:
                frames = sum(len(c) for _, c in (response if scope == "response" else prompt + response))
                scores.append(total / (frames / 25))
            else:
                assert amount.score("per_second") is None
            np.testing.assert_allclose([-amount.score(rule) for rule in list(RULES)[: len(scores)]], scores, rtol=1e-5)


def test_continuing_differs_from_restarting_only_within_one_modality_and_off_the_grid(opened):
    _, _, params, one_scorer, builder = opened
    rng = np.random.default_rng(2)

    def spoken(frames):
        return ("speech", rng.integers(0, 501, frames))

    response, text = spoken(7), ("text", words(rng, 4))
    pairs = [(spoken(4), response), (spoken(6), response), (text, response), (text, text)]
    both = [
        scorer.candidate(builder, ours([prompt]), ours([answer]), STATIC, grid)
        for prompt, answer in pairs
        for grid in GRIDS
    ]
    found, _ = one_scorer.nats(params, both)
    nats = [scorer.amount(builder, c, n, 25.0).nats for c, n in zip(both, found, strict=True)]
    assert abs(nats[0] - nats[1]) > 1e-3  # one unit of the prompt is left over
    assert nats[2] == pytest.approx(nats[3], rel=1e-6)
    assert nats[4] == nats[5] and nats[6] == nats[7]


@pytest.mark.parametrize("kinds", [("speech", "speech"), ("text", "text"), ("speech", "text"), ("text", "speech")])
def test_rows_are_nine_tenths_real_whatever_is_scored(opened, kinds):
    config, *_, builder = opened
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, row_tokens=640, row_patches=384))
    rng = np.random.default_rng(3)
    asked = [([random_span(rng, kinds[0], 60)], [random_span(rng, kinds[1], 30)]) for _ in range(150)]
    examples = [scorer.candidate(builder, ours(p), ours(r), STATIC).example for p, r in asked]
    data = scorer.fitted(config, examples, 8).data
    assert data.rows % 8 == 0 and data.rows * data.row_tokens <= config.data.rows * config.data.row_tokens
    tokens, units = zip(*[(len(e.token), int(e.patch_start.sum())) for e in examples], strict=True)
    rows = len(scorer.plan_rows(tokens, units, data.row_tokens, data.row_patches))
    rows = -(-rows // data.rows) * data.rows
    assert sum(tokens) >= 0.9 * rows * data.row_tokens and sum(units) >= 0.9 * rows * data.row_patches


def variants():
    wide = small_config()
    wide = dataclasses.replace(
        wide,
        model=dataclasses.replace(
            wide.model,
            encoder_cross_window=3,
            decoder_cross_window=2,
            encoder_cross_all_layers=True,
            patch_encoder=dataclasses.replace(wide.model.patch_encoder, layers=2),
            attention_block=16,
            scan_layers=True,
        ),
    )
    return {
        "wide windows": wide,
        "base": synthetic_data.make_config(units=160, rows=8, strategy="none"),
        "bypass": small_config(speech_tokens=96),
        "pieces": synthetic_data.make_bpe_config(rows=8),
    }


@pytest.mark.parametrize(
    "name",  # "pieces" is of Base, too
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "base")) for name in variants()],
)
def test_a_shared_prompt_changes_no_likelihood(name):
    config = variants()[name]
    mesh = sharding.make_mesh(config.mesh)
    params, builder = random_params(config, mesh), make_builder(config)
    rule = strategy_of(config.data.patching).inference_rule
    candidates = [
        scorer.candidate(builder, ours(p), ours(r), rule, grid) for p, r in questions(4, 10) for grid in GRIDS
    ]
    together, fill = scorer.Scorer(config, mesh).nats(params, candidates)
    assert fill.prompt_shared > 0.15 > fill.prompt_again
    model = update.build_model(config, mesh)
    alone, apart = scorer.packed_values(
        update.make_eval_step(config, model, mesh, token_frames(config)), params, candidates, config, mesh
    )
    assert apart.prompt_shared == 0 and apart.prompt_again > 0.15
    for ours_, theirs in zip(together, alone[0], strict=True):
        np.testing.assert_allclose(ours_, theirs, rtol=1e-5, atol=1e-5)


def test_a_sequence_that_is_there_twice_is_computed_once_and_so_is_a_prompt(opened):
    *_, params, one_scorer, builder = opened
    prompt, responses = [Text("the river little")], [[Text("little")], [Text("winding path")], [Text("little")]]
    candidates = [scorer.candidate(builder, prompt, response, STATIC) for response in responses]
    nats, fill = one_scorer.nats(params, candidates)
    assert (fill.sequences, fill.distinct) == (3, 2)
    np.testing.assert_array_equal(nats[0], nats[2])
    tokens = len(candidates[0].example.token) + len(candidates[1].example.token)
    fork = candidates[0].response_start - 1  # the last piece of the prompt stands in each branch
    assert fork >= shared_prompts.LEAST and fill.prompt_shared == pytest.approx(fork / tokens)
    assert fill.prompt_again == pytest.approx(1 / (tokens - fork))


def test_trees_keep_to_the_limits_and_lose_no_token(opened):
    builder = opened[4]
    asked = [([Speech(np.arange(30, dtype=np.uint16))], [Text("little " * n)]) for n in range(1, 9)]
    candidates = [scorer.candidate(builder, *one, STATIC) for one in asked]
    examples, starts = [c.example for c in candidates], [c.response_start for c in candidates]
    for most in ((0, 0), (80, 500), (500, 40), (500, 500)):
        trees = shared_prompts.group_by_prompt(examples, starts, *most)
        assert sorted(number for tree in trees for number, _ in tree.members) == list(range(8))
        for tree in trees:
            assert len(tree.members) == 1 or (
                len(tree.branch_n) <= most[0] and tree.example.patch_start.sum() <= most[1]
            )
            for number, place in tree.members:
                np.testing.assert_array_equal(tree.example.token[place], examples[number].token)
                np.testing.assert_array_equal(tree.example.patch_end[place], examples[number].patch_end)
                assert set(np.unique(tree.branch_n[place])) <= {0, int(tree.branch_n[place[-1]])}
    assert len(trees) == 1 and len(shared_prompts.group_by_prompt(examples, starts, 0, 0)) == 8


def test_continued_aligned_patches_join_the_silences_and_need_words(opened):
    builder = opened[4]
    prompt = Speech(np.arange(6, dtype=np.uint16), (Word("a", 1, 4),))
    response = Speech(np.arange(5, dtype=np.uint16), (Word("b", 2, 5),))
    starts = {
        grid: np.flatnonzero(scorer.candidate(builder, [prompt], [response], AlignedRule(), grid).example.patch_start)
        for grid in GRIDS
    }
    #     BOS <s> 0 | 1 2 3 | 4 5 (0 1) | 2 3 4 EOS
    assert starts["continue"].tolist() == [0, 1, 2, 3, 6, 10, 13]
    assert starts["restart"].tolist() == [0, 1, 2, 3, 6, 8, 10, 13]
    with pytest.raises(DataError, match="patches follow aligned words"):
        scorer.candidate(builder, [prompt], [response._replace(words=None)], AlignedRule())


def test_an_empty_response_and_one_that_no_row_holds_are_refused(opened):
    config, mesh, params, _, builder = opened
    with pytest.raises(DataError, match="empty"):
        scorer.candidate(builder, [Text("the")], [Text("")], STATIC)
    long = scorer.candidate(builder, [], [Speech(np.zeros(240, np.uint16))], STATIC)
    with pytest.raises(DataError, match="does not fit a row"):
        scorer.packed_values(None, params, [long], config, mesh)
    assert scorer.fitted(config, [long.example], 8).data.row_tokens >= 243  # rows of its own are as long as need be


def test_a_response_can_be_shortened_to_what_a_row_holds(opened):
    config, *_, builder = opened
    long = scorer.candidate(builder, [Text("the river")], [Speech(np.zeros(240, np.uint16))], STATIC)
    short = scorer.shortened(config, long)
    assert short.response_end == len(short.example.token) == config.data.row_tokens
    np.testing.assert_array_equal(short.example.patch_start, long.example.patch_start[: config.data.row_tokens])
    assert scorer.shortened(config, short) is short
    assert scorer.shortened(config, dataclasses.replace(long, response_start=200)) is None
