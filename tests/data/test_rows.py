import dataclasses

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from synthetic_data import WORDS, make_config, texts, tokenizer, utterance, utterances

from lst_jax.config import SourceConfig
from lst_jax.core.errors import DataError
from lst_jax.core.vocab import BOS_ID, EOS_ID
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.interleave import interleave
from lst_jax.data.patching import strategy_of
from lst_jax.data.records import TextDocument, Utterance, Word
from lst_jax.data.rng import generator, permuted
from lst_jax.data.row_builder import MIN_SEGMENT
from lst_jax.data.row_streams import RowStreams
from lst_jax.data.rows import CONSUMED, MEASURED, OFFSET, OPENED_STEP, ORDINAL, causal_pairs, initial_state
from lst_jax.recipes.row_sizes import row_tokens_for

SPEECH, TEXT = utterances(23), texts(17)


def make_rows(config, records, row, steps, state=None, first_step=0):
    """[(batch, stats, state after)] of one stream."""
    streams = RowStreams(config, records, tokenizer())
    state = initial_state(config.data.rows, len(records))[row] if state is None else state
    made = []
    for step in range(first_step, first_step + steps):
        made.append(streams.next_row(state, row, step))
        state = made[-1][2]
    return made


def pieces_of(batch):
    """(first position, end) of each piece, by doc_id alone."""
    doc = batch.doc_id_BT
    starts = [i for i in range(len(doc)) if doc[i] and (i == 0 or doc[i] != doc[i - 1])]
    return [(i, next((j for j in range(i, len(doc)) if doc[j] != doc[i]), len(doc))) for i in starts]


def expected_document(config, records, source, number, step):
    """The document as the module docstrings define it, built without the streams."""
    settings = config.data.sources[source]
    epoch, position = divmod(number, len(records[source]))
    index = permuted(position, len(records[source]), config.seed, settings.name, epoch)
    record = records[source][index]
    builder = ExampleBuilder.of(config, tokenizer())
    if isinstance(record, TextDocument):
        return builder.text(record)
    key = config.seed, settings.name, epoch, index
    rule = strategy_of(config.data.patching).draw(step, lambda: generator(*key, "patching"))
    spans = interleave(record, config.data.interleave, generator(*key, "interleave"))
    return builder.interleaved(record, spans, rule)


def check_shape(config, batch):
    """The contract that needs no knowledge of the documents."""
    length, pieces = len(batch.token_BT), pieces_of(batch)
    assert length == config.data.row_tokens and batch.patch_start_BT.sum() <= config.data.row_patches
    assert [int(batch.doc_id_BT[a]) for a, _ in pieces] == list(range(1, len(pieces) + 1))
    used = pieces[-1][1] if pieces else 0
    assert (batch.doc_id_BT[:used] > 0).all() and not batch.doc_id_BT[used:].any()
    assert not batch.patch_start_BT[used:].any() and not batch.patch_end_BT[used:].any()
    for start, end in pieces:
        assert batch.patch_start_BT[start]
        if not config.data.patching.marker_opens_patch:
            assert batch.patch_end_BT[start]
            assert end == start + 1 or batch.patch_start_BT[start + 1]
        assert batch.target_BT[start : end - 1].tolist() == batch.token_BT[start + 1 : end].tolist()
        vocab = config.joint_vocab
        assert batch.token_BT[end - 1] not in (BOS_ID, vocab.text_marker, vocab.speech_marker)
        assert batch.weight_BT[start:end].tolist() == [1.0] * (end - start - 1) + [0.0]
    assert not batch.weight_BT[used:].any() and not batch.target_BT[used:].any()
    assert sum(end - start for start, end in pieces) == used


