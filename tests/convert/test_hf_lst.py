"""An LST as a directory for `transformers` computes what ours does, whole and step by step; needs torch.

What the directory needs of this package is nothing: see `test_a_fresh_process_without_this_package_runs_the_directory`.
"""

import copy
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import saved_run
from hf_lst_cases import (
    KINDS,
    LENGTH,
    MODELS,
    SIZE,
    VOCAB,
    boundaries,
    built,
    config_of,
    document,
    documents,
    expected,
    rows_of,
    source_of,
)

from lst_jax.checkpoints.trained_model import load_trained_model
from lst_jax.convert import hf_lst
from lst_jax.core.vocab import EOS_ID
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.patching import StaticRule
from lst_jax.data.pipeline import open_tokenizer
from lst_jax.evals import harness, scorer
from lst_jax.evals.conventions import GRIDS
from lst_jax.evals.global_states import global_states
from lst_jax.evals.scorer import Speech, Text
from lst_jax.generate import generator, loop
from lst_jax.generate.sampling import Numbers, allowed_ids
from lst_jax.model.cached_model import cached_model
from lst_jax.parallel.sharding import one_device

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

TOLERANCE = 2e-5  # logits are of the order of 1


def left_padded(tokens):
    """(ids, mask) [B, T] with every row's last token in the last column; padding is an ordinary id."""
    length = max(map(len, tokens))
    ids, mask = torch.full((len(tokens), length), VOCAB.unit_offset + 1), torch.zeros(len(tokens), length).long()
    for i, token in enumerate(tokens):
        ids[i, length - len(token) :] = torch.tensor(token)
        mask[i, length - len(token) :] = 1
    return ids, mask


