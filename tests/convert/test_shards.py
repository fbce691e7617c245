"""Safetensors files, whole and in shards: what the library reads is what was written, and the other way about."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from lst_jax.convert.shards import open_shard, open_shards, write_shards
from lst_jax.convert.source import Stored
from lst_jax.errors import DataError

RNG = np.random.default_rng(0)
ARRAYS = {"a": RNG.normal(size=(5, 3)).astype(np.float32), "b.c": RNG.normal(size=7).astype(np.float32),
          "empty": np.zeros((0, 4), np.float32), "one": np.float32(3.5).reshape(())}
TENSORS = {name: Stored(array.shape, lambda array=array: array) for name, array in ARRAYS.items()}


def assert_same(found, arrays):
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].shape == array.shape
        np.testing.assert_array_equal(found[name].read(), array, strict=True, err_msg=name)


@pytest.mark.parametrize(("limit", "files"), [(1 << 20, 1), (80, 2), (1, 4)])
def test_what_is_written_is_read_again(tmp_path, limit, files):
    write_shards(TENSORS, tmp_path, "model", limit, {"format": "pt"})
    assert len(list(tmp_path.glob("*.safetensors"))) == files
    assert (tmp_path / "model.safetensors.index.json").exists() == (files > 1)
    assert_same(open_shards(tmp_path, "model"), ARRAYS)
    library = {}
    for path in tmp_path.glob("*.safetensors"):
        library |= safetensors.numpy.load_file(path)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(library[name], array, strict=True)


@pytest.mark.parametrize("kind", [np.float64, np.float16, jnp.bfloat16, np.float32])
def test_every_kind_of_float_is_read_as_float32(tmp_path, kind):
    array = np.asarray(ARRAYS["a"], kind)
    safetensors.numpy.save_file({"a": array, "b": np.zeros(1, kind)}, tmp_path / "x.safetensors", {"some": "thing"})
    assert_same(open_shard(tmp_path / "x.safetensors"), {"a": array.astype(np.float32), "b": np.zeros(1, np.float32)})


def test_integers_are_no_weights(tmp_path):
    safetensors.numpy.save_file({"a": np.ones(3, np.int32)}, tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="x.safetensors: a is I32; store weights as one of F64"):
        open_shard(tmp_path / "x.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_a_file_cut_short_is_named_in_one_line(tmp_path, keep):
    write_shards(TENSORS, tmp_path, "model", 80)
    path = tmp_path / "model-00002-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="model-00002-of-00002.safetensors: ") as error:
        open_shards(tmp_path, "model")
    assert "\n" not in str(error.value) and "copy it again" in str(error.value)


@pytest.mark.parametrize("header", [
    b"[1]", b"{", b'{"a": 1}', b'{"a": {"dtype": "F32", "shape": [9], "data_offsets": [0]}}',
    b'{"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}'])
def test_a_damaged_header_is_named_in_one_line(tmp_path, header):
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"1234")
    with pytest.raises(DataError, match="x.safetensors: ") as error:
        open_shard(path)
    assert "\n" not in str(error.value) and "again" in str(error.value)


def test_a_shard_that_is_missing_or_does_not_hold_what_the_index_says_is_named(tmp_path):
    write_shards(TENSORS, tmp_path, "model", 80)
    index = tmp_path / "model.safetensors.index.json"
    whole = index.read_text()
    places = json.loads(whole)
    places["weight_map"]["other"] = places["weight_map"].pop("b.c")
    index.write_text(json.dumps(places))
    with pytest.raises(DataError, match="b.c is not in both the index and the files"):
        open_shards(tmp_path, "model")
    index.write_text("{}")
    with pytest.raises(DataError, match="is no index of safetensors"):
        open_shards(tmp_path, "model")
    index.write_text(whole)
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(DataError, match="model-00001-of-00002.safetensors: no such file"):
        open_shards(tmp_path, "model")
