import dataclasses

import pytest
import sentencepiece
import synthetic_data

from lst_jax.core.errors import DataError, StorageError
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.pipeline import open_tokenizer
from lst_jax.data.records import TextDocument
from lst_jax.data.text import load_tokenizer, tokenizer_fingerprint, train_tokenizer

TEXTS = [f"the quick brown fox number {i} jumps over lazy dogs in {i * 7} places" for i in range(100)]


def test_training_twice_gives_the_same_file_and_the_documented_ids(tmp_path):
    for name in ("a", "b"):
        train_tokenizer(TEXTS, tmp_path / name, 330)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert tokenizer_fingerprint(tmp_path / "a") == tokenizer_fingerprint(tmp_path / "b")
    tokenizer = load_tokenizer(tmp_path / "a")
    assert tokenizer.get_piece_size() == 330
    assert (tokenizer.unk_id(), tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id()) == (0, 1, 2, -1)


def test_every_text_survives_because_of_byte_fallback(tmp_path):
    train_tokenizer(TEXTS, tmp_path / "a", 330)
    tokenizer = load_tokenizer(tmp_path / "a")
    text = "the fox é 漢 Ω!"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert 0 not in tokenizer.encode(text)


@pytest.mark.parametrize("texts, size", [(TEXTS, 5), (TEXTS, 100_000), ([], 300)])
def test_an_impossible_size_is_one_line(tmp_path, texts, size):
    with pytest.raises(DataError, match=f"a: no tokenizer of {size} pieces") as caught:
        train_tokenizer(texts, tmp_path / "a", size)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_model_is_named(tmp_path):
    (tmp_path / "bad.model").write_bytes(b"hello")
    with pytest.raises(DataError, match="bad.model: is not a SentencePiece model"):
        load_tokenizer(tmp_path / "bad.model")
    with pytest.raises(DataError, match="none.model: no such file"):
        load_tokenizer(tmp_path / "none.model")
    with pytest.raises(DataError, match="none.model: no such file"):
        tokenizer_fingerprint(tmp_path / "none.model")


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "no").write_text("a file")
    with pytest.raises(StorageError, match="cannot write"):
        train_tokenizer(TEXTS, tmp_path / "no" / "a", 330)


def test_a_model_with_other_ids_opens_and_ends_documents_with_its_own(tmp_path):
    with (tmp_path / "other.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS), model_writer=file, vocab_size=330, model_type="bpe", byte_fallback=True,
            bos_id=3, eos_id=0, unk_id=2, pad_id=1, minloglevel=2,
        )  # fmt: skip
    config = synthetic_data.make_config(text_size=330)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, tokenizer=str(tmp_path / "other.model")))
    with pytest.raises(DataError, match=r"vocab.bos_id=1, vocab.eos_id=2: .*other.model has BOS, EOS ids \(3, 0\)"):
        open_tokenizer(config)
    config = dataclasses.replace(config, vocab=dataclasses.replace(config.vocab, bos_id=3, eos_id=0))
    tokenizer = open_tokenizer(config)
    made = ExampleBuilder.of(config, tokenizer).text(TextDocument("t", "the fox"))
    assert made.token.tolist() == [3, config.joint_vocab.text_marker, *tokenizer.encode("the fox"), 0]
    assert tokenizer.special_ids() == {0, 1, 2, 3}
