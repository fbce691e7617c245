"""The weights mean the same function in the PyTorch ancestor: its recorded logits are the oracle."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest
from flax import traverse_util
from safetensors import safe_open

from lst_jax.convert.ancestor import ancestor_config, from_ancestor, model_config_from_ancestor, to_ancestor
from lst_jax.convert.source import Stored
from lst_jax.core.errors import DataError
from lst_jax.core.vocab import Vocab
from lst_jax.model.architectures.registry import build

CASES = sorted((pathlib.Path(__file__).parent.parent / "parity").glob("*.safetensors"))
TOLERANCE = 1e-4  # parity/README.md


def read_case(path):
    """Configuration, weights and the other arrays of one parity file."""
    with safe_open(path, "np") as file:
        config = json.loads(file.metadata()["config"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    weights = {k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")}
    return config, weights, tensors


def stored(arrays):
    """The arrays as a source has them."""
    return {name: Stored(array.shape, lambda array=array: array) for name, array in arrays.items()}


def boundaries(patch_lengths_BU, length):
    """patch_start and patch_end from lengths that also count the token still to be predicted."""
    start_BT1 = np.zeros((len(patch_lengths_BU), length + 1), bool)
    for row, lengths in zip(start_BT1, patch_lengths_BU, strict=True):
        starts = np.cumsum([0, *lengths[lengths > 0]])
        assert starts[-1] == length + 1
        row[starts[:-1]] = True
    return start_BT1[:, :-1], start_BT1[:, 1:]


def ancestor_logits(case, change=lambda config: config):
    """Our logits from the ancestor's weights, and the ancestor's own."""
    config, weights, tensors = read_case(case)
    model_config = change(model_config_from_ancestor(config))
    arrays = from_ancestor(stored(weights), model_config, "case")
    params = traverse_util.unflatten_dict({path: one.read() for path, one in arrays.items()}, sep="/")
    token_BT = tensors["tokens"].astype(np.int32)
    start_BT, end_BT = boundaries(tensors["patch_lengths"], token_BT.shape[1])
    vocab = Vocab(text_size=80, unit_slots=10)
    assert vocab.size == config["vocab_size"]
    model = build(model_config, vocab, tensors["patch_lengths"].shape[1])
    with jax.default_matmul_precision("highest"):
        return jax.jit(model)(params, token_BT, np.ones_like(token_BT), start_BT, end_BT), tensors["logits"]


def test_the_parity_cases_are_here():
    assert {c.stem for c in CASES} == {"own_patch_k2", "projected_k4_window_3", "window_512_k2"}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.stem)
def test_logits_equal_the_ancestors(case):
    ours, theirs = ancestor_logits(case, lambda c: dataclasses.replace(c, attention_block=16))
    assert ours.dtype == np.float32
    assert np.abs(np.asarray(ours) - theirs).max() <= TOLERANCE


@pytest.mark.parametrize(
    "wrong",
    [{"norm_eps": 1e-2}, {"rope_theta": 1e4}, {"decoder_cross_window": 2}, {"encoder_cross_window": 2}],
    ids=lambda w: next(iter(w)),
)
def test_parity_notices_a_wrong_setting(wrong):
    ours, theirs = ancestor_logits(CASES[0], lambda c: dataclasses.replace(c, **wrong))
    assert np.abs(np.asarray(ours) - theirs).max() > TOLERANCE


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.stem)
def test_conversion_there_and_back_is_exact(case):
    config, weights, _ = read_case(case)
    model_config = model_config_from_ancestor(config)
    back = to_ancestor(from_ancestor(stored(weights), model_config, "case"), model_config)
    assert back.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(back[name].read(), value, strict=True, err_msg=name)
        assert back[name].shape == value.shape
    assert model_config_from_ancestor(ancestor_config(model_config, 96, 4, 61, 61)) == model_config


def test_missing_and_left_over_tensors_are_named_in_one_line():
    config, weights, _ = read_case(CASES[0])
    weights["global_transformer.layers.9.ffn_norm.weight"] = weights.pop("local_decoder.norm.weight")
    with pytest.raises(DataError) as error:
        from_ancestor(stored(weights), model_config_from_ancestor(config), "case")
    message = str(error.value)
    assert "\n" not in message and "missing: local_decoder.norm.weight" in message
    assert "left over: global_transformer.layers.9.ffn_norm.weight" in message


def test_a_tensor_of_another_shape_is_named():
    config, weights, _ = read_case(CASES[0])
    weights["local_decoder.norm.weight"] = np.ones(31, np.float32)
    with pytest.raises(DataError, match="local_decoder.norm.weight has the shape .31,., the configuration gives .32,."):
        from_ancestor(stored(weights), model_config_from_ancestor(config), "case")


@pytest.mark.parametrize(
    ("field", "value"),
    [("encoder_hash_byte_group_size", [3, 4]), ("downsampling_by_pooling", "mean"), ("dim_local_decoder", 48)],
)
def test_unsupported_ancestors_are_refused(field, value):
    config, _, _ = read_case(CASES[0])
    with pytest.raises(DataError, match=field):
        model_config_from_ancestor(config | {field: value})


def test_a_missing_field_is_named():
    config, _, _ = read_case(CASES[0])
    del config["cross_attn_k"]
    with pytest.raises(DataError, match="cross_attn_k: missing"):
        model_config_from_ancestor(config)
