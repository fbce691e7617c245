"""Encoding word by word gives what SentencePiece gives for the whole text, or is not done."""

import hypothesis
import pytest
import sentencepiece
from hypothesis import strategies as st
from synthetic_data import WORDS, texts, tokenizer

from lst_jax.data import word_encoder
from lst_jax.data.word_encoder import WordEncoder, merges_within_words

ENCODER = WordEncoder(tokenizer())
PARTS = (
    *WORDS,
    "a",
    "x" * 90,
    "naïve",
    "été",
    "\u2581",
    "42",
    "\n",
    "\t",
    " ",
    "  ",
    "\u3000",
    "\u00a0",
    "<s>",
    "日本",
    "\u0301",
)


def train(path, **settings):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(text.text for text in texts(40)), model_prefix=str(path / "m"), minloglevel=2,
        **{"vocab_size": 300, "model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity", **settings},
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(str(path / "m.model"))


@hypothesis.given(st.lists(st.sampled_from(PARTS) | st.text(max_size=3)).map("".join) | st.text())
def test_pieces_are_those_of_the_whole_text(text):
    assert ENCODER.encode(text).tolist() == tokenizer().encode(text)


@hypothesis.given(st.lists(st.sampled_from(PARTS)).map(" ".join))
def test_pieces_of_joined_words_are_those_of_the_whole_text(text):
    assert ENCODER.encode(text).tolist() == tokenizer().encode(text)


def test_words_are_kept_and_not_without_a_bound(monkeypatch):
    assert ENCODER._words is not None
    encoder = WordEncoder(tokenizer())
    monkeypatch.setattr(word_encoder, "MOST_WORDS", 3)
    for text in ("the of and to", "the", "x" * 65):
        encoder.encode(text)
    assert set(encoder._words) == {"the"}


@pytest.mark.parametrize(
    "settings",
    [
        {"model_type": "unigram"},
        {"normalization_rule_name": "nmt_nfkc"},
        {"add_dummy_prefix": False},
        {"split_by_whitespace": False, "vocab_size": 500},
        {"treat_whitespace_as_suffix": True},
    ],
)
def test_other_models_encode_texts_whole(tmp_path, settings):
    other = train(tmp_path, **settings)
    assert not merges_within_words(other)
    for text in texts(10):
        assert WordEncoder(other).encode(text.text).tolist() == other.encode(text.text)


@pytest.mark.parametrize("extra", [True, False])
def test_runs_of_spaces_may_be_pieces(tmp_path, extra):
    """As in the tokenizers of Llama, which keep the spaces of a text."""
    llama = train(tmp_path, remove_extra_whitespaces=extra, user_defined_symbols=["\u2581\u2581", "\u2581\u2581\u2581"])
    assert merges_within_words(llama)
    encoder = WordEncoder(llama)
    for text in (
        "a  b",
        " a b",
        "a b ",
        "the   river of  it",
        "the river of it",
        "x\u2581 y",
        "x \u2581y",
        "x\u2581",
        "",
    ):
        assert encoder.encode(text).tolist() == llama.encode(text), text
