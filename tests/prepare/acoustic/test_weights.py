import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import tiny_models

from lst_jax.core.errors import DataError
from lst_jax.prepare.acoustic import weights
from lst_jax.prepare.acoustic.encoder import Encoder

PAIR = "wav2vec2.encoder.pos_conv_embed.conv."


@pytest.fixture
def directory(tmp_path):
    return tiny_models.write(tmp_path / "model", "wav2vec2_base")


def rewrite(directory, change):
    path = directory / "model.safetensors"
    safetensors.numpy.save_file(change(safetensors.numpy.load_file(path)), path)


def read(directory, layers=3, head=True):
    return weights.read_parameters(directory, weights.read_architecture(directory), layers, head)


def assert_same(one, two):
    weights_one, weights_two = (dict(flatten(tree)) for tree in (one, two))
    assert weights_one.keys() == weights_two.keys()
    for name, array in weights_one.items():
        np.testing.assert_array_equal(array, weights_two[name])


def flatten(tree, name=""):
    if isinstance(tree, np.ndarray):
        yield name, tree
    else:
        for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from flatten(part, f"{name}/{key}")


def test_both_names_of_weight_norm_and_its_product_are_one_kernel(directory):
    before = read(directory)
    new = [PAIR + f"parametrizations.weight.original{i}" for i in (0, 1)]
    rewrite(
        directory,
        lambda t: {
            (
                {new[0]: PAIR + "weight_g", new[1]: PAIR + "weight_v"}
                | {n: n for n in t}
                | {new[0]: PAIR + "weight_g", new[1]: PAIR + "weight_v"}
            )[n]: a
            for n, a in t.items()
        },
    )
    assert_same(read(directory), before)
    gain, direction = (
        safetensors.numpy.load_file(directory / "model.safetensors")[PAIR + n] for n in ("weight_g", "weight_v")
    )
    kernel = np.stack([gain[0, 0, k] * direction[..., k] / np.linalg.norm(direction[..., k]) for k in range(16)], -1)
    rewrite(directory, lambda t: {n: a for n, a in t.items() if "weight_" not in n} | {PAIR + "weight": kernel})
    np.testing.assert_allclose(read(directory)["positions"]["kernel"], before["positions"]["kernel"], rtol=1e-5)


def test_shards_and_half_precision_and_a_missing_prefix_read_the_same(directory):
    before = read(directory)
    tensors = safetensors.numpy.load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names, index = sorted(tensors), {}
    for n in range(3):
        shard = {name.removeprefix("wav2vec2."): tensors[name] for name in names[n::3]}
        safetensors.numpy.save_file(shard, directory / f"model-{n}.safetensors")
        index |= dict.fromkeys(shard, f"model-{n}.safetensors")
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert_same(read(directory), before)
    for n in range(3):
        path = directory / f"model-{n}.safetensors"
        tensors = safetensors.numpy.load_file(path)
        safetensors.numpy.save_file({name: array.astype(ml_dtypes.bfloat16) for name, array in tensors.items()}, path)
    after = read(directory)["head"]["kernel"]
    assert after.dtype == np.float32
    np.testing.assert_allclose(after, before["head"]["kernel"], rtol=1e-2)


def test_layers_above_the_wanted_one_are_not_read_and_the_fingerprint_does_not_see_them(directory):
    assert read(directory, layers=2, head=False)["layers"]["query"]["kernel"].shape == (2, 32, 32)
    before = [Encoder(directory, layer).fingerprint for layer in (1, 2)]
    name = "wav2vec2.encoder.layers.1.feed_forward.output_dense.bias"
    rewrite(directory, lambda t: t | {name: t[name] + 1e-6})
    after = [Encoder(directory, layer).fingerprint for layer in (1, 2)]
    assert before[0] == after[0] and before[1] != after[1] and before[0] != before[1]


def test_pre_training_leftovers_are_left_alone(directory):
    extra = {
        "wav2vec2.masked_spec_embed": np.zeros(32, np.float32),
        "quantizer.codevectors": np.zeros(3, np.float32),
        "project_q.weight": np.zeros((2, 2), np.float32),
    }
    before = read(directory)
    rewrite(directory, lambda t: t | extra)
    assert_same(read(directory), before)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: {n: a for n, a in t.items() if "layers.1.attention.q_proj" not in n},
            "lacks encoder.layers.1.attention.q_proj.bias, encoder.layers.1.attention.q_proj.weight",
        ),
        (
            lambda t: t | {"wav2vec2.encoder.layers.3.layer_norm.weight": np.zeros(32, np.float32)},
            "no place for: encoder.layers.3.layer_norm.weight",
        ),
        (lambda t: t | {"lm_head.bias": np.zeros(7, np.float32)}, r"lm_head.bias \(7,\) instead of \(32,\)"),
        (lambda t: {n: a for n, a in t.items() if "lm_head" not in n}, "an aligner needs a model with a CTC head"),
        (lambda t: t | {"encoder.layer_norm.bias": np.zeros(32, np.float32)}, "with and without the prefix"),
    ],
)
def test_wrong_tensors_are_named_in_one_line(directory, change, words):
    rewrite(directory, change)
    with pytest.raises(DataError, match=words) as caught:
        read(directory)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("config.json", {"model_type": "whisper"}, "model_type must be hubert or wav2vec2"),
        ("config.json", {"hidden_act": "swiglu"}, "hidden_act='swiglu' must be one of"),
        ("config.json", {"adapter_attn_dim": 16}, "adapters are not implemented"),
        ("config.json", {"conv_kernel": [10, 3]}, "must be of one length"),
        ("config.json", {"hidden_size": "32"}, "hidden_size='32' is of another type"),
        ("preprocessor_config.json", {"do_normalize": None}, "do_normalize must be true or false"),
        ("preprocessor_config.json", {"sampling_rate": 8000}, "sampling_rate=8000: must be 16000"),
    ],
)
def test_wrong_settings_are_named_in_one_line(directory, name, change, words):
    path = directory / name
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=words) as caught:
        Encoder(directory)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_missing_and_damaged_files_are_named(directory, name):
    (directory / name).write_bytes(b"\x01")
    with pytest.raises(DataError, match=f"{name}: (is not JSON|cannot be read as)"):
        Encoder(directory)
    (directory / name).unlink()
    with pytest.raises(DataError, match=f"{name}: no such file"):
        Encoder(directory)
