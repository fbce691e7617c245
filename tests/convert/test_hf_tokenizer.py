"""The joint tokenizer in transformers is SentencePiece and the vocabulary's own ids; needs transformers."""

import dataclasses
import io
import json
import pathlib
import random

import pytest
import sentencepiece
import synthetic_data

from lst_jax.convert.companions import write_companions
from lst_jax.convert.hf_tokenizer import write_tokenizer
from lst_jax.core.errors import DataError
from lst_jax.data.text import load_tokenizer, train_tokenizer

transformers = pytest.importorskip("transformers")

CORPUS = pathlib.Path(__file__).parents[2] / "corpora" / "asterisk" / "text.jsonl"
AWKWARD = [
    "",
    " ",
    "   ",
    "\n",
    "\t",
    " a",
    "a ",
    "  a  b ",
    "a\n b\n",
    "a \n",
    "a\r\nb",
    "\u2581",
    "a\u2581",
    "\u2581a",
    "a \u2581 b",
    " \u2581 ",
    "\u00a0a\u00a0",
    "\u3000a",
    "12345 007 3.14",
    "naïve café",
    "日本語",
    "a👩‍👩‍👧b",
    "e\u0301",
    "\u200bzero",
    "null\x00byte",
    "<0x41>",
    "<unused0>",
    "don't",
    "UPPER lower",
    "----------",
    "=-=-=-=-=",
    "ha" * 40,
    "a" * 100,
    "....!!??",
    "a\u2028b",
    "\ufeffbom",
    "\U000f0000",
    "the the  the   the",
]


def corpus_texts():
    with CORPUS.open(encoding="utf-8") as file:
        return [json.loads(line)["text"] for line in file]


def periodic_texts(count):
    """Where two ways to join neighbours can overlap."""
    rng, found = random.Random(5), []
    for _ in range(count):
        words = []
        for _ in range(rng.randint(1, 6)):
            unit = "".join(rng.choice("ath-. ") for _ in range(rng.randint(1, 4)))
            words.append((unit * rng.randint(1, 12))[: rng.randint(1, 30)])
        found.append(" ".join(words))
    return found


def config_with(model_path):
    size = load_tokenizer(model_path).get_piece_size()
    config = synthetic_data.make_config(160, 160, strategy="none", text_size=size)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, tokenizer=str(model_path)))


def converted(config, out, **options):
    out.mkdir()
    write_companions(config, out)
    write_tokenizer(config, out)
    return transformers.AutoTokenizer.from_pretrained(out, local_files_only=True, **options)