def follow(config, records, row, made):
    """Walks every piece along the documents of its source; every token must be there, once, in order.

    Returns: the number of patches that were cut open, of repeated markers, and of cuts inside a word or silence.
    """
    vocab, split, repeated, off_word = config.joint_vocab, 0, 0, 0
    markers = vocab.text_marker, vocab.speech_marker
    number, offset = [row] * len(records), [0] * len(records)
    current = [None] * len(records)
    for step, (batch, stats, state) in enumerate(made):
        taken = np.zeros(len(records), int)
        for start, end in pieces_of(batch):
            streams = list(zip(current, offset, number, strict=True))
            source = which_source(config, records, batch.token_BT[start:end], streams, step)
            if offset[source] == 0:
                current[source] = expected_document(config, records, source, number[source], step)
            document, at = current[source], offset[source]
            first = start
            if at and batch.token_BT[start] != document.token[at]:
                marks = np.flatnonzero(np.isin(document.token[:at], markers))
                assert batch.token_BT[start] == document.token[marks[-1]]
                repeated += 1
                first += 1
            assert first < end
            size = end - first
            assert batch.token_BT[first:end].tolist() == document.token[at : at + size].tolist()
            starts, ends = patches_from(document, at, vocab)
            assert batch.patch_end_BT[first:end].tolist() == ends[:size]
            assert batch.patch_start_BT[first + 1 : end].tolist() == starts[1:size]
            if first > start:
                is_taken = document.rule is not None and document.rule.takes_marker
                is_open = is_taken and document.rule.fixed_size > 1 and batch.token_BT[start] == vocab.speech_marker
                assert batch.patch_start_BT[start] and batch.patch_end_BT[start] != is_open
                assert batch.patch_start_BT[first] == (starts[0] or not is_taken)
            if at + size < len(document.token) and not document.cut[at + size]:
                off_word += 1
                split += not starts[size]
            taken[source] += end - start
            offset[source] += size
            if offset[source] == len(document.token):
                offset[source], number[source] = 0, number[source] + config.data.rows
        assert (stats["source_tokens"] == taken).all()
        assert state[:, OFFSET].tolist() == offset
        assert state[:, ORDINAL].tolist() == [n // config.data.rows for n in number]
    return split, repeated, off_word


def patches_from(document, at, vocab):
    """Where patches start and end from position `at` on: static ones are counted anew inside a run of speech."""
    starts, ends = document.patch_start[at:].tolist(), document.patch_end[at:].tolist()
    if document.restarting_runs and at and vocab.is_speech(document.token[at - 1]):
        for i, token in enumerate(document.token[at:]):
            if not vocab.is_speech(token):
                break
            before = i + document.rule.takes_marker
            starts[i] = before % document.rule.fixed_size == 0
            ends[i] = (before + 1) % document.rule.fixed_size == 0
    return starts, ends


def which_source(config, records, piece, streams, step):
    """The source whose next tokens the piece holds, behind a repeated marker or not."""
    markers = config.joint_vocab.text_marker, config.joint_vocab.speech_marker
    for source, (document, at, number) in enumerate(streams):
        document = document if at else expected_document(config, records, source, number, step)
        marks = [token for token in document.token[:at] if token in markers]
        for skip in (0, 1):
            got = piece[skip:].tolist()
            if got and got == document.token[at : at + len(got)].tolist() and (not skip or piece[0] in marks[-1:]):
                return source
    raise AssertionError("the piece continues no source")


CONFIGS = st.fixed_dictionaries(
    {
        "tokens": st.integers(16, 200),
        "share_of_units": st.floats(0.3, 1.0),
        "rows": st.integers(1, 3),
        "strategy": st.sampled_from(["static", "aligned", "mixed", "curriculum", "none"]),
        "static_size": st.integers(1, 9),
        "measure": st.sampled_from(["tokens", "words", "patches"]),
        "silence": st.sampled_from(["separate", "merged"]),
        "aligned_to": st.sampled_from(["word", "bpe"]),
        "share": st.floats(0.05, 0.95),
        "swap": st.booleans(),
        "seed": st.integers(0, 100),
        "marker_opens_patch": st.booleans(),
    }
)


@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(CONFIGS)
def test_no_token_is_lost_or_repeated_and_every_row_keeps_the_contract(drawn):
    units = drawn["tokens"] if drawn["strategy"] == "none" else max(8, int(drawn["tokens"] * drawn["share_of_units"]))
    sources = [SourceConfig("a", "utterance", "a", drawn["share"]), SourceConfig("b", "text", "b", 1 - drawn["share"])]
    records = [SPEECH, TEXT]
    if drawn["swap"]:
        sources, records = sources[::-1], records[::-1]
    config = make_config(
        drawn["tokens"],
        units,
        drawn["rows"],
        drawn["strategy"],
        drawn["static_size"],
        (5, 10),
        tuple(sources),
        drawn["seed"],
        measure=drawn["measure"],
        aligned_to=drawn["aligned_to"],
        silence=drawn["silence"],
        marker_opens_patch=drawn["marker_opens_patch"] and drawn["strategy"] not in ("aligned", "none"),
    )
    row = drawn["seed"] % drawn["rows"]
    made = make_rows(config, records, row, 12)
    for batch, stats, _ in made:
        check_shape(config, batch)
        assert stats["tokens"] > 0
    split, repeated, off_word = follow(config, records, row, made)
    assert split == sum(s["patches_split"] for _, s, _ in made)
    assert off_word == sum(s["words_cut"] for _, s, _ in made)
    assert repeated == sum(s["markers_repeated"] for _, s, _ in made)


@hypothesis.settings(deadline=None, max_examples=15)
@hypothesis.given(st.integers(16, 40), st.integers(0, 20))
def test_silence_longer_than_rows_is_split_and_nothing_stalls(tokens, seed):
    records = [[utterance(i, 6, silence=13 * i) for i in range(8)]]
    config = make_config(
        tokens, max(8, tokens // 2), 1, "aligned", seed=seed, sources=(SourceConfig("a", "utterance", "a", 1.0),)
    )
    made = make_rows(config, records, 0, 40)
    for batch, stats, _ in made:
        check_shape(config, batch)
        assert stats["tokens"] > 0
    split, _, _ = follow(config, records, 0, made)
    assert sum(s["patches_split"] for _, s, _ in made) == split > 0
    assert sum(s["documents_opened"] for _, s, _ in made) > 2


def test_a_patch_that_could_fit_a_row_waits_for_one():
    """A patch of T-2 units fits behind BOS and the marker; one of T-1 does not and is split."""

    def record(silence):
        return Utterance("u", np.arange(silence + 4, dtype=np.uint16), (Word("the", silence, silence + 4),), None, None)

    for silence, splits in ((30, 0), (31, 1)):
        config = make_config(32, 16, 1, "aligned", sources=(SourceConfig("a", "utterance", "a", 1.0),))
        made = make_rows(config, [[record(silence)]], 0, 20)
        is_speech = [config.joint_vocab.is_speech(b.token_BT).any() for b, _, _ in made]
        assert any(is_speech)
        assert (sum(s["patches_split"] for _, s, _ in made) > 0) == (splits > 0)


def test_two_sources_do_not_starve_each_other_over_long_patches():
    records = [[utterance(i, 6, silence=50) for i in range(8)], TEXT]
    sources = (SourceConfig("b", "text", "b", 0.9), SourceConfig("a", "utterance", "a", 0.1))
    config = make_config(70, 70, 1, "aligned", sources=sources)
    made = make_rows(config, records[::-1], 0, 400)
    consumed = made[-1][2][:, CONSUMED]
    assert abs(consumed[1] / consumed.sum() - 0.1) < 0.01


def test_a_piece_that_does_not_finish_its_document_is_worth_its_marker():
    config = make_config(64, 64, 2, "static")
    for batch, _, _ in make_rows(config, [SPEECH, TEXT], 1, 60):
        for start, end in pieces_of(batch):
            assert end - start >= MIN_SEGMENT or batch.token_BT[end - 1] == EOS_ID


@pytest.mark.parametrize("units", [96, 128, 160])  # the unit positions run out; both; the tokens run out
@pytest.mark.parametrize("swap", [False, True])
def test_the_mixture_is_exact_by_tokens_whichever_budget_runs_out(units, swap):
    records = [SPEECH, TEXT]
    sources = (SourceConfig("a", "utterance", "a", 1.0), SourceConfig("b", "text", "b", 2.0))
    config = make_config(160, units, 2, "static", sources=sources[::-1] if swap else sources)
    made = make_rows(config, records[::-1] if swap else records, 1, 200)
    total = sum(s["source_tokens"] for _, s, _ in made)
    assert total.sum() == sum(s["tokens"] for _, s, _ in made)
    assert abs(total[int(swap)] / total.sum() - 1 / 3) < 0.005


def test_restoring_after_every_step_continues_the_same_and_needs_no_cache():
    config = make_config(96, 80, 2, "curriculum", taus=(3, 9))
    made = make_rows(config, [SPEECH, TEXT], 1, 12)
    for step in range(1, 12):
        again = make_rows(config, [SPEECH, TEXT], 1, 12 - step, made[step - 1][2], step)
        for (batch, stats, state), (batch2, stats2, state2) in zip(made[step:], again, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(batch, batch2, strict=True))
            assert all(np.array_equal(stats[k], stats2[k]) for k in stats)
            assert np.array_equal(state, state2)


def test_a_cached_stream_can_jump_to_any_state():
    config = make_config(96, 80, 2, "mixed")
    streams = RowStreams(config, [SPEECH, TEXT], tokenizer())
    made = make_rows(config, [SPEECH, TEXT], 0, 10)
    states = [initial_state(2, 2)[0]] + [m[2] for m in made]
    for step in (7, 3, 3, 9, 0, 8):
        before = states[step].copy()
        batch, _, state = streams.next_row(states[step], 0, step)
        assert all(np.array_equal(a, b) for a, b in zip(batch, made[step][0], strict=True))
        assert np.array_equal(state, states[step + 1]) and np.array_equal(states[step], before)


@pytest.mark.parametrize("switch", range(4, 16))
def test_a_document_that_waited_for_room_is_patched_by_the_step_that_opens_it(switch):
    """The cache has it in the patches of the step before: at the switch they are others."""
    config = make_config(48, 40, 1, "curriculum", taus=(switch, switch))
    made = make_rows(config, [SPEECH, TEXT], 0, switch + 1)
    ((fresh, _, after),) = make_rows(config, [SPEECH, TEXT], 0, 1, made[-2][2], switch)
    assert all(np.array_equal(a, b) for a, b in zip(made[-1][0], fresh, strict=True))
    assert np.array_equal(made[-1][2], after)


def test_the_curriculum_counts_the_step_that_opens_a_document():
    config = make_config(400, 400, 1, "curriculum", taus=(20, 60), sources=(SourceConfig("a", "utterance", "a", 1.0),))
    made = make_rows(config, [SPEECH], 0, 100)
    opened = np.array([s["utterances_opened"] for _, s, _ in made])
    aligned = np.array([s["utterances_aligned"] for _, s, _ in made])
    assert (aligned[:20] == opened[:20]).all() and not aligned[60:].any()
    expected = sum(strategy_of(config.data.patching).aligned_probability(u) * opened[u] for u in range(20, 60))
    assert abs(aligned[20:60].sum() - expected) < 4 * np.sqrt(opened[20:60].sum()) / 2
    follow(config, [SPEECH], 0, made)  # also a document opened aligned stays aligned in its later rows


def test_every_document_is_read_once_an_epoch_over_all_rows(monkeypatch):
    config = make_config(64, 64, 3, "static", sources=(SourceConfig("a", "text", "a", 1.0),))
    read = []

    class Watched(list):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    streams = RowStreams(config, [Watched(TEXT)], tokenizer())
    numbers = []
    monkeypatch.setattr(
        streams,
        "_build",
        lambda source, number, step, build=streams._build: (numbers.append(number), build(source, number, step))[1],
    )
    for row in range(3):
        state = initial_state(3, 1)[row]
        while state[0, ORDINAL] < 12:
            _, _, state = streams.next_row(state, row, 0)
    by_number = dict(zip(numbers, read, strict=True))
    for epoch in (0, 1):
        indices = [by_number[n] for n in range(17 * epoch, 17 * (epoch + 1))]
        assert sorted(indices) == list(range(17))
    assert [by_number[n] for n in range(17)] != [by_number[n] for n in range(17, 34)]


def long_texts(count, most):
    """Log-uniform from 80 words to `most`."""
    rng = np.random.default_rng(5)
    sizes = np.exp(rng.uniform(np.log(80), np.log(most), count)).astype(int)
    return [TextDocument(f"t{i}", " ".join(rng.choice(WORDS, size))) for i, size in enumerate(sizes)]


@pytest.mark.parametrize(
    "strategy, mean_patch, changes",
    [
        ("static", 4, {}),
        ("aligned", 4.8, {}),
        ("curriculum", 4, {"taus": (13, 26)}),
        ("aligned", 9.4, {"silence": "merged"}),
        ("none", 1, {}),
    ],
)
def test_every_batch_nearly_fills_both_budgets_at_the_papers_mixture(strategy, mean_patch, changes):
    tokens = row_tokens_for(4096, mean_patch)
    config = make_config(tokens, 4096, 1, strategy, **changes)
    made = make_rows(config, [[u for u in utterances(200) if len(u.words) > 3], long_texts(60, 5000)], 0, 40)
    assert min(s["units"] for _, s, _ in made) / 4096 >= 0.97
    assert min(s["tokens"] for _, s, _ in made) / tokens >= 0.95
    assert sum(s["words_cut"] for _, s, _ in made) == 0
    consumed = made[-1][2][:, CONSUMED]
    assert abs(consumed[0] / consumed.sum() - 1 / 3) < 0.0125  # half a row of 40: what the budgets may take


@pytest.mark.parametrize("measure", ["tokens", "words", "patches"])
@pytest.mark.parametrize("share", [0.2, pytest.param(0.5, marks=pytest.mark.slow)])
def test_the_mixture_is_exact_by_its_measure_over_any_thousand_rows(measure, share):
    sources = (SourceConfig("b", "text", "b", 1 - share), SourceConfig("a", "utterance", "a", share))
    config = make_config(128, 104, 1, "mixed", sources=sources, measure=measure)
    made = make_rows(config, [long_texts(9, 2000), SPEECH], 0, 1300)
    totals = np.array([state[:, MEASURED] for _, _, state in made])
    for first in range(0, 300, 7):
        gained = totals[first + 1000] - totals[first]
        assert abs(gained[1] / gained.sum() - share) < 0.005
    if measure == "tokens":
        assert totals[-1].tolist() == sum(s["source_tokens"] for _, s, _ in made).tolist()
    if measure == "patches":
        assert totals[-1].sum() == sum(s["units"] for _, s, _ in made)


def test_words_of_a_cut_document_add_up():
    config = make_config(64, 64, 1, "static", measure="words")
    records = [SPEECH, TEXT]
    made = make_rows(config, records, 0, 60)
    for source in (0, 1):
        read = 0
        for number in range(made[-1][2][source, ORDINAL].item()):
            read += expected_document(config, records, source, number, 0).words
        left = made[-1][2][source, MEASURED] - read
        assert 0 <= left <= expected_document(config, records, source, made[-1][2][source, ORDINAL].item(), 0).words


@pytest.mark.parametrize("strategy", ["static", "aligned", "none"])
def test_an_hour_of_speech_is_cut_at_words_and_read_to_its_end(strategy):
    """Scaled down: an utterance forty times as long as a row."""
    config = make_config(256, 256, 1, strategy, sources=(SourceConfig("a", "utterance", "a", 1.0),))
    records = [[utterance(7, 2600)]]
    made = make_rows(config, records, 0, 45)
    assert made[-1][2][0, ORDINAL] >= 1
    follow(config, records, 0, made)
    assert sum(s["words_cut"] for _, s, _ in made) == 0
    assert sum(s["speech_cut"] for _, s, _ in made) > 5
    assert min(s["tokens"] for _, s, _ in made[:-1]) > 0.85 * 256 or strategy != "none"
    again = make_rows(config, records, 0, 3, made[19][2], 20)
    assert all(np.array_equal(a, b) for a, b in zip(again[2][0], made[22][0], strict=True))


def test_boundary_noise_moves_aligned_patches_in_training_and_is_the_same_every_time():
    sources = (SourceConfig("a", "utterance", "a", 1.0),)
    plain = make_config(400, 400, 1, "aligned", sources=sources)
    noisy = make_config(400, 400, 1, "aligned", sources=sources, noise_ms=40.0)
    records = [[utterance(0, 60)]]
    ((still, _, _),) = make_rows(plain, records, 0, 1)
    ((moved, _, _),) = make_rows(noisy, records, 0, 1)
    ((again, _, _),) = make_rows(noisy, records, 0, 1)
    size = min((still.doc_id_BT == 1).sum(), (moved.doc_id_BT == 1).sum())
    assert (still.token_BT[:size] == moved.token_BT[:size]).all()
    assert (still.patch_start_BT[:size] != moved.patch_start_BT[:size]).any()
    assert all(np.array_equal(a, b) for a, b in zip(moved, again, strict=True))


@pytest.mark.parametrize("cross_window", [1, 3])
@pytest.mark.parametrize("strategy", ["aligned", "static"])
def test_counts_agree_with_the_rows(strategy, cross_window):
    config = make_config(200, 160, 1, strategy)
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, encoder_cross_window=cross_window, decoder_cross_window=cross_window),
    )
    for batch, stats, _ in make_rows(config, [SPEECH, TEXT], 0, 20):
        speech = config.joint_vocab.is_speech(batch.token_BT)
        assert stats["tokens"] == (batch.doc_id_BT > 0).sum() and stats["units"] == batch.patch_start_BT.sum()
        assert stats["speech_units"] == speech.sum()
        assert stats["speech_patches"] == (speech & batch.patch_start_BT).sum()
        patch = np.cumsum(batch.patch_start_BT) - 1
        tokens = {(i, j) for a, b in pieces_of(batch) for i in range(a, b) for j in range(a, i + 1)}
        assert stats["global_pairs"] == len({(patch[i], patch[j]) for i, j in tokens})
        assert stats["encoder_pairs"] == stats["decoder_pairs"] == sum(i - j < 16 for i, j in tokens)
        seen = {
            (patch[i], j)
            for a, b in pieces_of(batch)
            for i in range(a, b)
            for j in range(a, b)
            if 0 <= patch[i] - patch[j] < cross_window
        }
        assert stats["encoder_cross_pairs"] == len(seen)
        complete = {i: patch[i] - (not batch.patch_end_BT[i]) for a, b in pieces_of(batch) for i in range(a, b)}
        seen = {
            (i, patch[j])
            for a, b in pieces_of(batch)
            for i in range(a, b)
            for j in range(a, b)
            if 0 <= complete[i] - patch[j] < cross_window
        }
        assert stats["decoder_cross_pairs"] == len(seen)
        assert stats["pieces"] == len(pieces_of(batch))
        unfinished = [b for _, b in pieces_of(batch) if batch.token_BT[b - 1] != EOS_ID]
        assert stats["pieces_cut"] == len(unfinished)
        assert stats["documents_opened"] == (batch.token_BT == BOS_ID).sum()


