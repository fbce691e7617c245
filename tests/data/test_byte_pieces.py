"""Byte-level BPE as the text tokenizer: what a word's pieces are, and documents over it. Needs the package tokenizers."""

import dataclasses
import functools
import json
import pathlib
import tempfile

import byte_tokenizer
import hypothesis
import numpy as np
import pytest
import synthetic_data
from byte_tokenizer import SIZE, tokenizer, with_bytes
from hypothesis import strategies as st

from lst_jax.core.errors import DataError
from lst_jax.core.vocab import Vocab
from lst_jax.data import text
from lst_jax.data.byte_pieces import PATTERNS
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.interleave import Span
from lst_jax.data.patching import EachUnitRule
from lst_jax.data.pipeline import BatchStream, open_tokenizer
from lst_jax.data.records import Utterance, Word
from lst_jax.data.text_tokenizer import TextTokenizer

tokenizers = pytest.importorskip("tokenizers")

VOCAB = Vocab(SIZE, 502, bos_id=0, eos_id=0)
T, S, OFFSET = VOCAB.text_marker, VOCAB.speech_marker, VOCAB.unit_offset
RECORD = Utterance("r", np.arange(8, dtype=np.uint16), (Word("the", 0, 3), Word("river", 4, 7)), None, None)


def plain(path=None):
    """The library's own tokenizer of the file."""
    return tokenizers.Tokenizer.from_file(path or byte_tokenizer.path())


def changed(folder, change):
    """The file with its JSON changed."""
    settings = json.loads(pathlib.Path(byte_tokenizer.path()).read_text())
    change(settings)
    path = folder / "changed.json"
    path.write_text(json.dumps(settings))
    return path


def test_training_twice_gives_the_same_file(tmp_path):
    text.train_byte_pieces(byte_tokenizer.TEXTS, tmp_path / "again.json", SIZE)
    assert (tmp_path / "again.json").read_bytes() == pathlib.Path(byte_tokenizer.path()).read_bytes()
    assert tokenizer().get_piece_size() == SIZE and tokenizer().special_ids() == {0}
    assert isinstance(tokenizer(), TextTokenizer) and isinstance(synthetic_data.tokenizer(), TextTokenizer)
    for size, message in ((256, "use --size 257 or more"), (100_000, "they have at most")):
        with pytest.raises(DataError, match=message):
            text.train_byte_pieces(byte_tokenizer.TEXTS, tmp_path / "none.json", size)


@hypothesis.given(st.text() | st.lists(st.sampled_from(synthetic_data.WORDS)).map(" ".join))
def test_every_text_is_encoded_as_the_library_does_and_survives(text):
    ids = tokenizer().encode(text)
    assert ids == plain().encode(text).ids
    assert tokenizer().decode(ids) == text.removeprefix(" ") and tokenizer().special_ids().isdisjoint(ids)
    assert tokenizer().ids(text).tolist() == ids and tokenizer().encode_on(text) == ids
    spans = tokenizer().byte_spans(text)
    assert len(spans) == len(ids) and (not spans or (spans[0][0], spans[-1][1]) == (0, len(text.encode())))


SPLIT = {"type": "Split", "behavior": "Isolated", "invert": False}
LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
WORDS = st.lists(st.sampled_from((*synthetic_data.WORDS, "it's", "42,000", "a1b2", "日本", "\u0301e", "--", "x" * 70)))


@functools.cache
def kind(name):
    """The tokenizer with another rule for words, as the file of a family has it."""
    steps = {
        "gpt2": [LEVEL | {"use_regex": True}],
        "smollm": [{"type": "Digits", "individual_digits": True}, LEVEL | {"use_regex": True}],
        **{str(i): [SPLIT | {"pattern": {"Regex": one}}, LEVEL] for i, one in enumerate(sorted(PATTERNS))},
    }
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lst_jax_test_"))
    pre = (
        {"type": "Sequence", "pretokenizers": steps[name]}
        if name in steps
        else {"type": "Sequence", "pretokenizers": []}
    )
    if name == "unknown":
        pre["pretokenizers"] = [SPLIT | {"pattern": {"Regex": r"\\w+ \\w+"}}, LEVEL]
    return text.load_tokenizer(changed(folder, lambda s: s.update(pre_tokenizer=pre, normalizer={"type": "NFC"})))


@pytest.mark.parametrize("name", ["gpt2", "smollm", "0", "1"])
@hypothesis.given(words=WORDS, behind=st.booleans(), end=st.sampled_from(["", " ", "\n", "\t.", "  a"]))
def test_word_by_word_gives_the_pieces_of_the_whole_text(name, words, behind, end):
    model = kind(name)
    assert model._words is not None
    text = " ".join(words) + end
    assert model.ids(text, behind).tolist() == (model.encode_behind(text) if behind else model.encode(text))


