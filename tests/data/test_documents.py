import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor
from synthetic_data import TEXT_SIZE, tokenizer, utterance

from lst_jax.core.vocab import BOS_ID, EOS_ID, Vocab
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.interleave import Span
from lst_jax.data.patching import AlignedRule, EachUnitRule, StaticRule
from lst_jax.data.records import TextDocument, Utterance, Word
from lst_jax.data.sentence_pieces import piece_chars

VOCAB = Vocab(TEXT_SIZE, 502)
T, S, OFFSET = VOCAB.text_marker, VOCAB.speech_marker, VOCAB.unit_offset
RECORD = Utterance("u", np.arange(8, dtype=np.uint16) * 10, (Word("the", 2, 5), Word("river", 6, 8)), None, None)


STATIC = StaticRule(3)


def builder():
    return ExampleBuilder(VOCAB, tokenizer())


def test_a_text_document():
    example = builder().text(TextDocument("t", "the river"))
    assert example.token.tolist() == [BOS_ID, T, *tokenizer().encode("the river"), EOS_ID]
    assert example.patch_start.all() and example.patch_end.all()
    assert example.token.dtype == np.int32


def test_an_empty_text_keeps_its_frame():
    assert builder().text(TextDocument("t", "")).token.tolist() == [BOS_ID, T, EOS_ID]


def test_static_speech_and_a_short_last_patch_that_hides_its_end():
    example = builder().speech_only(RECORD, STATIC)
    assert example.token.tolist() == [BOS_ID, S, *range(OFFSET, OFFSET + 80, 10), EOS_ID]
    assert np.flatnonzero(example.patch_start).tolist() == [0, 1, 2, 5, 8, 10]
    assert np.flatnonzero(example.patch_end).tolist() == [0, 1, 4, 7, 10]
    assert example.cut_pos.tolist() == [0, 1, 2, 4, 7, 8, 10, 11]  # before any token but within words and silences
    assert example.patches_before.tolist() == [0, 1, 2, 3, 4, 4, 5, 6]


def test_a_segment_that_goes_on_in_static_speech_counts_its_patches_anew():
    example = builder().interleaved(RECORD, [Span("speech", 0, 2, 0, 8), Span("text", 1, 2, 0, 0)], STATIC)
    rest = example.tail(4, 100)
    assert rest.token.tolist() == example.token[4:].tolist()
    assert np.flatnonzero(rest.patch_start).tolist() == [0, 3, *range(6, len(rest.token))]
    assert np.flatnonzero(rest.patch_end).tolist() == [2, 5, *range(6, len(rest.token))]
    short = example.tail(5, 2)
    assert short.patch_start.tolist() == [True, False] and short.patch_end.tolist() == [False, False]
    from_the_run = example.tail(2, 8)
    assert from_the_run.patch_start.tolist() == example.patch_start[2:10].tolist()


RELEASED_SPANS = [Span("speech", 0, 1, 0, 5), Span("text", 1, 2, 0, 0), Span("speech", 1, 2, 5, 8)]


def test_a_marker_that_opens_the_first_static_patch_counts_as_a_unit_of_it():
    example = builder().interleaved(RECORD, RELEASED_SPANS, StaticRule(3, takes_marker=True))
    text = len(tokenizer().encode("river"))
    # |BOS |<s> 0 1 |2 3 4 |<t> |text |<s> 5 6 |7 |EOS
    second = 8 + text
    assert np.flatnonzero(example.patch_start).tolist() == [
        0,
        1,
        4,
        7,
        *range(8, second),
        second,
        second + 3,
        second + 4,
    ]
    assert np.flatnonzero(example.patch_end).tolist() == [0, 3, 6, 7, *range(8, second), second + 2, second + 4]
    rest = example.tail(4, 100)  # behind a marker that the row repeats: <s> 2 3 |4
    assert rest.patch_start[:4].tolist() == [False, False, True, True]
    assert rest.patch_end[:4].tolist() == [False, True, False, True]


