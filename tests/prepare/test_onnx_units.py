"""Speech tokenizers that are ONNX models: tiny ones, which say how loud a frame is; no published weights."""

import importlib.util
import json
import pickle

import numpy as np
import pytest
import soundfile

from lst_jax.cli import main
from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data import shards
from lst_jax.prepare.speech_tokenizers import onnx_model, registry
from lst_jax.prepare.speech_tokenizers.protocol import UnitTokenizer
from lst_jax.storage import objects
from lst_jax.storage.at_hand import remove_copies
from lst_jax.storage.place import to_place

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnxruntime", "onnx")),
    reason="needs onnxruntime, and onnx to make a model",
)
FRAME = 640  # samples of a code
LOUDNESS = {
    "model": "loud.onnx",
    "unit_rate": 25.0,
    "codebook_size": 10,
    "input": "waveform",
    "input_name": "sound",
    "output_name": "codes",
}


def write(folder, description=LOUDNESS, books=1, kind="INT64", gain=9.0):
    """A model of a waveform [1, n]: floor(gain · mean of |x|) of each 640 samples, in so many codebooks."""
    from onnx import TensorProto

    folder.mkdir(exist_ok=True)
    nodes = [
        ("Unsqueeze", ["sound", "one"], "row", {}),
        ("Abs", ["row"], "size", {}),
        ("AveragePool", ["size"], "mean", {"kernel_shape": [FRAME], "strides": [FRAME]}),
        ("Mul", ["mean", "gain"], "loud", {}),
        ("Floor", ["loud"], "whole", {}),
        ("Cast", ["whole"], "code", {"to": getattr(TensorProto, kind)}),
        ("Concat", ["code"] * books, "codes", {"axis": 1}),
    ]
    constants = {"one": np.array([1]), "gain": np.array(gain, np.float32)}
    return _save(folder, description, nodes, constants, [("sound", [1, "n"])], kind)


def write_mel(folder, description, bins):
    """A model of log-mel [1, bins, n] and its length [1]: whether the mean of a frame is above 0, one code per 4 frames."""
    nodes = [
        ("ReduceMean", ["feats", "axis"], "mean", {"keepdims": 1}),
        ("AveragePool", ["mean"], "slow", {"kernel_shape": [4], "strides": [4]}),
        ("Greater", ["slow", "zero"], "loud", {}),
        ("Cast", ["loud"], "heard", {"to": 7}),
        ("Cast", ["length"], "n", {"to": 7}),
        ("Sub", ["n", "n"], "nothing", {}),
        ("Add", ["heard", "nothing"], "codes", {}),
    ]
    constants = {"axis": np.array([1]), "zero": np.array(0, np.float32)}
    return _save(folder, description, nodes, constants, [("feats", [1, bins, "n"]), ("length", [1])], "INT64")