@pytest.mark.parametrize("name", MODELS)
def test_every_logit_is_ours(name, load):
    for token, wanted in zip(documents(), expected(name), strict=True):
        got = load(name)(torch.tensor(token)[None].long()).logits[0].numpy()
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, wanted[: len(token)], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_padding_at_either_side_or_between_changes_nothing(name, load):
    model, wanted = load(name), expected(name)
    ids, mask = left_padded(documents())
    got = model(ids, mask).logits
    behind = torch.tensor(rows_of(documents())[0]).long()
    got_behind = model(behind, (behind != 0).long()).logits
    unmasked = model(behind).logits  # as evaluation harnesses do: what stands behind is read and not looked at
    for i, token in enumerate(documents()):
        n = len(token)
        np.testing.assert_allclose(got[i, -n:], wanted[i, :n], atol=TOLERANCE, rtol=0)
        np.testing.assert_allclose(got_behind[i, :n], wanted[i, :n], atol=TOLERANCE, rtol=0)
        np.testing.assert_allclose(unmasked[i, :n], wanted[i, :n], atol=TOLERANCE, rtol=0)
    token = torch.tensor(documents()[2])
    holes = torch.repeat_interleave(token, 2).long()[None]
    got = model(holes, torch.tensor([[1, 0] * len(token)])).logits[0, ::2]
    np.testing.assert_allclose(got, wanted[2, : len(token)], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("chunk", [1, 3])
def test_cached_steps_give_the_logits_of_the_whole_forward(name, chunk, load):
    """Rows at different places of their patches, behind prompts that end anywhere, left-padded in one batch."""
    model, wanted, rng = load(name), expected(name), np.random.default_rng(1)
    for prompts in ([1] * len(KINDS), *([int(rng.integers(1, len(d) - 1)) for d in documents()] for _ in range(4))):
        ids, mask = left_padded([d[:n] for d, n in zip(documents(), prompts, strict=True)])
        out = model(ids, mask, use_cache=True)
        got = [out.logits[:, -1]]
        rest = rows_of([d[n:] for d, n in zip(documents(), prompts, strict=True)])[0]
        for start in range(0, LENGTH, chunk):
            new = torch.tensor(rest[:, start : start + chunk]).long()
            mask = torch.cat([mask, torch.ones_like(new)], 1)
            out = model(new, mask, past_key_values=out.past_key_values, use_cache=True)
            got += out.logits.unbind(1)
        got = torch.stack(got, 1).numpy()
        for i, (n, token) in enumerate(zip(prompts, documents(), strict=True)):
            np.testing.assert_allclose(
                got[i, : len(token) - n + 1], wanted[i, n - 1 : len(token)], atol=TOLERANCE, rtol=0
            )


def test_the_global_transformer_steps_once_a_patch(load):
    model, token = load("two-queries"), torch.tensor(documents()[4])[None].long()
    seen = []
    layer = model.global_transformer.layers[0]
    handle = layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    cache = None
    for column in token.unbind(1):
        cache = model(column[:, None], past_key_values=cache, use_cache=True).past_key_values
    handle.remove()
    start, _ = boundaries(documents()[4])
    # a marker behind a short last patch ends two
    assert sum(seen) == start.sum() and len(seen) == sum(1 <= n <= 2 for n in seen) < start.sum() < token.shape[1]


@pytest.mark.parametrize("name", MODELS)
def test_no_later_token_changes_a_logit(name, load):
    """Neither its id nor its kind: a marker behind a short last patch, or units that fill it."""
    model, rng = load(name), np.random.default_rng(3)
    for _ in range(10):
        one, other = (document(rng, "sts") for _ in range(2))
        n = int(rng.integers(1, len(one) - 1))
        for behind in (other[-4:], [VOCAB.text_marker, 5, 6, 7], [VOCAB.unit_offset + 2] * 4):
            logits = [
                model(torch.tensor(np.append(one[:n], end))[None].long()).logits[0, :n]
                for end in (one[n : n + 4], behind)
            ]
            np.testing.assert_allclose(*logits, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", [name for name in MODELS if "bypass" not in name])  # that one embeds by patch
def test_no_gradient_flows_back_from_an_earlier_logit(name, load):
    model, token = load(name), torch.tensor(documents()[2])[None].long()
    entered = []
    handle = model.get_input_embeddings().register_forward_hook(lambda *call: entered.append(call[-1].requires_grad_()))
    logits = model(token).logits
    handle.remove()
    for t in range(token.shape[1] - 1):
        (gradient,) = torch.autograd.grad(logits[0, t].square().sum(), entered[0], retain_graph=True)
        assert gradient[0, t].abs().max() > 0 and not gradient[0, t + 1 :].any()
        assert torch.isfinite(gradient).all()


def test_a_loss_is_the_mean_over_the_tokens_behind_the_first_and_not_masked(load):
    token = torch.tensor(documents()[2])[None].long()
    labels = token.clone()
    labels[0, :4] = -100
    out = load("two-queries")(token, labels=labels)
    nll = -out.logits[0].log_softmax(-1)[torch.arange(3, token.shape[1] - 1), token[0, 4:]]
    assert out.loss.item() == pytest.approx(nll.mean().item(), rel=1e-5)


class Allowed(transformers.LogitsProcessor):
    """What `lst generate` lets follow a token."""

    def __init__(self, output):
        self.may_CV = torch.tensor(allowed_ids(VOCAB, output, VOCAB.unit_slots))

    def __call__(self, input_ids, scores):
        last_B = input_ids[:, -1]
        edges = [last_B == 1, last_B < VOCAB.text_size, last_B == VOCAB.text_marker, last_B == VOCAB.speech_marker]
        state_B = torch.stack([*edges, torch.ones_like(edges[0])], 1).int().argmax(1)
        return scores.masked_fill(~self.may_CV[state_B], -torch.inf)


def our_greedy(name, prompts, output, room):
    """Tokens that `lst generate` gives behind each prompt."""
    model, params = built(name)
    decoder, rows = cached_model(model, SIZE), tuple(rows_of(prompts))
    b = len(prompts)
    limits = loop.Limits(np.full(b, room, np.int32), np.full(b, np.inf, np.float32), np.zeros(VOCAB.size, np.float32))
    found, *_ = generator.continue_rows(
        decoder,
        one_device(),
        VOCAB,
        generator.Settings(LENGTH, LENGTH + room + 1, room, False),
        params,
        rows,
        limits,
        np.zeros(b, np.uint32),
        allowed_ids(VOCAB, output, VOCAB.unit_slots),
        Numbers(0.0, 0, 1.0),
    )
    return [np.asarray(found.tokens_BN)[i, : found.number_B[i]].tolist() for i in range(b)]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("output", ["free", "speech"])
def test_generate_is_our_greedy_generation(name, output, load):
    rng, room = np.random.default_rng(5), 25
    endings = (1, 2, 5, 6)
    prompts = (
        [document(rng, kinds)[:-1] for kinds in ("s", "ts", "st", "ssts")]
        if output == "free"
        else [document(rng, "ts")[:-n] for n in endings]
    )
    prompts = [
        p if output == "free" or p[-1] >= VOCAB.speech_marker else np.append(p, VOCAB.speech_marker) for p in prompts
    ]
    ids, mask = left_padded(prompts)
    got = (
        load(name)
        .generate(ids, attention_mask=mask, max_new_tokens=room, do_sample=False, logits_processor=[Allowed(output)])[
            :, ids.shape[1] :
        ]
        .tolist()
    )
    wanted = our_greedy(name, prompts, output, room)
    for ours, theirs in zip(wanted, got, strict=True):
        assert theirs[: len(ours)] == ours and (len(ours) == room or ours[-1] == EOS_ID)
    assert len({tuple(x) for x in wanted}) > 1


def test_beams_with_a_cache_are_those_without(load):
    ids, mask = left_padded([d[:n] for d, n in zip(documents(), (3, 9, 8, 5, 7, 4), strict=True)])
    both = [
        load("wider-windows").generate(ids, attention_mask=mask, max_new_tokens=12, num_beams=3, use_cache=cached)
        for cached in (True, False)
    ]
    assert torch.equal(*both)


def test_one_prompt_s_cache_serves_many_answers(load):
    model, token = load("two-queries"), torch.tensor(documents()[2]).long()
    cache = model(token[None, :6], use_cache=True).past_key_values
    answers = torch.stack([token[6:12], token[6:12].flip(0)])
    many = copy.deepcopy(cache)
    many.reorder_cache(torch.tensor([0, 0]))
    got = model(answers, past_key_values=many).logits
    for row, answer in zip(got, answers, strict=True):
        whole = model(torch.cat([token[:6], answer])[None]).logits[0, 6:]
        np.testing.assert_allclose(row, whole, atol=TOLERANCE, rtol=0)
    assert cache.get_seq_length() == 6 and many.get_seq_length() == 12


def test_what_the_model_cannot_use_is_refused_in_a_line(load):
    model, token = load("two-queries"), torch.tensor(documents()[0])[None].long()
    with pytest.raises(ValueError, match="^past_key_values: must be what an earlier call returned, is a DynamicCache;"):
        model(token, past_key_values=transformers.DynamicCache())
    with pytest.raises(ValueError, match="^attention_mask: must be .B, T., has 4 axes "):
        model(token, torch.ones(1, 1, token.shape[1], token.shape[1]))


def test_servers_that_would_put_their_own_attention_in_its_place_are_told_not_to(load):
    """vLLM and SGLang take models of this mark; their attention has one key per token, and no patches."""
    model = load("two-queries")
    assert not model.is_backend_compatible()
    assert model.config.auto_map.keys() == {"AutoConfig", "AutoModelForCausalLM"}


@pytest.mark.parametrize("name", ["wider-windows", "bypass"])
def test_hidden_states_are_those_of_our_global_transformer(name, load):
    """Patch by patch; in steps each patch comes in the call in which it ends."""
    rows, config = [jnp.asarray(x) for x in rows_of(documents())], config_of(MODELS[name])
    params = jax.tree.map(jnp.asarray, built(name)[1])
    states_NBUD, patch_BT = global_states(config, params, *rows)
    model, token = load(name), documents()[4]
    wanted_NUD = np.asarray(states_NBUD)[:, 4, : patch_BT[4, len(token) - 1] + 1]
    out = model(torch.tensor(token)[None].long(), output_hidden_states=True)
    np.testing.assert_allclose(torch.stack(out.patch_states)[:, 0], wanted_NUD, atol=TOLERANCE, rtol=0)
    assert out.patch_numbers[0].tolist() == list(range(wanted_NUD.shape[1]))
    np.testing.assert_array_equal(out.token_patches[0], patch_BT[4, : len(token)])
    layers = MODELS[name].patch_encoder.layers + MODELS[name].patch_decoder.layers
    assert [x.shape[1] for x in out.hidden_states] == [len(token)] * (1 + layers)
    cache, found = None, []
    for column in torch.tensor(token)[None].long().unbind(1):
        out = model(column[:, None], past_key_values=cache, use_cache=True, output_hidden_states=True)
        cache, found = out.past_key_values, [*found, *torch.stack(out.patch_states)[:, 0].unbind(1)]
    np.testing.assert_allclose(torch.stack(found, 1), wanted_NUD, atol=TOLERANCE, rtol=0)


def test_a_window_costs_no_more_than_its_length(load):
    """Peak memory of attention grows with the length, not with its square: no array is larger than the states are."""
    model = load("two-queries")
    largest = {}
    for length in (512, 2048):
        token, sizes = torch.full((1, length), VOCAB.unit_offset), []
        with ArraySizes(sizes):
            model(token)
        largest[length] = max(sizes)
    assert largest[2048] <= 4.5 * largest[512]


class ArraySizes(TorchDispatchMode):
    """Notes the size of every array that an operation makes."""

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.sizes += [x.numel() for x in (out if isinstance(out, tuple | list) else [out]) if hasattr(x, "numel")]
        return out


@pytest.fixture(scope="module")
def scored(folders, tmp_path_factory):
    """A run opened for evaluation, and its directory for transformers as model and tokenizer."""
    opened, out = load_trained_model(saved_run.make(tmp_path_factory.mktemp("run"))), tmp_path_factory.mktemp("hf")
    hf_lst.write(source_of(opened.config, jax.device_get(opened.params)), out)
    auto, arguments = transformers.AutoModelForCausalLM, {"trust_remote_code": True}
    return opened, auto.from_pretrained(out, **arguments), transformers.AutoTokenizer.from_pretrained(out, **arguments)


def harness_loop(model, pairs, starts=None):
    """(nats of each continuation behind its context, whether it is greedy), as lm-evaluation-harness asks a model: a
    batch padded behind with 0, without a mask. `starts` are those of the patches, where they are given."""
    pad = functools.partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    rows = [torch.tensor([*context, *continuation])[:-1].long() for context, continuation in pairs]
    given = [torch.tensor(x[: len(row)]) for x, row in zip(starts or [], rows, strict=bool(starts))]
    with torch.no_grad():
        logits = model(pad(rows), patch_starts=pad(given) if given else None).logits.log_softmax(-1)
    found = []
    for (context, continuation), row in zip(pairs, logits, strict=True):
        row, token = row[len(context) - 1 :][: len(continuation)], torch.tensor(continuation).long()
        found.append((row.gather(1, token[:, None]).sum().item(), bool((row.argmax(-1) == token).all())))
    return found


def test_a_harness_s_loop_over_texts_gives_the_scores_of_ours(scored):
    opened, model, tokenizer = scored
    texts = harness.RunTexts(opened)
    pairs = [("the river of", " little stream"), ("winding", " path waded"), ("the", " followed the river in time")]
    first = [tokenizer.encode(context) for context, _ in pairs]
    whole = [tokenizer.encode(context + continuation) for context, continuation in pairs]
    asked = [(a, b[len(a) :]) for a, b in zip(first, whole, strict=True)]
    with torch.no_grad():
        best = model(torch.tensor([first[0]])).logits[0, -1].argmax().item()
    found = harness_loop(model, [*asked, (first[0], [best])])
    wanted = texts.loglikelihood(pairs)
    np.testing.assert_allclose([x for x, _ in found[:-1]], [x for x, _ in wanted], rtol=1e-5)
    assert [greedy for _, greedy in found] == [*(greedy for _, greedy in wanted), True]


def test_a_harness_s_loop_over_speech_and_text_gives_the_scores_of_ours(scored):
    opened, model, _ = scored
    builder, rng = ExampleBuilder.of(opened.config, open_tokenizer(opened.config)), np.random.default_rng(2)
    size = opened.config.data.patching.static_size

    def spoken(frames):
        return Speech(rng.integers(0, 501, frames).astype(np.uint16))

    spans = [Text("the river of"), spoken(7), Text("winding path"), spoken(3)]
    candidates = [
        scorer.candidate(builder, prompt, [response], StaticRule(size), grid)
        for prompt in (spans[:1], spans[1:2], spans[:2], spans[:3])
        for response in (Text("little stream"), spoken(9), spoken(6))
        for grid in GRIDS
    ]
    nats, _ = scorer.Scorer(opened.config, opened.mesh).nats(opened.params, candidates)
    wanted = [-scorer.amount(builder, one, n, 25.0).nats for one, n in zip(candidates, nats, strict=True)]
    pairs = [
        (one.example.token[: one.response_start], one.example.token[one.response_start : one.response_end])
        for one in candidates
    ]
    starts = [one.example.patch_start for one in candidates]
    np.testing.assert_allclose([x for x, _ in harness_loop(model, pairs, starts)], wanted, rtol=1e-5)
    # that a response begins its patches anew in the run that its prompt ends in, ids alone do not say
    own = [np.array_equal(x, boundaries(one.example.token, size)[0]) for x, one in zip(starts, candidates, strict=True)]
    assert sum(own) == len(candidates) - 4
    found = [x for x, _ in harness_loop(model, pairs)]
    np.testing.assert_allclose(np.array(found)[own], np.array(wanted)[own], rtol=1e-5)
