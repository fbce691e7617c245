"""Our writer and reader of safetensors against the safetensors library, and what damage is called."""

import json
import struct
import threading
import unittest.mock
import weakref

import numpy as np
import pytest
import safetensors.numpy

from lst_jax.convert import safetensors_files
from lst_jax.convert.safetensors_files import WRITERS, open_safetensors, some, write_safetensors
from lst_jax.convert.source import Source, Stored, rounded
from lst_jax.core.errors import DataError


def arrays():
    """Five arrays, one a transposed view, of 4 to 240 bytes."""
    rng = np.random.default_rng(0)
    shapes = {"b.weight": (5, 3), "a.weight": (3,), "c": (1,), "d": (10, 6), "e": (2, 2)}
    found = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return found | {"b.weight": found["b.weight"].T}


def stored(found):
    """The arrays as if they were still to be read."""
    return {name: Stored(value.shape, lambda value=value: value) for name, value in found.items()}


def assert_read_back(path):
    read = {name: one.read() for name, one in open_safetensors(path).items()}
    assert read.keys() == arrays().keys()
    for name, value in arrays().items():
        np.testing.assert_array_equal(read[name], value, strict=True)


def test_one_file_is_what_the_library_reads_and_what_we_read(tmp_path):
    write_safetensors(tmp_path, stored(arrays()), {"made_by": "lst"})
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    theirs = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    for name, value in arrays().items():
        np.testing.assert_array_equal(theirs[name], value, strict=True)
    with safetensors.safe_open(tmp_path / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt", "made_by": "lst"}
    assert_read_back(tmp_path)
    assert_read_back(tmp_path / "model.safetensors")


@pytest.mark.parametrize(("limit", "files"), [(100, 3), (1, 5), (320, 2), (332, 1)])
def test_shards_are_within_their_limit_and_hold_every_array_once(tmp_path, limit, files):
    write_safetensors(tmp_path, stored(arrays()), shard_bytes=limit)
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) == files
    held = [safetensors.numpy.load_file(path) for path in shards]
    assert sorted(name for one in held for name in one) == sorted(arrays())
    assert all(len(one) == 1 or sum(value.nbytes for value in one.values()) <= limit for one in held)
    assert (tmp_path / "model.safetensors.index.json").exists() == (files > 1)
    assert_read_back(tmp_path)


@pytest.mark.parametrize(("shard_bytes", "others"), [(1 << 20, 0), (32, WRITERS - 1)])
def test_writing_holds_one_array_per_shard_that_is_being_written(tmp_path, shard_bytes, others):
    alive = []

    def read():
        assert len([value for value in (reference() for reference in alive) if value is not None]) <= others
        value = np.zeros(8, np.float32)
        alive.append(weakref.ref(value))
        return value

    write_safetensors(tmp_path, {name: Stored((8,), read) for name in "abcdefghijkl"}, shard_bytes=shard_bytes)
    assert len(alive) == 12


def test_shards_are_written_at_the_same_time_and_read_one_array_at_a_time(tmp_path):
    reading, both = threading.Lock(), threading.Barrier(2, timeout=30)

    def read():
        assert reading.acquire(blocking=False)
        value = np.arange(8, dtype=np.float32)
        reading.release()
        return value

    def meet(x):
        both.wait()  # fails where one shard waits for the other
        return x

    with unittest.mock.patch.dict(safetensors_files.STORED, {"float32": ("F32", "<f4", meet)}):
        write_safetensors(tmp_path, {name: Stored((8,), read) for name in "ab"}, shard_bytes=32)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    np.testing.assert_array_equal(open_safetensors(tmp_path)["b"].read(), np.arange(8, dtype=np.float32))


def test_an_error_of_one_shard_is_raised(tmp_path):
    def fail():
        raise DataError("this array is damaged")

    arrays = {name: Stored((8,), lambda: np.zeros(8, np.float32)) for name in "abc"} | {"d": Stored((8,), fail)}
    with pytest.raises(DataError, match="this array is damaged"):
        write_safetensors(tmp_path, arrays, shard_bytes=32)


def test_bfloat16_is_rounded_as_torch_rounds(tmp_path):
    """To the nearest, halves to even; what is read back is what `rounded` gives."""
    bits = np.random.default_rng(0).integers(0, 1 << 32, 4000, np.uint32)
    bits = np.append(bits, [0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0x80000000, 0x00000001]).astype(np.uint32)
    value = bits[(bits & 0x7F800000) < 0x7F000000].view(np.float32)
    wanted = np.array([_nearest_bfloat16(x) for x in value], np.float32)
    write_safetensors(tmp_path, {"x": Stored(value.shape, lambda: value)}, dtype="bfloat16")
    np.testing.assert_array_equal(open_safetensors(tmp_path)["x"].read(), wanted)
    source = rounded(Source(None, {"x": Stored(value.shape, lambda: value)}, {}), "bfloat16")
    np.testing.assert_array_equal(source.arrays["x"].read(), wanted)
    assert (tmp_path / "model.safetensors").stat().st_size < 2 * len(value) + 200


