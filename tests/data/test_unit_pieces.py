"""Speech written in pieces of units: nothing is lost, documents are cut at words, frames are counted."""

import dataclasses
import doctest

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from synthetic_data import (
    UNIT_PIECES,
    config_over,
    make_bpe_config,
    tokenizer,
    unit_tokenizer_path,
    utterance,
    utterances,
    write_both,
    write_directory,
)
from test_rows import SPEECH, TEXT, check_shape, follow, make_rows

from lst_jax.config import SourceConfig, check_same_identity, identity
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.core.vocab import BOS_ID, EOS_ID
from lst_jax.data import unit_pieces
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.interleave import Span, interleave
from lst_jax.data.packing import eval_batches
from lst_jax.data.patching import EachUnitRule
from lst_jax.data.pipeline import BatchStream
from lst_jax.data.records import Utterance, Word
from lst_jax.data.rng import generator
from lst_jax.data.unit_pieces import Codebook, UnitPieces, train_unit_pieces

PHRASES = ([3, 3, 4, 5], [7, 8, 7, 8, 9], [1, 1, 1, 1], [0, 2], [6])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Pieces of 40 units, of which ten occur, in phrases."""
    path = tmp_path_factory.mktemp("small") / "u.model"
    rng = np.random.default_rng(0)
    sequences = [np.concatenate([PHRASES[i] for i in rng.integers(5, size=30)]).astype(np.uint16) for _ in range(50)]
    train_unit_pieces(sequences, path, 60, Codebook(40, 'a, "fingerprint"'))
    return UnitPieces(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_both(tmp_path_factory.mktemp("data"))


def test_the_example_of_the_module():
    assert doctest.testmod(unit_pieces, extraglobs={"np": np}) == (0, 1)


@hypothesis.given(st.lists(st.sampled_from([*PHRASES, [39], [10, 10], [38, 0, 39]]), max_size=20))
def test_pieces_give_back_exactly_the_units(small, phrases):
    """Also units that training has never seen, alone and beside others."""
    units = np.array(sum(phrases, []), np.uint16)
    pieces = small.encode(units)
    assert small.decode(pieces).tolist() == units.tolist()
    assert pieces.dtype == np.int32 and small.frames[pieces].sum() == len(units)
    assert all(0 <= piece < 60 for piece in pieces.tolist())


def test_a_model_has_as_many_pieces_as_asked_for_and_knows_its_codebook(small):
    assert len(small) == len(small.frames) == 60 and small.codebook == Codebook(40, 'a, "fingerprint"')
    texts = {tuple(small.decode(np.array([piece])).tolist()) for piece in range(60)}
    assert len(texts) == 60 and {(unit,) for unit in range(40)} < texts
    assert small.encode(np.array(PHRASES[0] + PHRASES[2])).size <= 4  # what occurs together is joined


def test_training_twice_gives_the_same_file(tmp_path):
    for name in ("a", "b"):
        train_unit_pieces([u.units for u in utterances(5)], tmp_path / name, 520, Codebook(501, None))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    "size, codebook, message",
    [
        (9, 10, "size=9 is less than the codebook's 10 units, each of which is a piece; use at least 10"),
        (
            999,
            10,
            r"no unit tokenizer of 999 pieces can be trained on these sequences \(at most \d+\); use at most \d+,",
        ),
        (70_000, 65_535, "a codebook of 65535 units is too large for a unit tokenizer; use at most 65534"),
    ],
)
def test_an_impossible_size_is_one_line_and_leaves_nothing(tmp_path, size, codebook, message):
    with pytest.raises(DataError, match=f"u.model: {message}") as caught:
        train_unit_pieces([np.arange(10)], tmp_path / "u.model", size, Codebook(codebook, None))
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def test_the_size_that_an_error_names_can_be_trained(tmp_path):
    sequences = [np.array([1, 2, 3, 1, 2, 3, 4])]
    with pytest.raises(DataError, match="use at most") as caught:
        train_unit_pieces(sequences, tmp_path / "u.model", 500, Codebook(10, None))
    most = int(str(caught.value).split("use at most ")[1].split(",")[0])
    train_unit_pieces(sequences, tmp_path / "u.model", most, Codebook(10, None))
    assert len(UnitPieces(tmp_path / "u.model")) == most > 10


def test_the_largest_codebook_and_a_long_sequence(tmp_path):
    units = np.random.default_rng(0).integers(0xFFFE, size=20_000).astype(np.uint16)
    units[-2:] = 0xFFFD, 0
    train_unit_pieces(
        [np.tile([1, 2, 3], 20_000).astype(np.uint16)], tmp_path / "u.model", 0xFFFE + 3, Codebook(0xFFFE, None)
    )
    pieces = UnitPieces(tmp_path / "u.model")
    assert (pieces.decode(pieces.encode(units)) == units).all()
    assert len(pieces.encode(np.array([1, 2, 3, 1, 2, 3]))) < 4  # 40 minutes of units were not left out


def test_files_that_are_no_unit_tokenizer_are_named(tmp_path, small):
    (tmp_path / "bad.model").write_bytes(b"hello")
    (tmp_path / "text.model").write_bytes(tokenizer().serialized_model_proto())
    for name, rule in (
        ("none", "no such file; make it"),
        ("bad", "is not a SentencePiece model over units; make one"),
        ("text", "is not a SentencePiece model over units; make one"),
    ):
        with pytest.raises(DataError, match=f"{name}.model: {rule} .* `lst prepare unit-tokenizer`|{rule}"):
            UnitPieces(tmp_path / f"{name}.model")
    with pytest.raises(DataError, match=r"u.model: units 3..40 are outside its codebook of 40; use the units"):
        small.encode(np.array([3, 40]))


@hypothesis.given(st.lists(st.integers(1, 6), min_size=1, max_size=12), st.data())
def test_the_first_piece_at_or_after_an_edge_may_begin_a_piece_of_a_document(frames, drawn):
    edge = np.array(drawn.draw(st.lists(st.booleans(), min_size=sum(frames), max_size=sum(frames))))
    expected, begin = [], [sum(frames[:i]) for i in range(len(frames))]
    for at in np.flatnonzero(edge):
        expected += [i for i in range(len(frames)) if begin[i] >= at][:1]
    assert np.flatnonzero(unit_pieces.piece_cuts(edge, np.array(frames))).tolist() == sorted(set(expected))


def test_a_document_in_pieces():
    config, pieces = make_bpe_config(), UnitPieces(unit_tokenizer_path())
    builder, vocab = ExampleBuilder.of(config, tokenizer()), config.joint_vocab
    record = utterances(23)[5]
    example = builder.speech_only(record, EachUnitRule())
    inside = example.token[2:-1] - vocab.unit_offset
    assert example.token[[0, 1, -1]].tolist() == [BOS_ID, vocab.speech_marker, EOS_ID]
    assert pieces.decode(inside).tolist() == record.units.tolist() and len(inside) < len(record.units)
    assert example.patch_start.all() and example.patch_end.all() and example.words == len(record.words)
    begin = np.cumsum(pieces.frames[inside]) - pieces.frames[inside]
    edges = sorted({0} | {e for w in record.words for e in (w.start_frame, w.end_frame)})
    assert np.flatnonzero(example.cut[2:-1]).tolist() == sorted(
        {int(np.argmax(begin >= e)) for e in edges if begin[-1] >= e}
    )
    assert builder.speech_frames(example.token) == len(record.units)


def test_every_span_is_written_in_pieces_of_its_own():
    config, pieces = make_bpe_config(), UnitPieces(unit_tokenizer_path())
    builder, offset = ExampleBuilder.of(config, tokenizer()), config.joint_vocab.unit_offset
    record = utterance(3, 12)
    half = record.words[5].end_frame
    example = builder.interleaved(
        record,
        [Span("speech", 0, 6, 0, half), Span("text", 6, 8, 0, 0), Span("speech", 8, 12, half, len(record.units))],
        EachUnitRule(),
    )
    expected = [pieces.encode(part) for part in (record.units[:half], record.units[half:])]
    found = example.token[config.joint_vocab.is_speech(example.token)] - offset
    assert found.tolist() == np.concatenate(expected).tolist()


@hypothesis.settings(deadline=None, max_examples=25)
@hypothesis.given(
    st.integers(16, 200), st.floats(0.05, 0.95), st.integers(0, 100), st.sampled_from(["tokens", "words", "patches"])
)
def test_no_piece_is_lost_or_repeated_and_every_row_keeps_the_contract(tokens, share, seed, measure):
    sources = SourceConfig("a", "utterance", "a", share), SourceConfig("b", "text", "b", 1 - share)
    config = make_bpe_config(tokens, rows=2, sources=sources, seed=seed, measure=measure)
    made = make_rows(config, [SPEECH, TEXT], seed % 2, 12)
    for batch, stats, _ in made:
        check_shape(config, batch)
        assert stats["tokens"] == stats["units"] > 0 and stats["speech_units"] == stats["speech_patches"]
    _, repeated, off_word = follow(config, [SPEECH, TEXT], seed % 2, made)
    assert off_word == sum(s["words_cut"] for _, s, _ in made)
    assert repeated == sum(s["markers_repeated"] for _, s, _ in made)


def test_rows_count_the_frames_of_their_speech():
    config, pieces = make_bpe_config(), UnitPieces(unit_tokenizer_path())
    offset = config.joint_vocab.unit_offset
    made = make_rows(config, [SPEECH, TEXT], 1, 20)
    for batch, stats, _ in made:
        speech = batch.token_BT[config.joint_vocab.is_speech(batch.token_BT)] - offset
        assert stats["speech_frames"] == len(pieces.decode(speech))
    total = {key: sum(int(s[key]) for _, s, _ in made) for key in ("speech_frames", "speech_units")}
    assert total["speech_frames"] > 1.1 * total["speech_units"] > 0


def test_an_epoch_stands_for_every_frame_of_its_spans():
    """Counted from the records, by the interleaving alone."""
    config = make_bpe_config(256, rows=1, sources=(SourceConfig("a", "utterance", "a", 1.0),))
    length = UnitPieces(unit_tokenizer_path()).frames.tolist()
    made, frames, left = make_rows(config, [SPEECH], 0, 60), 0, len(SPEECH)
    for index, record in enumerate(SPEECH):
        spans = interleave(record, config.data.interleave, generator(0, "a", 0, index, "interleave"))
        frames += sum(s.end_frame - s.start_frame for s in spans)
    total = 0
    for batch, _, _ in made:
        for token in batch.token_BT[batch.doc_id_BT > 0].tolist():
            left -= token == EOS_ID
            if token >= config.joint_vocab.unit_offset:
                total += length[token - config.joint_vocab.unit_offset]
            if not left:
                assert total == frames
                return
    raise AssertionError("no epoch was read")


def test_held_out_speech_is_read_whole(data):
    config = config_over(data, **bpe(tokens=640))
    pieces, offset = UnitPieces(unit_tokenizer_path()), config.joint_vocab.unit_offset
    source, found = SourceConfig("held_out", "utterance", str(data / "speech"), 1.0), []
    for batch, _ in eval_batches(source, config, EachUnitRule(), 100, "speech"):
        for token, doc in zip(batch.token_BT, batch.doc_id_BT, strict=True):
            found += [pieces.decode(token[doc == i][2:-1] - offset).tolist() for i in range(1, doc.max() + 1)]
    assert sorted(found) == sorted(u.units.tolist() for u in utterances(23))


def bpe(tokens=128):
    return {
        "tokens": tokens,
        "units": tokens,
        "strategy": "none",
        "unit_slots": UNIT_PIECES,
        "unit_tokenizer": unit_tokenizer_path(),
    }


@pytest.mark.parametrize("hosts", [1, 4])
def test_a_stream_restores_at_every_step_on_any_number_of_hosts(data, hosts):
    config = config_over(data, **bpe())
    stream = BatchStream(config)
    steps = [next(stream) for _ in range(6)]
    for number in range(5):
        for host in range(hosts):
            rows = range(host * 4 // hosts, (host + 1) * 4 // hosts)
            again = BatchStream(config, rows=rows)
            again.set_state({"step": number + 1, "rows": steps[number].state_after})
            for expected in steps[number + 1 :]:
                found = next(again)
                for one, other in zip(found.batch, expected.batch, strict=True):
                    assert np.array_equal(one, other[rows.start : rows.stop])


def test_the_fingerprint_follows_the_unit_tokenizer_s_content_and_not_its_place(data, tmp_path):
    config = config_over(data, **bpe())

    def over(path):
        return dataclasses.replace(config, data=dataclasses.replace(config.data, unit_tokenizer=str(path)))

    (tmp_path / "same.model").write_bytes(UnitPieces(unit_tokenizer_path()).path.read_bytes())
    train_unit_pieces([u.units for u in utterances(9)], tmp_path / "other.model", UNIT_PIECES, Codebook(501, None))
    first = BatchStream(config).fingerprint()
    assert BatchStream(over(tmp_path / "same.model")).fingerprint() == first
    assert BatchStream(over(tmp_path / "other.model")).fingerprint() != first
    units = dataclasses.replace(config, data=dataclasses.replace(config.data, unit_tokenizer=None))
    assert BatchStream(units).fingerprint() != first
    check_same_identity(over("elsewhere"), identity(config), "there")
    with pytest.raises(ConfigError, match="data.unit_tokenizer=None: there was made with 'FILE'"):
        check_same_identity(units, identity(config), "there")


@pytest.mark.parametrize(
    "on_disk, slots, rule",
    [
        (
            {},
            UNIT_PIECES - 1,
            f"units.model: has {UNIT_PIECES} pieces, the run has vocab.unit_slots={UNIT_PIECES - 1}; ",
        ),
        (
            {"codebook_size": 500},
            UNIT_PIECES,
            r"metadata.json: has a codebook of 500 units \(of unknown making\), the unit "
            r"tokenizer .*units.model was trained on 501 units \(of unknown making\); ",
        ),
        ({"codebook_size": 502}, UNIT_PIECES, "has a codebook of 502 units"),
        ({"codebook_size": None}, UNIT_PIECES, "codebook_size=None, the run"),
    ],
)
def test_a_unit_tokenizer_that_does_not_fit_the_run_is_refused(tmp_path, on_disk, slots, rule):
    write_directory(tmp_path / "speech", [utterances(2)], **on_disk)
    sources = (SourceConfig("speech", "utterance", str(tmp_path / "speech"), 1.0),)
    with pytest.raises(DataError, match=rule) as caught:
        BatchStream(make_bpe_config(sources=sources, unit_slots=slots))
    assert "\n" not in str(caught.value)


def test_codebooks_of_two_makings_do_not_fit():
    assert Codebook(5, "a").fits(Codebook(5, "a")) and Codebook(5, "a").fits(Codebook(5, None))
    assert not Codebook(5, "a").fits(Codebook(5, "b")) and not Codebook(5, None).fits(Codebook(6, None))


def test_a_unit_beyond_the_codebook_is_named_though_there_are_slots_for_it():
    record = Utterance("u3", np.array([1, 501, 2], np.uint16), (Word("a", 0, 2),), None, None)
    config = make_bpe_config(sources=(SourceConfig("speech", "utterance", "somewhere", 1.0),))
    with pytest.raises(DataError, match="somewhere: record 0: u3: unit 501 is outside the codebook of 501"):
        make_rows(config, [[record]], 0, 1)