def test_a_text_before_speech_ends_in_the_piece_of_a_space_where_asked_for():
    spans = [Span("text", 0, 1, 0, 0), Span("speech", 0, 1, 0, 5), Span("text", 1, 2, 0, 0)]
    plain = builder().interleaved(RECORD, spans, STATIC)
    spaced = ExampleBuilder(VOCAB, tokenizer(), text_ends_in_space=True).interleaved(RECORD, spans, STATIC)
    at = 2 + len(tokenizer().encode("the"))
    assert tokenizer().id_to_piece(int(spaced.token[at])) == "\u2581"
    assert np.delete(spaced.token, at).tolist() == plain.token.tolist()
    assert spaced.patch_start[at] and spaced.patch_end[at] and spaced.cut[at]


@pytest.mark.parametrize(
    "rule, cuts",
    [
        (STATIC, [0, 2, 5, 6]),
        (AlignedRule(), [0, 2, 5, 6]),
        (AlignedRule(merged=True), [0, 6]),
        (AlignedRule(text_pieces=True), [0, 2, 5, 6]),
        (AlignedRule(text_pieces=True, merged=True), [0, 6]),
        (EachUnitRule(), [0, 2, 5, 6]),
    ],
)
def test_speech_is_cut_at_words_and_never_within_an_aligned_patch(rule, cuts):
    example = builder().speech_only(RECORD, rule)
    assert np.flatnonzero(example.cut[2:-1]).tolist() == cuts
    if rule is not STATIC:
        assert example.patch_start[example.cut].all()


def test_pieces_of_a_word_count_characters():
    class Pieces(SentencePieceProcessor):
        names = {4: "\u2581", 5: "na", 6: "<0xC3>", 7: "<0xAF>", 8: "ve", 9: "\u2581plea", 10: "sant"}
        words = {"naïve": [4, 5, 6, 7, 8], "pleasant": [9, 10], "": []}

        def encode(self, word):
            return self.words[word]

        def id_to_piece(self, index):
            return self.names[index]

        def is_byte(self, index):
            return index in (6, 7)

    assert {w: piece_chars(Pieces(), w) for w in Pieces.words} == {"naïve": (2, 1, 2), "pleasant": (4, 4), "": (1,)}
    for word in ("the", "pleasant", "naïve", "x", "日本"):
        assert sum(tokenizer().piece_chars(word)) == len(word)


def test_a_document_knows_its_words():
    assert builder().text(TextDocument("t", "the river  followed")).words == 3
    assert builder().speech_only(RECORD, STATIC).words == 2


def test_aligned_speech_counts_words_from_the_spans_first_frame():
    example = builder().interleaved(RECORD, [Span("text", 0, 1, 0, 0), Span("speech", 1, 2, 5, 8)], AlignedRule())
    text = tokenizer().encode("the")
    assert example.token.tolist() == [BOS_ID, T, *text, S, OFFSET + 50, OFFSET + 60, OFFSET + 70, EOS_ID]
    at = 3 + len(text)
    assert np.flatnonzero(~example.patch_start).tolist() == [at + 2]
    assert np.flatnonzero(~example.patch_end).tolist() == [at + 1]


def test_words_of_a_text_span_are_joined_by_spaces():
    example = builder().text_only(RECORD)
    assert example.token.tolist() == builder().text(TextDocument("t", "the river")).token.tolist()


@pytest.mark.parametrize("rule", [StaticRule(4), AlignedRule(), EachUnitRule()])
def test_patches_never_span_a_change_of_modality(rule):
    record = utterance(0, 12)
    cut = record.words[3].end_frame, record.words[8].start_frame
    example = builder().interleaved(
        record,
        [Span("speech", 0, 4, 0, cut[0]), Span("text", 4, 8, 0, 0), Span("speech", 8, 12, cut[1], len(record.units))],
        rule,
    )
    speech = VOCAB.is_speech(example.token)
    assert example.patch_start[~speech].all() and example.patch_end[~speech].all()
    assert example.patch_start[1:][speech[1:] & ~speech[:-1]].all()
    assert speech.sum() == cut[0] + len(record.units) - cut[1]