def _nearest_bfloat16(x):
    """By trying both neighbours."""
    low = np.frombuffer((np.array([x], "<f4").view("<u4") & 0xFFFF0000).tobytes(), "<f4")[0]
    high = np.frombuffer(((np.array([x], "<f4").view("<u4") & 0xFFFF0000) + 0x10000).astype("<u4").tobytes(), "<f4")[0]
    below, above = abs(float(x) - float(low)), abs(float(high) - float(x))
    if below == above:
        return low if not (np.array([low], "<f4").view("<u4")[0] >> 16) & 1 else high
    return low if below < above else high


def test_what_we_do_not_write_is_read_too(tmp_path):
    exact = np.array([[1.5, -2.0, 0.0078125]], np.float32)
    bf16 = (exact.view(np.uint32) >> 16).astype(np.uint16)
    header = {
        "half": {"dtype": "F16", "shape": [1, 3], "data_offsets": [0, 6]},
        "brain": {"dtype": "BF16", "shape": [1, 3], "data_offsets": [6, 12]},
        "steps": {"dtype": "I64", "shape": [], "data_offsets": [12, 20]},
    }
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(
        struct.pack("<Q", len(text)) + text + exact.astype("<f2").tobytes() + bf16.tobytes() + bytes(8)
    )
    found = open_safetensors(tmp_path)
    np.testing.assert_array_equal(found["half"].read(), exact, strict=True)
    np.testing.assert_array_equal(found["brain"].read(), exact, strict=True)
    with pytest.raises(DataError, match="steps is of type I64"):
        found["steps"].read()


def damage_index(tmp_path, change):
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    change(index["weight_map"])
    path.write_text(json.dumps(index))


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


FIRST = "model-00001-of-00003.safetensors"
DAMAGES = {
    "cut in an array": (lambda p: cut(p / FIRST, -1), f"{FIRST}: has .* bytes where its header says .* cut short"),
    "cut in the header": (lambda p: cut(p / FIRST, 40), f"{FIRST}: is cut short within its header"),
    "cut in the length": (lambda p: cut(p / FIRST, 5), f"{FIRST}: is cut short within its header"),
    "empty": (lambda p: cut(p / FIRST, 0), f"{FIRST}: is cut short within its header"),
    "longer": (lambda p: (p / FIRST).write_bytes((p / FIRST).read_bytes() + b"x"), f"{FIRST}: .* is damaged"),
    "no json": (lambda p: (p / FIRST).write_bytes(struct.pack("<Q", 4) + b"oops"), f"{FIRST}: has no header"),
    "no mapping": (lambda p: (p / FIRST).write_bytes(struct.pack("<Q", 4) + b"[12]"), f"{FIRST}: has no header"),
    "no shard": (lambda p: (p / FIRST).unlink(), f"{FIRST}: no such file, where .*index.json has a.weight, b.weight"),
    "index lacks": (lambda p: damage_index(p, lambda m: m.pop("a.weight")), f"{FIRST}: has a.weight, which"),
    "index invents": (lambda p: damage_index(p, lambda m: m.update(x=FIRST)), f"{FIRST}: lacks x, which"),
    "index points out": (lambda p: damage_index(p, lambda m: m.update(x="../a")), "weight_map must give a file"),
    "no file": (lambda p: [f.unlink() for f in p.iterdir()], "model.safetensors: no such file, nor"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_line_with_the_file(tmp_path, name):
    write_safetensors(tmp_path, stored(arrays()), shard_bytes=100)
    change, message = DAMAGES[name]
    change(tmp_path)
    with pytest.raises(DataError, match=message) as error:
        open_safetensors(tmp_path)
    assert "\n" not in str(error.value) and ";" in str(error.value)


@pytest.mark.parametrize(
    "change",
    [{"data_offsets": [4, 16]}, {"data_offsets": [0, 8]}, {"shape": [-3]}, {"shape": "12"}, {"data_offsets": [0]}],
)
def test_a_header_that_does_not_add_up_is_refused(tmp_path, change):
    text = json.dumps({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]} | change}).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
    with pytest.raises(DataError, match="has no header of safetensors"):
        open_safetensors(tmp_path)


def test_many_names_are_shortened():
    assert some(["b", "a"]) == "a, b"
    assert some("gfedcba") == "a, b, c, d and 3 more"
