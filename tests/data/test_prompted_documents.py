"""Documents for adaptation (`data.documents` "asr" and "tts"): a prompt in one modality and its answer in the other."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from synthetic_data import TEXT_SIZE, config_over, make_config, texts, tokenizer, utterance, write_both
from test_rows import make_rows, pieces_of

from lst_jax.config import SourceConfig
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.core.vocab import BOS_ID, EOS_ID, Vocab
from lst_jax.data import packing
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.interleave import PROMPTED
from lst_jax.data.patching import AlignedRule, StaticRule, strategy_of
from lst_jax.data.records import Utterance, Word
from lst_jax.data.rows import ORDINAL
from lst_jax.recipes.validate import validate

VOCAB = Vocab(TEXT_SIZE, 502)
T, S, OFFSET = VOCAB.text_marker, VOCAB.speech_marker, VOCAB.unit_offset
RECORD = Utterance("u", np.arange(8, dtype=np.uint16) * 10, (Word("the", 2, 5), Word("river", 6, 8)), None, None)
ONE_SOURCE = (SourceConfig("a", "utterance", "a", 1.0),)
TEXT = tokenizer().encode("the river")
UNITS = list(range(OFFSET, OFFSET + 80, 10))


STATIC = StaticRule(3)


def example(documents, rule=STATIC):
    spans = PROMPTED[documents](RECORD)
    return ExampleBuilder(VOCAB, tokenizer()).interleaved(RECORD, spans, rule, prompted=True)


def test_recognition_is_speech_then_its_text_and_learns_text_and_eos():
    made = example("asr")
    assert made.token.tolist() == [BOS_ID, S, *UNITS, T, *TEXT, EOS_ID]
    assert np.flatnonzero(made.patch_start[:12]).tolist() == [0, 1, 2, 5, 8, 10, 11]  # of 3, 3 and 2 units
    assert np.flatnonzero(made.patch_end[:12]).tolist() == [0, 1, 4, 7, 10, 11]  # that the short one ends is not known
    assert made.token[made.loss_from :].tolist() == [*TEXT, EOS_ID]


def test_synthesis_is_text_then_its_speech_and_learns_units_and_eos():
    made = example("tts", AlignedRule())
    assert made.token.tolist() == [BOS_ID, T, *TEXT, S, *UNITS, EOS_ID]
    speech = slice(3 + len(TEXT), -1)
    assert np.flatnonzero(made.patch_start[speech]).tolist() == [0, 2, 5, 6]
    assert made.token[made.loss_from :].tolist() == [*UNITS, EOS_ID]
    prompt = made.tail(0, made.loss_from)
    assert prompt.token.tolist() == [BOS_ID, T, *TEXT, S] and prompt.loss_from == made.loss_from


def build(config, record):
    rule = strategy_of(config.data.patching).inference_rule
    spans = PROMPTED[config.data.documents](record)
    return ExampleBuilder.of(config, tokenizer()).interleaved(record, spans, rule, prompted=True)


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(
    st.integers(60, 400),
    st.floats(0.4, 1.0),
    st.integers(1, 3),
    st.sampled_from(["asr", "tts"]),
    st.sampled_from(["static", "none"]),
    st.integers(0, 50),
)
def test_rows_hold_whole_documents_in_the_streams_order_and_weigh_answers_only(
    tokens, share, rows, documents, strategy, seed
):
    units = tokens if strategy == "none" else max(40, int(share * tokens))
    records = [[utterance(i, 1 + i % 13) for i in range(12)]]
    config = make_config(tokens, units, rows, strategy, sources=ONE_SOURCE, documents=documents, seed=seed)
    known = {build(config, r).token.tobytes(): build(config, r) for r in records[0]}
    row = seed % rows
    made = make_rows(config, records, row, 8)
    read = 0
    for batch, stats, state in made:
        assert batch.patch_start_BT.sum() <= units and stats["pieces_cut"] == stats["markers_repeated"] == 0
        pieces = pieces_of(batch)
        for first, end in pieces:
            document = known[batch.token_BT[first:end].tobytes()]
            np.testing.assert_array_equal(batch.patch_start_BT[first:end], document.patch_start)
            np.testing.assert_array_equal(batch.patch_end_BT[first:end], document.patch_end)
            learned = np.append(np.arange(1, end - first) >= document.loss_from, False)
            np.testing.assert_array_equal(batch.weight_BT[first:end], learned)
        assert not batch.weight_BT[batch.doc_id_BT == 0].any()
        read += len(pieces) + int(stats["utterances_skipped"])
        assert state[0, ORDINAL] == read


def test_what_no_row_holds_or_has_no_words_is_counted_and_left_out():
    long, silent, short = utterance(1, 60), utterance(2, 0), utterance(3, 4)
    config = make_config(100, 100, 1, sources=ONE_SOURCE, documents="asr", strategy="static")
    assert len(build(config, long).token) > 100 > len(build(config, short).token)
    made = make_rows(config, [[long, silent, short]], 0, 30)
    tokens = {batch.token_BT[a:b].tobytes() for batch, _, _ in made for a, b in pieces_of(batch)}
    assert tokens == {build(config, short).token.tobytes()}
    skipped, opened = (sum(int(s[key]) for _, s, _ in made) for key in ("utterances_skipped", "utterances_opened"))
    assert opened >= 30 and skipped == pytest.approx(2 * opened, abs=3)


def test_a_source_of_which_hardly_any_utterance_fits_is_refused_in_one_line():
    config = make_config(40, 40, 1, sources=ONE_SOURCE, documents="tts")
    with pytest.raises(
        DataError,
        match="a: 1000 utterances in a row have no words, or do not fit "
        "data.row_tokens=40 and .*='tts' cuts none; use longer rows",
    ):
        make_rows(config, [[utterance(1, 60)]], 0, 1)


def test_restoring_in_the_middle_goes_on_the_same():
    records = [[utterance(i, 1 + i % 13) for i in range(12)]]
    config = make_config(120, 90, 2, "curriculum", sources=ONE_SOURCE, documents="asr")
    made = make_rows(config, records, 1, 10)
    for number in (3, 7):
        again = make_rows(config, records, 1, 10 - number, made[number - 1][2], number)
        for (ours, _, _), (theirs, _, _) in zip(again, made[number:], strict=True):
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(a, b)


def test_beside_texts_the_mixture_stays_exact():
    config = make_config(320, 256, 1, "static", documents="asr")
    records = [[utterance(i, 1 + i % 13) for i in range(12)], texts(17)]
    made = make_rows(config, records, 0, 200)
    consumed = sum(s["source_tokens"] for _, s, _ in made)
    assert consumed[0] / consumed.sum() == pytest.approx(1 / 3, abs=0.01)
    assert np.mean([s["tokens"] / 320 for _, s, _ in made]) > 0.9


@pytest.mark.parametrize("documents", ["asr", "tts"])
def test_held_out_utterances_take_the_same_form_whole_and_in_order(tmp_path, documents):
    config = config_over(write_both(tmp_path), documents=documents, tokens=1200, units=600, rows=2)
    source, vocab = config.data.sources[0], config.joint_vocab
    records = list(packing.open_source(source, config))
    got = [
        row
        for batch, _ in packing.eval_batches(source, config, StaticRule(4), 100, documents)
        for row in zip(*batch, strict=True)
    ]
    pieces = [
        (token[doc == n], weight[doc == n]) for token, _, weight, doc, _, _ in got for n in range(1, doc.max() + 1)
    ]
    assert len(pieces) == len(records)
    for token, weight in pieces:
        marker = vocab.text_marker if documents == "asr" else vocab.speech_marker
        answer = int(np.flatnonzero(token == marker)[0])
        assert not weight[:answer].any() and weight[answer:-1].all()


def test_adaptation_needs_utterances():
    with pytest.raises(ConfigError, match="data.documents='asr': is about utterances, and data.sources has none"):
        validate(make_config(sources=(SourceConfig("b", "text", "b", 1.0),), documents="asr"))
