"""Base as a LlamaForCausalLM directory: exact both ways, and damage has a name. Logits: test_hf_llama_torch."""

import dataclasses
import functools
import json
import pickle

import llama_cases
import numpy as np
import pytest
import synthetic_data
from llama_cases import base_config, bpe_config, params_of, source_of

from lst_jax.convert import hf_llama
from lst_jax.convert.hf_llama import open_source, rotated_halves, rotated_pairs, write
from lst_jax.convert.safetensors_files import write_safetensors
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.data import text


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A directory of several shards."""
    out = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hf_llama, "write_safetensors", functools.partial(write_safetensors, shard_bytes=100_000))
        write(source_of(base_config()), out)
    return out


@pytest.fixture
def directory(converted, tmp_path):
    """A copy of it to damage."""
    for path in converted.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_pairs_become_halves_within_each_head_and_back():
    rows = np.arange(16.0, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    halves = rotated_halves(rows, 2)
    np.testing.assert_array_equal(halves[:, 0], [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15])
    np.testing.assert_array_equal(rotated_pairs(halves, 2), rows)


@pytest.mark.parametrize("make", [base_config, bpe_config])
def test_there_and_back_is_the_same_to_the_bit(tmp_path, make):
    config, flat = make(), params_of(make())
    flat["norm/scale"][:3] = [np.nan, -0.0, 1e-42]  # whatever the bits are
    write(source_of(config, flat), tmp_path)
    back = open_source(tmp_path, None)
    assert back.arrays.keys() == flat.keys()
    for path, value in flat.items():
        assert back.arrays[path].shape == value.shape
        np.testing.assert_array_equal(back.arrays[path].read().view(np.int32), value.view(np.int32), path)
    data = dataclasses.replace(
        config.data,
        tokenizer=str(tmp_path / "tokenizer.model"),
        unit_tokenizer=config.data.unit_tokenizer and str(tmp_path / "unit_tokenizer.model"),
    )
    assert back.config == dataclasses.replace(config, data=data)
    assert back.origin == {"format": "hf", "path": str(tmp_path), "step": None}


def test_shards_and_their_index_open_again(converted):
    assert len(list(converted.glob("model-*.safetensors"))) > 3
    for path, value in params_of(base_config()).items():
        np.testing.assert_array_equal(open_source(converted, None).arrays[path].read(), value)


def test_a_recipe_stands_in_for_the_configuration(directory):
    (directory / "lst_config.json").unlink()
    with pytest.raises(DataError, match="lst_config.json: no such file; give the recipe .* --config"):
        open_source(directory, None)
    assert open_source(directory, base_config()).config.data.tokenizer == str(directory / "tokenizer.model")
    (directory / "tokenizer.model").unlink()
    assert open_source(directory, base_config()).config == base_config()


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rename(directory, old, new):
    """Under another name in the files and in the index."""
    for path in [*directory.glob("*.safetensors"), directory / "model.safetensors.index.json"]:
        assert len(old) == len(new)
        path.write_bytes(path.read_bytes().replace(f'"{old}"'.encode(), f'"{new}"'.encode()))


def test_a_truncated_shard_is_named(directory):
    shard = sorted(directory.glob("model-*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DataError, match=rf"{shard.name}: has .* cut short; "):
        open_source(directory, None)


def test_missing_and_extra_tensors_are_named(directory):
    rename(directory, "model.layers.1.mlp.up_proj.weight", "model.layers.9.mlp.up_proj.weight")
    with pytest.raises(DataError) as error:
        open_source(directory, None)
    message = str(error.value)
    assert (
        "1 tensors missing and 1 left over (missing: model.layers.1.mlp.up_proj.weight; left over: "
        "model.layers.9.mlp.up_proj.weight)"
        in message
        and "\n" not in message
    )


def test_a_tensor_of_another_shape_is_named(tmp_path):
    config = base_config()
    write(source_of(config), tmp_path)
    change_json(tmp_path / "lst_config.json", vocab={"text_size": 400, "unit_slots": 501})
    change_json(tmp_path / "config.json", vocab_size=907)
    with pytest.raises(DataError, match=r"weight has the shape \(908, 48\), .* gives \(907, 48\)"):
        open_source(tmp_path, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "config.json: model_type must be llama"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu': only 'silu' is supported"),
        ({"attention_bias": True}, "attention_bias=True"),
        ({"model_type": "mistral", "sliding_window": None}, "model_type must be llama and is 'mistral'"),
        ({"sliding_window": 4096}, "config.json: sliding_window=4096: only None is supported"),
        ({"layer_types": ["full_attention"] * 2 + ["sliding_attention"]}, r"layer_types=\['full.*'full_attention' in"),
        ({"mlp_bias": True}, "mlp_bias=True: only False is supported"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5: only 1.0"),
        ({"quantization_config": {"bits": 4}}, r"quantization_config=\{'bits': 4\}: only None"),
        ({"rope_scaling": {"factor": 2.0}, "rope_parameters": None}, "factor=2.0 of the rotary positions"),
        (
            {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
            "partial_rotary_factor=0.5 of the",
        ),
        ({"rope_scaling": 2.0}, "rope_scaling=2.0: must be an object"),
        ({"head_dim": 16}, "head_dim=16"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 3e4}}, "rope_type='llama3'"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2}}, "rope_type='linear'"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, r"model.rope_theta=30000.0: .* has 10000.0"),
        ({"rms_norm_eps": 1e-5}, "model.norm_eps=3e-05: .* has 1e-05"),
        ({"num_hidden_layers": 2}, "model.global_transformer.layers=3: .* has 2"),
        ({"num_attention_heads": 2, "head_dim": 24, "num_key_value_heads": 2}, "model.global_transformer.heads=4"),
        ({"intermediate_size": 64}, "model.ffn_multiple=8: a feed-forward width=128: .* has 64"),
        ({"vocab_size": 900}, "vocab.text_size=400 and vocab.unit_slots=502 make 908 ids, .* has vocab_size=900"),
        ({"num_key_value_heads": 2}, "num_key_value_heads=2 of 4 heads, .* --warm-start takes such a model"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings=True: Base has neither"),
        ({"hidden_size": "wide"}, "config.json: .* missing or no number"),
    ],
)
def test_a_config_json_of_another_model_is_one_line(directory, change, message):
    change_json(directory / "config.json", **change)
    with pytest.raises(DataError, match=message) as error:
        open_source(directory, None)
    assert "\n" not in str(error.value) and ";" in str(error.value)


@pytest.mark.parametrize(
    "change",
    [{"model_type": "mistral", "sliding_window": 4096}, {"sliding_window": 4096}, {"mlp_bias": True}, {"head_dim": 16}],
)
def test_a_warm_start_from_such_a_model_is_refused_before_its_tensors_are_read(directory, change):
    change_json(directory / "config.json", **change)
    with pytest.raises(DataError, match=f"config.json: {next(iter(change))}.*; ") as error:
        hf_llama.read_llama(directory)
    assert "\n" not in str(error.value)


def test_rotations_are_read_as_transformers_4_writes_them(directory):
    change_json(directory / "config.json", rope_parameters=None)
    assert open_source(directory, None)


def test_a_recipe_of_another_vocabulary_or_tokenizer_is_refused(directory, tmp_path_factory):
    with pytest.raises(ConfigError, match="--config: .*lst_config.json is there already; leave --config out"):
        open_source(directory, base_config())
    (directory / "lst_config.json").unlink()
    with pytest.raises(DataError, match="vocab.unit_slots=503 make 909 ids, .* has vocab_size=908"):
        open_source(directory, base_config(unit_slots=503))
    other = tmp_path_factory.mktemp("other") / "other.model"
    text.train_tokenizer([" ".join(synthetic_data.WORDS[::-1])] * 9 + list(synthetic_data.WORDS), other, 290)
    config = base_config()
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, tokenizer=str(other)))
    ours, theirs = text.tokenizer_fingerprint(other), text.tokenizer_fingerprint(synthetic_data.tokenizer_path())
    with pytest.raises(DataError, match=f"data.tokenizer=.*{ours}.*tokenizer.model has {theirs}"):
        open_source(directory, config)


def test_what_a_llama_cannot_be_is_not_written(tmp_path):
    config = base_config()
    windowed = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, global_transformer=dataclasses.replace(llama_cases.STACK, window=64)),
    )
    with pytest.raises(DataError, match="model.global_transformer.window=64: a LlamaForCausalLM has no window"):
        write(source_of(windowed), tmp_path)
    with pytest.raises(DataError, match="model.architecture='lst': a LlamaForCausalLM is of \"base\" only"):
        write(source_of(synthetic_data.make_config()), tmp_path)
    flat = params_of(config)
    del flat["norm/scale"]
    with pytest.raises(DataError, match="1 tensors missing .*missing: norm/scale"):
        write(source_of(config, flat), tmp_path)
    assert not list(tmp_path.iterdir())


class Executed:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_directory_of_pickles_is_refused_unread(directory, tmp_path_factory):
    for path in directory.glob("*.safetensors*"):
        path.unlink()
    trace = tmp_path_factory.mktemp("trace") / "executed"
    (directory / "pytorch_model.bin").write_bytes(pickle.dumps(Executed(trace)))
    with pytest.raises(DataError, match="only pytorch_model.bin") as error:
        open_source(directory, None)
    assert "\n" not in str(error.value) and not trace.exists()
