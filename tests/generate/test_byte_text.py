"""Text generated over byte-level BPE, whose BOS and EOS are one token; needs the package tokenizers."""

import dataclasses

import byte_tokenizer
import jax
import pytest
import synthetic_data

from lst_jax.config import StackConfig
from lst_jax.data.documents import ExampleBuilder
from lst_jax.data.patching import EachUnitRule
from lst_jax.evals.scorer import Speech, Text, candidate
from lst_jax.generate.generator import Generator
from lst_jax.generate.sampling import Sampling
from lst_jax.parallel import sharding
from lst_jax.step import update

pytest.importorskip("tokenizers")


def base_over_bytes():
    config = byte_tokenizer.with_bytes(synthetic_data.make_config(160, units=160, strategy="none"))
    stack = StackConfig(1, 16, 2, None)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, global_transformer=stack))


def test_text_is_generated_and_bytes_that_are_no_character_do_no_harm():
    config, mesh, ours = base_over_bytes(), sharding.one_device(), byte_tokenizer.tokenizer()
    params = jax.jit(update.build_model(config, mesh).init_params)(jax.random.key(0))
    generator = Generator(config, mesh, params)
    prompt = generator.prompt(["the river"], "text")
    assert prompt.token.tolist() == [0, config.joint_vocab.text_marker, *ours.encode("the river")]
    units = synthetic_data.utterance(3).units[:5]
    spoken = generator.prompt([units, "the river"], "text")
    assert spoken.token[-len(ours.encode(" the river")) :].tolist() == ours.encode(" the river")
    found = generator.generate([prompt] * 8, "text", Sampling(), list(range(8)), max_tokens=60)
    for one in found:
        ids = one.token[one.token != 0].tolist()
        assert all(0 < i < byte_tokenizer.SIZE for i in ids) and one.text == ours.decode(ids)
        assert (one.stopped == "eos") == (one.token[-1] == 0) and 0 not in one.token[:-1]
    assert any("\ufffd" in one.text for one in found)  # most pieces of so small a tokenizer are single bytes


def test_a_response_behind_words_begins_with_a_space():
    config, ours = base_over_bytes(), byte_tokenizer.tokenizer()
    builder = ExampleBuilder.of(config, ours)
    units = synthetic_data.utterance(3).units[:5]
    for prompt in ([Text("the")], [Speech(units)]):
        made = candidate(builder, prompt, [Text("river")], EachUnitRule())
        assert made.example.token[made.scored("response")].tolist() == ours.encode(" river")
    alone = candidate(builder, [], [Text("river")], EachUnitRule())
    assert alone.example.token[alone.scored("response")].tolist() == ours.encode("river")