@pytest.mark.parametrize("length, window", [(1, 1), (5, None), (5, 3), (3, 5), (4, 4)])
def test_causal_pairs(length, window):
    assert causal_pairs(length, window) == sum(i - j < (window or length) for i in range(length) for j in range(i + 1))


@pytest.mark.parametrize(
    "words, unit, message",
    [
        ((), 600, r"unit 600 is outside the codebook of 502"),
        (
            (Word("a", 0, 4), Word("b", 3, 6)),
            1,
            r"word 1 'b' at frames \[3, 6\) starts before frame 4, where the previous word ends",
        ),
        ((Word("a", -2, 4),), 1, r"word 0 'a' at frames \[-2, 4\) starts before the audio"),
        ((Word("a", 4, 4),), 1, r"word 0 'a' at frames \[4, 4\) has no frames"),
        ((Word("a", 4, 40),), 1, r"word 0 'a' at frames \[4, 40\) ends after the last of the 8 units"),
        ((Word(" ", 4, 6),), 1, r"word 0 ' ' at frames \[4, 6\) has no text"),
        ((), None, r"has no units"),
    ],
)
def test_a_broken_record_is_named_in_one_line_when_a_row_needs_it(words, unit, message):
    units = np.full(0 if unit is None else 8, unit or 0, np.uint16)
    config = make_config(sources=(SourceConfig("speech", "utterance", "somewhere", 1.0),))
    with pytest.raises(DataError, match=rf"^somewhere: record 0: u3: {message}") as caught:
        make_rows(config, [[Utterance("u3", units, words, None, None)]], 0, 1)
    assert "\n" not in str(caught.value)


