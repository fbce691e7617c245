"""An hour of speech: one document of a long row, or cut where its share of the row ends, and carried on."""

import dataclasses

import numpy as np
import pytest
from synthetic_data import make_config, texts, tokenizer, utterance, write_both, write_directory

from lst_jax.config import SourceConfig
from lst_jax.core.vocab import BOS_ID, EOS_ID
from lst_jax.data.packing import eval_batches
from lst_jax.data.patching import StaticRule
from lst_jax.data.pipeline import open_source
from lst_jax.data.row_streams import RowStreams
from lst_jax.data.rows import CONSUMED, OFFSET, ORDINAL, STATE_FIELDS

LONG = dict(tokens=55_296, units=32_768)  # a row of configs/long.py:1b-32k


@pytest.fixture(scope="module")
def hour(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hour")
    record = utterance(7, words=10_600)
    assert 88_000 < len(record.units) < 92_000
    write_directory(folder / "speech", [[record]])
    write_directory(folder / "text", [texts(17)], "text")
    return folder


def rows_of(folder, count, share, whole, **shape):
    """The first rows, of which utterances have `share` of the tokens, among texts; with the stream's state behind each."""
    sources = (
        SourceConfig("speech", "utterance", str(folder / "speech"), share),
        SourceConfig("text", "text", str(folder / "text"), 1 - share),
    )
    config = make_config(rows=1, strategy="static", sources=sources, **shape)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, whole_utterances=whole))
    streams = RowStreams(config, [open_source(s, config) for s in sources], tokenizer())
    state, rows = np.zeros((2, STATE_FIELDS), np.int64), []
    for step in range(count):
        batch, stats, state = streams.next_row(state, 0, step)
        rows.append((batch, stats, state))
    streams.close()
    return rows


def test_an_hour_is_one_document_of_a_long_row(hour):
    ((batch, stats, state),) = rows_of(hour, 1, 0.7, True, **LONG)
    document = batch.token_BT[batch.doc_id_BT == 1]
    assert document[0] == BOS_ID and document[-1] == EOS_ID and len(document) > 30_000
    assert state[0, ORDINAL] == 1 and stats["words_cut"] == 0
    assert stats["tokens"] > 0.9 * LONG["tokens"] and stats["units"] > 0.9 * LONG["units"]


def test_an_hour_whose_share_has_no_room_goes_on_in_the_next_rows(hour):
    rows = rows_of(hour, 3, 1 / 3, False, tokens=40_960, units=32_768)
    for batch, stats, _ in rows[:2]:
        document = batch.token_BT[batch.doc_id_BT == 1]
        assert document[-1] != EOS_ID and len(document) < 25_000 and stats["pieces_cut"] >= 1
    assert [int(state[0, ORDINAL]) for *_, state in rows[:2]] == [0, 0]
    offsets = [int(state[0, OFFSET]) for *_, state in rows[:2]]
    assert 0 < offsets[0] < offsets[1]


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_utterances_that_rows_hold_are_never_cut_and_keep_their_share(tmp_path, share):
    rows = rows_of(write_both(tmp_path), 80, share, True, tokens=960, units=640)
    for batch, _, _ in rows:
        for number in range(1, batch.doc_id_BT.max() + 1):
            document = batch.token_BT[batch.doc_id_BT == number]
            is_text = not (document >= make_config().joint_vocab.speech_marker).any()  # texts are cut as ever
            assert is_text or (document[0] == BOS_ID and document[-1] == EOS_ID)
    consumed = rows[-1][2][:, CONSUMED]
    assert abs(consumed[0] / consumed.sum() - share) < 0.01
    assert sum(stats["utterances_opened"] for _, stats, _ in rows) > 60


@pytest.mark.parametrize(("tokens", "whole"), [(55_296, False), (131_072, True)])
def test_evaluation_keeps_the_head_of_an_hour_that_no_row_holds(hour, tokens, whole):
    config = make_config(tokens=tokens, units=32_768, rows=1, strategy="static")
    source = SourceConfig("held_out", "utterance", str(hour / "speech"), 1.0)
    ((batch, stats),) = eval_batches(source, config, StaticRule(4), 5, "speech")
    (record,) = open_source(source, config)
    assert stats["pieces_cut"] == (not whole)
    assert stats["speech_units"] == len(record.units) or tokens - 60 < stats["speech_units"] < tokens  # up to a word
    assert (batch.doc_id_BT.max() == 1) and (EOS_ID in batch.token_BT) == whole
