"""Rows whose speech is bounded, in tokens and patches: what the local modules of "lst_bypass" have room for."""

import dataclasses

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from synthetic_data import make_config, utterance
from test_rows import SPEECH, TEXT, check_shape, follow, make_rows, pieces_of

from lst_jax.config import SourceConfig
from lst_jax.data.rows import CONSUMED


def local_tokens(config, batch):
    """Speech units and `<s>` of a row."""
    return int(is_local(config, batch).sum())


def is_local(config, batch):
    vocab = config.joint_vocab
    return vocab.is_speech(batch.token_BT) | (batch.token_BT == vocab.speech_marker)


def local_patches(config, batch):
    return int((is_local(config, batch) & batch.patch_start_BT).sum())


@hypothesis.settings(deadline=None, max_examples=25)
@hypothesis.given(
    st.integers(32, 200),
    st.floats(0.1, 1.0),
    st.floats(0.1, 1.0) | st.none(),
    st.floats(0.1, 0.9),
    st.integers(0, 100),
    st.sampled_from(["static", "aligned", "curriculum"]),
)
def test_no_row_has_more_speech_than_it_may_and_no_token_is_lost(tokens, speech, patches, share, seed, strategy):
    sources = SourceConfig("a", "utterance", "a", share), SourceConfig("b", "text", "b", 1 - share)
    speech_tokens = max(16, int(tokens * speech))
    speech_patches = patches and max(8, int(min(speech_tokens, tokens // 2) * patches))
    config = make_config(
        tokens,
        tokens // 2,
        1,
        strategy,
        sources=sources,
        seed=seed,
        speech_tokens=speech_tokens,
        speech_patches=speech_patches,
    )
    made = make_rows(config, [SPEECH, TEXT], 0, 12)
    for batch, stats, _ in made:
        check_shape(config, batch)
        assert stats["local_tokens"] == local_tokens(config, batch) <= speech_tokens
        assert stats["local_units"] == local_patches(config, batch) <= (speech_patches or tokens)
    follow(config, [SPEECH, TEXT], 0, made)


@pytest.mark.parametrize("speech_patches", [8, 9, 25])
def test_rows_of_speech_alone_are_held_to_their_patches_and_nothing_stalls(speech_patches):
    records = [[utterance(i, 6, silence=13 * i) for i in range(8)]]
    config = make_config(
        64,
        64,
        1,
        "static",
        static_size=1,
        sources=(SourceConfig("a", "utterance", "a", 1.0),),
        speech_tokens=64,
        speech_patches=speech_patches,
    )
    made = make_rows(config, records, 0, 40)
    for batch, stats, _ in made:
        check_shape(config, batch)
        assert 0 < local_patches(config, batch) <= speech_patches and stats["tokens"] > 0
    follow(config, records, 0, made)
    assert max(local_patches(config, batch) for batch, _, _ in made) == speech_patches
    assert sum(s["documents_opened"] for _, s, _ in made) > 2


@pytest.mark.parametrize("speech_tokens", [16, 17, 30])
def test_silence_longer_than_the_room_for_speech_is_split_and_nothing_stalls(speech_tokens):
    records = [[utterance(i, 6, silence=13 * i) for i in range(8)]]
    config = make_config(
        64, 64, 1, "aligned", sources=(SourceConfig("a", "utterance", "a", 1.0),), speech_tokens=speech_tokens
    )
    made = make_rows(config, records, 0, 40)
    for batch, stats, _ in made:
        check_shape(config, batch)
        assert 0 < local_tokens(config, batch) <= speech_tokens and stats["tokens"] > 0
    split, _, _ = follow(config, records, 0, made)
    assert sum(s["patches_split"] for _, s, _ in made) == split > 0
    assert sum(s["documents_opened"] for _, s, _ in made) > 2


def test_room_for_the_mean_share_of_speech_keeps_the_mixture():
    """A third of the tokens is of utterances and part of that text, so room for half a row of speech is plenty."""
    config = make_config(160, 128, 1, "static", speech_tokens=80)
    consumed = make_rows(config, [SPEECH, TEXT], 0, 300)[-1][2][:, CONSUMED]
    assert abs(consumed[0] / consumed.sum() - 1 / 3) < 0.01


@pytest.mark.parametrize("cross_window", [1, 3])
@pytest.mark.parametrize("strategy", ["aligned", "static"])
def test_local_counts_leave_text_out(strategy, cross_window):
    config = make_config(200, 160, 1, strategy, speech_tokens=100)
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, encoder_cross_window=cross_window, decoder_cross_window=cross_window),
    )
    for batch, stats, _ in make_rows(config, [SPEECH, TEXT], 0, 12):
        totals = dict.fromkeys(("local_units", "pairs", "encoder_cross", "decoder_cross"), 0)
        for start, end in pieces_of(batch):
            here = np.arange(start, end)
            here = here[batch.token_BT[here] >= config.joint_vocab.speech_marker]
            patch = np.cumsum(batch.patch_start_BT[here]) - 1
            complete = patch - ~batch.patch_end_BT[here]
            units = range(int(patch.max(initial=-1)) + 1)
            totals["local_units"] += len(units)
            totals["pairs"] += sum(0 <= i - j < 16 for i in range(len(here)) for j in range(len(here)))
            totals["encoder_cross"] += sum(0 <= u - p < cross_window for u in units for p in patch)
            totals["decoder_cross"] += sum(0 <= c - u < cross_window for c in complete for u in units)
        assert stats["local_units"] == totals["local_units"]
        assert stats["encoder_pairs"] == stats["decoder_pairs"] == totals["pairs"]
        assert stats["encoder_cross_pairs"] == totals["encoder_cross"]
        assert stats["decoder_cross_pairs"] == totals["decoder_cross"]