def test_epochs_draw_the_interleaving_anew():
    config = make_config(2000, 2000, 1, "static", sources=(SourceConfig("a", "utterance", "a", 1.0),))
    batch = make_rows(config, [[utterance(0, 40)]], 0, 1)[0][0]
    documents = [batch.token_BT[a:b].tolist() for a, b in pieces_of(batch)][:-1]
    assert len(documents) > 4 and len({tuple(d) for d in documents}) > len(documents) / 2


def test_the_example_of_the_docstring():
    text = next(t for t in ("the " * n for n in range(10, 30)) if len(tokenizer().encode(t)) == 20)
    config = make_config(16, 16, 1, "static", sources=(SourceConfig("a", "text", "a", 1.0),))
    letters, marker = tokenizer().encode(text), config.joint_vocab.text_marker
    (first, _, state), (second, _, _) = make_rows(config, [[TextDocument("t", text)]], 0, 2)
    assert first.token_BT.tolist() == [BOS_ID, marker, *letters[:14]]
    assert state[0, [ORDINAL, OFFSET]].tolist() == [0, 16]
    assert second.token_BT.tolist() == [marker, *letters[14:], EOS_ID, BOS_ID, marker, *letters[:6]]
    assert second.doc_id_BT.tolist() == [1] * 8 + [2] * 8


def test_state_fields_are_the_documented_ones():
    assert (ORDINAL, OFFSET, OPENED_STEP, CONSUMED) == (0, 1, 2, 3)
    assert MEASURED == 4
    assert initial_state(5, 2).shape == (5, 2, 5) and initial_state(5, 2).dtype == np.int64