def _save(folder, description, nodes, constants, inputs, kind):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(name, ins, [out], **settings) for name, ins, out, settings in nodes],
        "tokenizer",
        [value(name, TensorProto.INT32 if name == "length" else TensorProto.FLOAT, shape) for name, shape in inputs],
        [value("codes", getattr(TensorProto, kind), None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / description["model"])
    (folder / onnx_model.DESCRIPTION).write_text(json.dumps(description))
    return folder


def steps(*levels):
    return np.repeat(np.array(levels, np.float32), FRAME)


def test_a_model_of_waveforms_gives_one_code_for_each_frame(tmp_path):
    tokenizer = registry.load_unit_tokenizer(write(tmp_path / "loud"))
    assert isinstance(tokenizer, UnitTokenizer) and (tokenizer.unit_rate, tokenizer.codebook_size) == (25.0, 10)
    units = tokenizer.encode(steps(0.0, 0.25, 0.5, 1.0), 16000)
    assert units.dtype == np.uint16 and units.tolist() == [0, 2, 4, 9]
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.fingerprint == tokenizer.fingerprint and copy.encode(steps(0.5), 16000).tolist() == [4]


def test_the_level_is_the_descriptions_and_so_is_the_rate(tmp_path):
    quiet = np.sin(np.arange(16000) / 5).astype(np.float32) * 0.01
    plain = registry.load_unit_tokenizer(write(tmp_path / "plain"))
    assert not plain.encode(quiet, 16000).any()
    levelled = registry.load_unit_tokenizer(write(tmp_path / "levelled", {**LOUDNESS, "level_db": -10.0}))
    assert set(levelled.encode(quiet, 16000)[1:-1].tolist()) == {2}  # a sine of -10 dB has a mean of 0.285
    slow = {**LOUDNESS, "sample_rate": 8000, "unit_rate": 12.5}
    assert len(registry.load_unit_tokenizer(write(tmp_path / "slow", slow)).encode(quiet, 16000)) == 12


def test_a_model_of_log_mel_is_told_its_length(tmp_path):
    description = {**LOUDNESS, "input": "log_mel", "input_name": "feats", "length_name": "length", "codebook_size": 2}
    tokenizer = registry.load_unit_tokenizer(write_mel(tmp_path / "mel", {**description, "mel": {"bins": 128}}, 128))
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    units = tokenizer.encode(np.concatenate([noise, 0 * noise, noise]), 16000)
    assert len(units) == 75 and units[:24].all() and not units[27:48].any() and units[51:].all()


def test_log_mel_is_whispers():
    """A tone lies in the filter around its frequency; the scale is that of Whisper: (log10 + 4) / 4, 8 below the most."""
    mel = onnx_model.Mel(bins=80)
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    values = onnx_model.log_mel(tone, 16000, mel)
    assert values.shape == (80, 100) and values.dtype == np.float32
    edges = onnx_model._slaney_hertz(np.linspace(0, onnx_model._slaney(np.array(8000.0)), 82))
    loudest = int(values[:, 50].argmax())
    assert edges[loudest] < 1000 < edges[loudest + 2]
    assert values.max() - values.min() == pytest.approx(2.0)
    # A sine on bin 25 under a Hann window of 400 samples has (400 / 4)² there, and a quarter of that beside it
    energy = onnx_model.mel_filters(16000, mel)[:, 24:27] @ [2500, 10_000, 2500]
    assert values[:, 50].max() == pytest.approx((np.log10(energy.max()) + 4) / 4, abs=1e-3)
    # Whisper's filters have an area of 1 per Hz: the sum over bins of 40 Hz is 1/40
    np.testing.assert_allclose(onnx_model.mel_filters(16000, mel)[40:].sum(1) * 40, 1, atol=0.1)


@pytest.mark.parametrize(
    "changes, options, message",
    [
        ({}, {"books": 2}, r"\(1, 2, 50\), codes of several codebooks for a frame .*; take a model of one codebook"),
        ({}, {"kind": "FLOAT"}, "numbers of type float32, not codes"),
        ({"unit_rate": 50.0}, {}, r"50 codes for 100.0 frames at 50 per second"),
        ({"codebook_size": 3}, {"gain": 2000.0}, "outside a codebook of 3"),
        ({"input_name": "audio"}, {}, "feeds audio, the model has the inputs sound"),
        ({"length_name": "n"}, {}, "feeds sound, n, the model"),
        ({"output_name": "units"}, {}, "output_name='units': the model has codes"),
        ({"unit_rat": 1}, {}, "unit_rat.*unknown|unknown.*unit_rat"),
        ({"mel": {"bins": 80}}, {}, "needs mel"),
        ({"codebook_size": 0}, {}, "codebook_size=0"),
    ],
)
def test_what_does_not_fit_is_one_line_when_it_is_loaded(tmp_path, changes, options, message):
    with pytest.raises(DataError, match=message) as error:
        registry.load_unit_tokenizer(write(tmp_path / "x", {**LOUDNESS, **changes}, **options))
    assert "\n" not in str(error.value) and "; " in str(error.value)


def test_files_that_are_missing_or_broken_are_named(tmp_path):
    folder = write(tmp_path / "x")
    (folder / "loud.onnx").write_bytes(b"not a model")
    with pytest.raises(DataError, match="loud.onnx: cannot be loaded as an ONNX model"):
        registry.load_unit_tokenizer(folder)
    (folder / "loud.onnx").unlink()
    with pytest.raises(DataError, match="loud.onnx: no such file"):
        registry.load_unit_tokenizer(folder)
    (folder / onnx_model.DESCRIPTION).write_text("{")
    with pytest.raises(DataError, match="speech_tokenizer.json"):
        registry.load_unit_tokenizer(folder)


def test_the_fingerprint_follows_the_model_and_its_description_and_no_path(tmp_path):
    first = registry.load_unit_tokenizer(write(tmp_path / "a")).fingerprint
    assert registry.load_unit_tokenizer(write(tmp_path / "b")).fingerprint == first
    others = [write(tmp_path / "c", gain=8.0), write(tmp_path / "d", {**LOUDNESS, "level_db": -26.0})]
    assert len({first, *(registry.load_unit_tokenizer(other).fingerprint for other in others)}) == 3


def test_a_recording_beyond_the_longest_is_one_rejection(tmp_path):
    tokenizer = registry.load_unit_tokenizer(write(tmp_path / "x", {**LOUDNESS, "longest_sec": 3}))
    assert len(tokenizer.encode(steps(*[0.1] * 75), 16000)) == 75
    with pytest.raises(RejectedItem, match="has 3.04 s, the speech tokenizer takes 3"):
        tokenizer.encode(steps(*[0.1] * 76), 16000)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_prepare_speech_takes_the_directory(tmp_path, workers):
    soundfile.write(tmp_path / "a.wav", steps(0.0, 0.25, 0.5), 16000)
    (tmp_path / "m.jsonl").write_text('{"audio": "a.wav", "text": "beep"}\n')
    (tmp_path / "a.ctm").write_text("a 1 0.04 0.08 beep\n")
    folder = write(tmp_path / "loud")
    arguments = ["--manifest", tmp_path / "m.jsonl", "--units", folder, "--workers", workers]
    arguments += ["--aligner", f"ctm:{tmp_path / 'a.ctm'}", "--out", tmp_path / "out"]
    assert main.main(["prepare", "speech", *map(str, arguments)]) == 0
    directory = shards.RecordDirectory(tmp_path / "out", "utterance")
    assert [utterance.units.tolist() for utterance in directory] == [[0, 2, 4]]
    assert directory.metadata.codebook_fingerprint == registry.load_unit_tokenizer(folder).fingerprint


def test_a_model_in_a_bucket_is_that_of_a_disk(tmp_path, bucket):
    place = to_place(f"{bucket}/{tmp_path.name}/loud")
    objects.upload(write(tmp_path / "loud"), place)
    there = registry.load_unit_tokenizer(str(place))
    ours, theirs = registry.load_unit_tokenizer(tmp_path / "loud").fingerprint, there.fingerprint
    remove_copies()  # as in a process of another machine
    again = pickle.loads(pickle.dumps(there))
    assert ours == theirs == again.fingerprint
    remove_copies()