def train(path, **settings):
    """A SentencePiece model of another kind than ours."""
    model = io.BytesIO()
    settings = (
        dict(
            vocab_size=600,
            model_type="bpe",
            byte_fallback=True,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            character_coverage=0.9995,
            minloglevel=2,
            num_threads=1,
        )
        | settings
    )
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus_texts()), model_writer=model, **settings)
    path.write_bytes(model.getvalue())
    return path


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Configuration, SentencePiece model and transformers tokenizer as in the demo."""
    folder = tmp_path_factory.mktemp("demo")
    train_tokenizer(corpus_texts(), folder / "text.model", 1024)
    config = config_with(folder / "text.model")
    return config, load_tokenizer(folder / "text.model"), converted(config, folder / "out")


def assert_equal_to_sentencepiece(tokenizer, model, texts):
    for text in texts:
        ids = model.encode(text)
        assert tokenizer.encode(text, add_special_tokens=False) == ids, repr(text)
        assert tokenizer.decode(ids, skip_special_tokens=True) == model.decode(ids), repr(text)


def test_every_text_is_encoded_and_decoded_as_by_sentencepiece(demo):
    _, model, tokenizer = demo
    texts = [*corpus_texts(), *AWKWARD, *(f" {a}  {b}" for a in AWKWARD for b in AWKWARD[5:15]), *periodic_texts(3000)]
    assert_equal_to_sentencepiece(tokenizer, model, texts)


def test_it_needs_no_code_and_knows_every_id_by_name(demo):
    config, model, tokenizer = demo
    vocab = config.joint_vocab
    assert type(tokenizer).__module__.startswith("transformers.")
    assert len(tokenizer) == vocab.size
    pieces = [model.id_to_piece(i) for i in range(vocab.text_size)]
    assert tokenizer.convert_ids_to_tokens(list(range(vocab.text_size))) == pieces
    assert tokenizer.convert_tokens_to_ids(
        ["<|unused0|>", "<|unused3|>", "<|text|>", "<|speech|>", "<|unit0|>", "<|unit501|>"]
    ) == [
        vocab.text_size,
        vocab.text_size + 3,
        vocab.text_marker,
        vocab.speech_marker,
        vocab.unit_offset,
        vocab.size - 1,
    ]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, vocab.text_size)


def test_special_tokens_open_a_text(demo):
    config, model, tokenizer = demo
    found = tokenizer("press one", return_tensors=None)
    assert found["input_ids"] == [1, config.joint_vocab.text_marker, *model.encode("press one")]
    assert found.keys() == {"input_ids", "attention_mask"}  # a Llama takes no others
    assert tokenizer.encode("") == [1, config.joint_vocab.text_marker]


def test_speech_and_text_are_encoded_as_training_encodes_spans(demo):
    config, model, tokenizer = demo
    vocab = config.joint_vocab
    text = "<s><|text|>press one<|speech|><|unit3|><|unit7|><|unit501|><|text|> or two</s>"
    ids = [
        1,
        vocab.text_marker,
        *model.encode("press one"),
        vocab.speech_marker,
        vocab.unit_offset + 3,
        vocab.unit_offset + 7,
        vocab.unit_offset + 501,
        vocab.text_marker,
        *model.encode("or two"),
        2,
    ]
    assert tokenizer.encode(text, add_special_tokens=False) == ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "press one or two"
    assert tokenizer.encode(tokenizer.decode(ids), add_special_tokens=False) == ids


def test_batches_are_padded_on_the_left(demo):
    config, model, tokenizer = demo
    found = tokenizer(["press", "press one for"], padding=True)
    assert found["input_ids"][0][0] == config.joint_vocab.text_size and found["attention_mask"][0][0] == 0
    assert found["attention_mask"][1][0] == 1


LIKE_LLAMA = dict(
    split_digits=True,
    normalization_rule_name="identity",
    remove_extra_whitespaces=False,
    allow_whitespace_only_pieces=True,
)
PLAIN = {
    "like Llama-2": LIKE_LLAMA,
    "no byte fallback": {"byte_fallback": False, "normalization_rule_name": "identity"},
    "no blank in front": LIKE_LLAMA | {"add_dummy_prefix": False},
}
WRAPPED = {
    "unigram": {"model_type": "unigram", "normalization_rule_name": "identity"},
    "nmt_nfkc": {},
    "user symbols": {"user_defined_symbols": ["<mask>"], "normalization_rule_name": "identity"},
    "blank at the end": {"treat_whitespace_as_suffix": True, "normalization_rule_name": "identity"},
}


@pytest.mark.parametrize("name", PLAIN)
def test_other_bpe_models_need_no_code_either(tmp_path, name):
    path = train(tmp_path / "text.model", **PLAIN[name])
    tokenizer, model = converted(config_with(path), tmp_path / "out"), load_tokenizer(path)
    texts = [*corpus_texts()[::7], *AWKWARD, *periodic_texts(500)]
    for text in texts:
        assert tokenizer.encode(text, add_special_tokens=False) == model.encode(text), repr(text)
        if name != "no byte fallback":  # what is unknown is written otherwise
            assert tokenizer.decode(model.encode(text), skip_special_tokens=True) == model.decode(model.encode(text))


@pytest.mark.parametrize("name", WRAPPED)
def test_other_models_run_sentencepiece_itself(tmp_path, name):
    path = train(tmp_path / "text.model", **WRAPPED[name])
    config, model = config_with(path), load_tokenizer(path)
    tokenizer, vocab = converted(config, tmp_path / "out", trust_remote_code=True), config.joint_vocab
    assert not (tmp_path / "out" / "tokenizer.json").exists()
    assert_equal_to_sentencepiece(tokenizer, model, [*corpus_texts()[::7], *AWKWARD, *periodic_texts(200)])
    assert len(tokenizer) == vocab.size
    assert tokenizer("press one")["input_ids"] == [1, vocab.text_marker, *model.encode("press one")]
    ids = [
        *model.encode("press"),
        vocab.speech_marker,
        vocab.unit_offset + 501,
        vocab.text_marker,
        *model.encode("or two"),
    ]
    assert tokenizer.encode("press<|speech|><|unit501|><|text|>or two", add_special_tokens=False) == ids
    text = [model.decode(model.encode(part)) for part in ("press", "or two")]
    assert tokenizer.decode(ids) == "<|speech|><|unit501|><|text|>".join(text)


def test_pieces_of_units_have_names_too(tmp_path):
    config = synthetic_data.make_bpe_config()
    tokenizer = converted(config, tmp_path / "out")
    assert len(tokenizer) == config.joint_vocab.size
    assert tokenizer.convert_tokens_to_ids("<|piece2002|>") == config.joint_vocab.size - 1
    assert "<|unit3|>" not in tokenizer.get_vocab()  # piece 3 is another unit, or several


def test_a_tokenizer_of_another_size_is_refused(tmp_path):
    config = synthetic_data.make_config(160, 160, strategy="none", text_size=399)
    with pytest.raises(DataError, match="has 400 pieces, the run has vocab.text_size=399"):
        write_tokenizer(config, tmp_path)
