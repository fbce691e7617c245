"""A SentencePiece model's file, read without the package's own message classes."""

import pytest
import sentencepiece
import synthetic_data

from lst_jax.convert.sentencepiece_model import MESSAGES, read_model
from lst_jax.core.errors import DataError


def train(path, **settings):
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([" ".join(synthetic_data.WORDS)] * 20),
            model_writer=file,
            vocab_size=300,
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            minloglevel=2,
            hard_vocab_limit=False,
            **settings,
        )
    return path


@pytest.mark.parametrize(
    "settings",
    [
        {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity"},
        {"model_type": "unigram"},
        {
            "model_type": "bpe",
            "add_dummy_prefix": False,
            "remove_extra_whitespaces": False,
            "treat_whitespace_as_suffix": True,
            "byte_fallback": True,
            "user_defined_symbols": ["<a>"],
        },
    ],
    ids=["byte fallback", "unigram", "suffixes"],
)
def test_every_field_is_what_the_package_says(settings, tmp_path):
    path = train(tmp_path / "a.model", **settings)
    ours, processor = read_model(path), sentencepiece.SentencePieceProcessor(model_file=str(path))
    assert [p.piece for p in ours.pieces] == [processor.id_to_piece(i) for i in range(len(ours.pieces))]
    assert [p.score for p in ours.pieces] == [processor.get_score(i) for i in range(len(ours.pieces))]
    assert [p.type == 6 for p in ours.pieces] == [processor.is_byte(i) for i in range(len(ours.pieces))]
    assert [p.type == 3 for p in ours.pieces] == [processor.is_control(i) for i in range(len(ours.pieces))]
    try:
        from sentencepiece import sentencepiece_model_pb2
    except Exception as error:  # an older protobuf, which is why we read it ourselves
        pytest.skip(str(error)[:80])
    theirs = sentencepiece_model_pb2.ModelProto.FromString(path.read_bytes())
    for part in ("trainer_spec", "normalizer_spec", "denormalizer_spec"):
        for field in MESSAGES["TrainerSpec" if part == "trainer_spec" else "NormalizerSpec"]:
            assert getattr(getattr(ours, part), field) == getattr(getattr(theirs, part), field), field
    assert [p.type for p in ours.pieces] == [p.type for p in theirs.pieces]
    assert type(theirs).FromString(ours.SerializeToString()) == theirs  # what it does not know is kept


def test_another_file_is_one_line(tmp_path):
    (tmp_path / "a.model").write_bytes(b"\xff" * 40)
    with pytest.raises(DataError, match="a.model: is no SentencePiece model; "):
        read_model(tmp_path / "a.model")
