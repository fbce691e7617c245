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

from lst_jax.convert import hf_families, hf_llama
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


LLAMA_3 = {
    "rope_type": "llama3",
    "rope_theta": 3e4,
    "factor": 8,
    "low_freq_factor": 1,
    "high_freq_factor": 4,
    "original_max_position_embeddings": 64,
}


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
        ({"model_type": "mistral", "sliding_window": 9}, "model.global_transformer.window=None: .* has 9"),
        ({"model_type": "qwen2"}, "model.global_transformer.qkv_bias=False: .* has True"),
        ({"model_type": "qwen3"}, "model.global_transformer.qk_norm=none: .* has head"),
        ({"model_type": "smollm3", "no_rope_layer_interval": 2}, "unrotated_every=None: .* has 2"),
        ({"model_type": "smollm3", "no_rope_layer_interval": 0}, "no_rope_layer_interval=0: must be at least 1"),
        (
            {"model_type": "smollm3", "no_rope_layers": [1, 1]},
            r"no_rope_layers=\[1, 1\]: must list 1 or 0 for each of 3",
        ),
        ({"no_rope_layers": [1, 1, 0]}, r"no_rope_layers=\[1, 1, 0\]: only 1 in all layers"),
        ({"model_type": "olmo", "clip_qkv": 8}, "model.norm_eps=3e-05: .* has 1e-05; .*norm=layer .*qkv_clip=8.0"),
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
        ({"head_dim": 16}, "model.global_transformer.head_width=12: .* has 16; use that value"),
        ({"head_dim": 15}, "head_dim=15, .* a head's width must be even"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 3e4}}, "rope_type='llama3': factor is missing"),
        (
            {"rope_parameters": LLAMA_3},
            "model.global_transformer.rope_scaling.factor=1.0: .* has 8.0; .* all 2 that differ: --set .*positions=64",
        ),
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
    [{"model_type": "gpt2"}, {"sliding_window": 4096}, {"mlp_bias": True}, {"head_dim": 15}],
)
def test_a_warm_start_from_such_a_model_is_refused_before_its_tensors_are_read(directory, change):
    change_json(directory / "config.json", **change)
    with pytest.raises(DataError, match=f"config.json: {next(iter(change))}.*; ") as error:
        hf_llama.read_llama(directory)
    assert "\n" not in str(error.value)


SMOLLM3 = {  # as transformers 4.54 wrote it, with what it leaves to the defaults left out
    "model_type": "smollm3",
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "layer_types": ["full_attention"] * 36,
    "max_window_layers": 28,
    "no_rope_layer_interval": 4,
    "no_rope_layers": [1, 1, 1, 0] * 9,
    "num_attention_heads": 16,
    "num_hidden_layers": 36,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-6,
    "rope_scaling": None,
    "rope_theta": 5e6,
    "sliding_window": None,
    "use_sliding_window": False,
    "vocab_size": 128256,
}


def test_smollm3_3b_is_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM3))
    llama = hf_families.read_llama(tmp_path)
    assert (llama.unrotated_every, llama.tied, llama.kv_heads, llama.rope_theta) == (4, True, 4, 5e6)
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM3 | {"no_rope_layers": None}))
    assert hf_families.read_llama(tmp_path) == llama
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM3 | {"no_rope_layers": [1] * 36}))
    assert hf_families.read_llama(tmp_path).unrotated_every is None


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "layer"}, "model.norm_eps=3e-05: OlmoForCausalLM computes with 1e-05; use the format orbax"),
        ({"unrotated_every": 2, "qk_norm": "head"}, "qk_norm='head'.*unrotated_every=2: no family of transformers has"),
        ({"qkv_clip": 2.0}, "norm='rms'.*qkv_clip=2.0: no family of transformers has these together"),
    ],
)
def test_what_no_family_has_together_is_named(changes, message):
    config = base_config()
    stack = dataclasses.replace(config.model.global_transformer, **changes)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, global_transformer=stack))
    with pytest.raises(DataError, match=message) as error:
        hf_families.family_of(config)
    assert "\n" not in str(error.value)


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


@pytest.mark.parametrize("changes", [{"head_dim": 16}, {"head_dim": 12}, {"head_dim": 8}])
def test_all_that_differ_are_enough_and_nothing_that_follows_from_them_is_among_them(directory, changes):
    """Heads of 12 and their feed-forward width follow from the recipe's width of 48, and change with it."""
    sizes = {"hidden_size": 24, "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 64}
    change_json(directory / "config.json", **sizes, **changes)
    config, llama = base_config(), hf_families.read_llama(directory)
    found = {field: value for _, field, _, value in hf_families.differences(config, llama)}
    usual = changes["head_dim"] == 12
    assert found.keys() == {f"model.global_transformer.{name}" for name in ("width", "heads")} | (
        set() if usual else {"model.global_transformer.head_width"}
    )
    stack = dataclasses.replace(
        config.model.global_transformer, **{field.rpartition(".")[2]: value for field, value in found.items()}
    )
    model = dataclasses.replace(config.model, global_transformer=stack)
    assert hf_families.differences(dataclasses.replace(config, model=model), llama) == []
