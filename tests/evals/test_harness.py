"""The adapter for lm-evaluation-harness: its numbers are the scorer's; run by the harness where that is installed."""

import functools
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import saved_run

from lst_jax.checkpoints.trained_model import load_trained_model
from lst_jax.core.errors import DataError
from lst_jax.data.patching import EachUnitRule
from lst_jax.evals import harness, scorer
from lst_jax.evals.scorer import Text
from lst_jax.model.architectures import registry

PAIRS = [
    ("the river of", " little stream"),
    ("the river of ", "pleasant time"),
    ("winding", " path waded"),
    ("", "the followed"),
    ("he was", ""),
]
LENGTH = 32  # of rows of the whole forward


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return saved_run.make(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def texts(run):
    return harness.RunTexts(load_trained_model(run))


def test_loglikelihoods_are_the_scorer_s_and_greedy_is_what_dense_logits_say(run, texts):
    opened = load_trained_model(run)
    found = texts.loglikelihood(PAIRS)
    candidates = [
        scorer.candidate(texts.builder, [Text(a)] if a else [], [Text(b)], EachUnitRule()) for a, b in PAIRS[:4]
    ]
    nats, _ = scorer.Scorer(opened.config, opened.mesh).nats(opened.params, candidates)
    expected = [-scorer.amount(texts.builder, c, n, 25.0).nats for c, n in zip(candidates, nats, strict=True)]
    np.testing.assert_allclose([value for value, _ in found[:4]], expected, rtol=1e-6)
    assert found[4] == (0.0, True)
    tokens = np.array(texts.builder.tokenizer.encode("the river of"), np.int32)
    best = int(np.argmax(next_logits(opened, texts, tokens)))
    continuation = texts._score_tokens([(tokens, np.array([best], np.int32)), (tokens, np.array([best - 1], np.int32))])
    assert [flag for _, flag in continuation] == [True, False]


def test_a_continuation_that_shares_a_piece_with_its_context_has_pieces_of_its_own(texts):
    """Joint pieces cannot be parted there; once such a continuation counted as certain: (0.0, True)."""
    tokenizer, text, spanning = texts.builder.tokenizer, "the river of little path", []
    for cut in range(1, len(text)):
        context, continuation = text[:cut], text[cut:]
        prompt, response = texts._parted(context, continuation)
        blanks = len(context) - len(context.rstrip())
        assert prompt.tolist() == tokenizer.encode(context.rstrip())
        assert "".join(tokenizer.id_to_piece(response.tolist())).replace("▁", " ") == " " * blanks + continuation
        if prompt.tolist() + response.tolist() != tokenizer.encode(text):
            spanning.append((context, continuation))
    assert len(spanning) > 5
    assert all(value < 0 for value, _ in texts.loglikelihood(spanning[:4]))


def test_blanks_alone_are_refused_as_they_have_no_pieces(texts):
    with pytest.raises(DataError, match="the continuation ' ' has no pieces; leave the item out"):
        texts.loglikelihood([("he was", " ")])


@functools.cache
def whole_forward(config):
    return jax.jit(registry.build(config.model, config.joint_vocab, LENGTH))


def next_logits(opened, texts, token):
    """Logits [V] of what follows BOS <t> and these tokens, by the model's whole forward."""
    n = len(token) + 2
    rows = np.zeros((2, 1, LENGTH), np.int32)  # tokens, and 1 where there is one
    rows[0, 0, :n], rows[1, 0, :n] = [1, texts.builder.vocab.text_marker, *token], 1
    logits_BTV = whole_forward(opened.config)(jax.device_get(opened.params), *rows, rows[1] > 0, rows[1] > 0)
    return np.array(logits_BTV)[0, n - 1]


def test_greedy_continuations_are_those_of_whole_forwards_and_end_where_they_should(run, texts, monkeypatch):
    monkeypatch.setattr(harness, "ROUND", 3)
    opened, decode, contexts = load_trained_model(run), texts.builder.tokenizer.decode, ["the river of", "he was", ""]
    found = texts.generate([(context, [], 7) for context in contexts] + [("he was", [], 0)])
    assert found[3] == ""
    for context, text in zip(contexts, found, strict=False):
        token = texts.builder.tokenizer.encode(context)
        start = len(token)
        while len(token) < start + 7:
            logits_V = next_logits(opened, texts, np.array(token, np.int32))
            logits_V[[0, 1]] = -np.inf  # neither padding nor BOS is generated
            if len(token) == 0:
                logits_V[2] = -np.inf  # nor an empty run
            best = int(np.argmax(logits_V[: opened.config.vocab.text_size]))
            if best == 2:
                break
            token.append(best)
        assert text == decode(token[start:])  # without a blank in front, as the harness's own models
    whole = max(found, key=len)
    stop = whole[len(whole) // 2 :][:2]
    context = contexts[found.index(whole)]
    assert texts.generate([(context, [stop], 7)]) == [whole[: whole.find(stop)]]
    assert texts.generate([(context, [""], 7)]) == [whole]


@pytest.mark.parametrize(
    ("settings", "tokens"),
    [({}, 256), ({"max_new_tokens": 7}, 7), ({"max_tokens": 5, "max_gen_toks": 9}, 9), ({"max_gen_toks": None}, 256)],
)
def test_the_length_of_an_answer_has_the_harness_s_names(settings, tokens):
    assert harness.longest_answer(settings) == tokens


def test_rolling_is_the_whole_text_in_windows(texts):
    text = "the river of little path " * 40
    tokens = len(texts.builder.tokenizer.encode(text))
    assert tokens > texts.limit
    short = "the river of little path"
    whole = texts.loglikelihood([("", short)])[0][0]
    np.testing.assert_allclose(texts.rolling([short, text])[0], whole, rtol=1e-6)
    sizes = []
    original = texts._score_tokens
    texts._score_tokens = lambda pairs: sizes.extend((len(a), len(b)) for a, b in pairs) or original(pairs)
    assert texts.rolling([text])[0] < whole
    del texts._score_tokens
    assert sum(size for _, size in sizes) == tokens and [before for before, _ in sizes] == [0] + [1] * (len(sizes) - 1)


def test_a_context_that_is_too_long_loses_its_beginning(texts):
    long = "the river of little path " * 60
    prompt, response = texts._parted(long, " winding")
    assert len(prompt) + len(response) == texts.limit
    np.testing.assert_array_equal(prompt, texts.builder.tokenizer.encode(long.rstrip())[-len(prompt) :])


def test_the_harness_runs_a_local_task_and_gets_the_scorer_s_choices(run, tmp_path):
    pytest.importorskip("lm_eval", reason="the extra harness is not installed")
    questions = [
        ("the river of", ["little stream", "time"], 0),
        ("he was", ["winding path", "the"], 1),
        ("she followed", ["a pleasant river", "it"], 0),
    ]
    lines = [json.dumps({"q": q, "c": c, "gold": gold}) for q, c, gold in questions]
    (tmp_path / "docs.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "local_choice.yaml").write_text(f"""
task: local_choice
dataset_path: json
dataset_kwargs:
  data_files:
    test: {tmp_path / "docs.jsonl"}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{q}}}}"
doc_to_choice: c
doc_to_target: gold
metric_list:
  - metric: acc
""")
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "lst_jax.evals.harness",
            "--model",
            "lst",
            "--model_args",
            f"run={run.path}",
            "--tasks",
            "local_choice",
            "--include_path",
            str(tmp_path),
            "--output_path",
            str(tmp_path / "out"),
            "--log_samples",
        ],
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path)},
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    (samples,) = (tmp_path / "out").glob("**/samples_local_choice*.jsonl")
    lines = sorted((json.loads(line) for line in samples.read_text().splitlines()), key=lambda one: one["doc_id"])
    opened, texts = load_trained_model(run), harness.RunTexts(load_trained_model(run))
    candidates = [
        scorer.candidate(texts.builder, [Text(q)], [Text(c)], EachUnitRule()) for q, cs, _ in questions for c in cs
    ]
    nats, _ = scorer.Scorer(opened.config, opened.mesh).nats(opened.params, candidates)
    expected = [-scorer.amount(texts.builder, c, n, 25.0).nats for c, n in zip(candidates, nats, strict=True)]
    found = [float(response[0]) for one in lines for response in one["filtered_resps"]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