def test_a_rule_that_is_not_known_is_given_whole_texts():
    assert kind("unknown")._words is None
    assert kind("unknown").ids("the river of").tolist() == kind("unknown").encode("the river of")


def test_text_behind_other_words_begins_with_a_space_and_is_decoded_without():
    assert tokenizer().encode_behind("river") == tokenizer().encode(" river") != tokenizer().encode("river")
    assert tokenizer().encode_behind(" river") == tokenizer().encode(" river")
    assert tokenizer().encode("the river") == tokenizer().encode("the") + tokenizer().encode_behind("river")
    assert tokenizer().decode(tokenizer().encode_behind("river")) == "river"
    assert tokenizer().ids("river", behind=True).tolist() == tokenizer().encode_behind("river")


def test_the_name_of_a_special_token_within_a_text_is_text():
    ids = tokenizer().encode("a<|endoftext|>b")
    assert 0 not in ids and tokenizer().decode([0, *ids, 0]) == "a<|endoftext|>b"


def test_bytes_that_are_no_whole_character_are_replaced():
    ids = tokenizer().encode("the é")
    assert tokenizer().decode(ids[:-1]) == "the \ufffd" and tokenizer().decode(ids) == "the é"
    assert tokenizer().decode(ids[-1:]) == "\ufffd"


def test_pieces_of_a_word_count_characters():
    for word in ("the", "pleasant", "naïve", "x", "日本", "river"):
        chars = tokenizer().piece_chars(word)
        assert sum(chars) == len(word) and len(chars) <= len(tokenizer().encode_behind(word))
    assert tokenizer().piece_chars("") == (1,)
    assert tokenizer().id_to_piece(tokenizer().space_id()) == "Ġ"


def test_documents_have_the_tokenizer_s_own_ids_and_text_behind_speech_has_its_space():
    builder = ExampleBuilder(VOCAB, tokenizer(), text_ends_in_space=True)
    first, second, space = tokenizer().encode("the"), tokenizer().encode(" river"), tokenizer().space_id()
    spans = [Span("speech", 0, 1, 0, 4), Span("text", 1, 2, 4, 8)]
    made = builder.interleaved(RECORD, spans, EachUnitRule())
    assert made.token.tolist() == [0, S, *range(OFFSET, OFFSET + 4), T, *second, 0]
    spans = [Span("text", 0, 1, 0, 4), Span("speech", 1, 2, 4, 8)]
    made = builder.interleaved(RECORD, spans, EachUnitRule())
    assert made.token.tolist() == [0, T, *first, space, S, *range(OFFSET + 4, OFFSET + 8), 0]


def test_batches_of_a_run_hold_the_texts(tmp_path):
    source = synthetic_data.write_directory(tmp_path / "text", [synthetic_data.texts(20)], "text")
    config = synthetic_data.make_config(
        sources=(synthetic_data.cfg.SourceConfig("text", "text", str(tmp_path / "text")),)
    )
    assert source is None or source
    batch = next(BatchStream(with_bytes(config))).batch
    assert (batch.token_BT == 0).any() and batch.token_BT.max() <= T
    row = batch.token_BT[0][batch.doc_id_BT[0] == 1]
    assert tokenizer().decode(row[row < SIZE].tolist()) in " ".join(byte_tokenizer.TEXTS)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ((1, 0), r"vocab.bos_id=1: is the text piece '!' of .*; use a special token, as 0 <\|endoftext\|>"),
        ((0, 2), "vocab.eos_id=2: is the text piece"),
    ],
)
def test_documents_open_and_end_with_special_tokens(ids, message):
    config = with_bytes(synthetic_data.make_config())
    wrong = dataclasses.replace(config, vocab=dataclasses.replace(config.vocab, bos_id=ids[0], eos_id=ids[1]))
    assert open_tokenizer(config)
    with pytest.raises(DataError, match=message):
        open_tokenizer(wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["pre_tokenizer"].update(add_prefix_space=True), "add_prefix_space=true"),
        (lambda s: s.update(pre_tokenizer={"type": "Whitespace"}), "holds no byte-level BPE; give the SentencePiece"),
        (lambda s: s.pop("model"), "is not a file of the tokenizers library"),
    ],
)
def test_files_of_another_kind_are_one_line(tmp_path, change, message):
    with pytest.raises(DataError, match=f"changed.json: .*{message}") as error:
        text.load_tokenizer(changed(tmp_path, change))
    assert "\n" not in str(error.value)
