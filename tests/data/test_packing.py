import numpy as np
import pytest
from synthetic_data import config_over, make_config, tokenizer, utterances, write_both, write_directory

from lst_jax.config import SourceConfig
from lst_jax.core.errors import DataError
from lst_jax.core.vocab import BOS_ID, EOS_ID
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.packing import eval_batches, pack_examples
from lst_jax.data.patching import AlignedRule, EachUnitRule, StaticRule
from lst_jax.data.records import TextDocument

STATIC = StaticRule(4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_both(tmp_path_factory.mktemp("data"))


def documents(batches, vocab):
    """Every piece of the batches as a list of tokens."""
    found = []
    for batch, _ in batches:
        for token, doc in zip(batch.token_BT, batch.doc_id_BT, strict=True):
            found.extend(token[doc == i].tolist() for i in range(1, doc.max() + 1))
    return found


def source_of(data, name):
    return SourceConfig("held_out", "utterance" if name == "speech" else "text", str(data / name), 1.0)


def test_evaluation_reads_every_document_once_and_whole(data):
    config = config_over(data, tokens=640, units=320)
    vocab = config.joint_vocab
    batches = list(eval_batches(source_of(data, "speech"), config, STATIC, 100, "speech"))
    expected = [
        [BOS_ID, vocab.speech_marker, *(u.units.astype(int) + vocab.unit_offset).tolist(), EOS_ID]
        for u in utterances(23)
    ]
    assert sorted(documents(batches, vocab)) == sorted(expected)
    assert {b.token_BT.shape for b, _ in batches} == {(4, 640)}
    assert sum(s["pieces_cut"] for _, s in batches) == 0
    texts_only = list(eval_batches(source_of(data, "speech"), config, STATIC, 100, "text"))
    assert sorted(documents(texts_only, vocab)) == sorted(
        [BOS_ID, vocab.text_marker, *tokenizer().encode(" ".join(w.text for w in u.words)), EOS_ID]
        for u in utterances(23)
    )


def test_evaluation_is_the_same_every_time_and_stops_at_its_count(data):
    config = config_over(data, tokens=640, units=320)
    runs = [list(eval_batches(source_of(data, "speech"), config, STATIC, 2, "interleaved")) for _ in range(2)]
    assert len(runs[0]) == 2
    for (one, _), (other, _) in zip(*runs, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    speech = config.joint_vocab.is_speech(runs[0][0][0].token_BT)
    assert speech.any() and (~speech & (runs[0][0][0].doc_id_BT > 0)).any()


def test_evaluation_rules_change_patches_and_not_tokens(data):
    config = config_over(data, tokens=640, units=640)
    batches = {
        rule.name: list(eval_batches(source_of(data, "speech"), config, rule, 9, "interleaved"))
        for rule in (STATIC, AlignedRule(), EachUnitRule())
    }
    vocab = config.joint_vocab
    assert documents(batches["static"], vocab) == documents(batches["aligned"], vocab)
    assert documents(batches["static"], vocab) == documents(batches["none"], vocab)
    lengths = {
        p: sum(s["speech_units"] for _, s in b) / sum(s["speech_patches"] for _, s in b) for p, b in batches.items()
    }
    assert lengths["none"] == 1 and 3.7 < lengths["static"] <= 4 and 4.2 < lengths["aligned"] < 6


def test_a_held_out_text_longer_than_a_row_keeps_its_head(tmp_path):
    held_out = [TextDocument("a", "the river " * 200), TextDocument("b", "the river")]
    write_directory(tmp_path / "text", [held_out], "text")
    source = SourceConfig("held_out", "text", str(tmp_path / "text"), 1.0)
    config = make_config(tokens=64, units=64, sources=(source,), rows=2)
    ((batch, stats),) = eval_batches(source, config, STATIC, 9, "text")
    assert stats["pieces_cut"] == 1 and stats["pieces"] == 2
    assert (batch.doc_id_BT[0] == 1).all() and batch.doc_id_BT[1].max() == 1
    assert batch.token_BT[0].tolist() == [
        BOS_ID,
        config.joint_vocab.text_marker,
        *tokenizer().encode(held_out[0].text)[:62],
    ]
    with pytest.raises(DataError, match="holds texts, which have no 'speech' form"):
        next(eval_batches(source, config, STATIC, 9, "speech"))


def test_every_example_is_found_where_its_place_says(data):
    config = config_over(data, tokens=640, units=320)
    builder = ExampleBuilder(config.joint_vocab, tokenizer())
    examples = [builder.speech_only(u, STATIC) for u in utterances(23)]
    seen = []
    for batch, _, places in pack_examples(examples, config):
        for place in places:
            example = examples[place.example]
            found = batch.token_BT[place.row, place.position : place.position + len(example.token)]
            np.testing.assert_array_equal(found, example.token)
            seen.append(place.example)
    assert seen == list(range(23))
