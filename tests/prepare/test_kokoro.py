"""Kokoro through kokoro-onnx: a tiny model with its inputs, its noise and its voices; no published weights."""

import importlib
import importlib.util
import pickle
import sys

import numpy as np
import pytest
from prepare_helpers import EvenAligner

from lst_jax.cli import main
from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare import manifest
from lst_jax.prepare.synthesis import kokoro
from lst_jax.prepare.synthesis.protocol import Synthesiser
from lst_jax.prepare.synthesis.registry import load_synthesiser

TEXT = "hello there - my friend 42"
STEP = 2400  # samples that the tiny model makes of a phoneme
needs_kokoro = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("kokoro_onnx", "onnx")),
    reason="needs kokoro-onnx, and onnx to make a model",
)


def write_model(path):
    """tokens [1, n], style [1, 256], speed [1] -> a tone a token, as loud as the style, and noise."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    clock = np.arange(STEP, dtype=np.float32)[None] / 24000
    constants = {"clock": 2 * np.pi * 20 * clock, "column": np.array([-1, 1]), "flat": np.array([-1])}
    nodes = [
        ("Cast", ["tokens"], "ids", {"to": TensorProto.FLOAT}),
        ("Reshape", ["ids", "column"], "pitch", {}),
        ("Mul", ["pitch", "clock"], "angle", {}),
        ("Sin", ["angle"], "sine", {}),
        ("ReduceMean", ["style"], "loud", {"keepdims": 0}),
        ("Mul", ["sine", "loud"], "tone", {}),
        ("RandomNormalLike", ["tone"], "noise", {"scale": 0.01}),
        ("Add", ["tone", "noise"], "sound", {}),
        ("Div", ["sound", "speed"], "spoken", {}),
        ("Reshape", ["spoken", "flat"], "audio", {}),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output], **settings) for kind, inputs, output, settings in nodes],
        "kokoro",
        [
            value("tokens", TensorProto.INT64, [1, "n"]),
            value("style", TensorProto.FLOAT, [1, 256]),
            value("speed", TensorProto.FLOAT, [1]),
        ],
        [value("audio", TensorProto.FLOAT, ["m"])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


@pytest.fixture
def directory(tmp_path):
    """A directory with a model and three voices, one of them French."""
    (tmp_path / "kokoro").mkdir()
    write_model(tmp_path / "kokoro" / "tiny.onnx")
    loud = {"af_heart": 0.3, "bm_lewis": 0.2, "ff_siwis": 0.1}
    with (tmp_path / "kokoro" / "voices.bin").open("wb") as file:
        np.savez(file, **{voice: np.full((510, 1, 256), level, np.float32) for voice, level in loud.items()})
    return tmp_path / "kokoro"


@pytest.fixture
def even(monkeypatch):
    """Words of the tiny model's tones cannot be found; those that the aligner joins are joined."""

    class Even(EvenAligner):
        def align(self, item_id, audio, words):
            found = super().align(item_id, audio, words)
            joined = [i for i, word in enumerate(words) if word == "-"]
            for i in joined:
                found[i - 1] = (f"{words[i - 1]} -", found[i - 1][1], found[i][2] + 1e-3)
            return [one for i, one in enumerate(found) if i not in joined]

        def __reduce__(self):
            return type(self), ()

    monkeypatch.setattr(kokoro, "PocketSphinxAligner", Even)


@needs_kokoro
def test_it_speaks_with_one_interval_a_written_word(directory, even):
    speaker = load_synthesiser(f"kokoro:{directory}")
    assert isinstance(speaker, Synthesiser) and speaker.voices == ("af_heart",)
    speech = speaker.speak(TEXT, "af_heart")
    assert speech.rate == 24000 and speech.samples.dtype == np.float32
    assert len(speech.samples) / STEP > len("hellotheremyfriend") // 2
    assert np.abs(speech.samples).max() == pytest.approx(0.3, abs=0.1)
    length_sec = len(speech.samples) / speech.rate
    assert len(speech.words) == 6 and speech.words[-1][1] <= length_sec
    edges = np.array(speech.words)
    np.testing.assert_allclose(edges[1:, 0], edges[:-1, 1], atol=2e-3)
    assert edges[2, 1] - edges[1, 0] == pytest.approx(length_sec / 3, rel=0.02)  # "there -" shared out


@needs_kokoro
def test_the_same_words_are_the_same_samples_whatever_came_before(directory, even):
    speaker = kokoro.Kokoro(directory)
    first = speaker.speak(TEXT, "af_heart")
    speaker.speak("other words", "bm_lewis")
    importlib.import_module("onnxruntime").set_seed(7)  # another process begins with another seed
    copy = pickle.loads(pickle.dumps(speaker))
    for other in (speaker, copy):
        np.testing.assert_array_equal(other.speak(TEXT, "af_heart").samples, first.samples)
    assert copy.name == speaker.name
    assert np.abs(speaker.speak(TEXT, "bm_lewis").samples).max() < np.abs(first.samples).max() - 0.05


@needs_kokoro
def test_its_name_changes_with_the_voices(directory, even):
    before = kokoro.Kokoro(directory).name
    with (directory / "voices.bin").open("wb") as file:
        np.savez(file, af_heart=np.ones((510, 1, 256), np.float32))
    assert kokoro.Kokoro(directory).name != before


@needs_kokoro
def test_the_embedded_aligner_refuses_what_is_no_speech(directory):
    with pytest.raises(RejectedItem):
        kokoro.Kokoro(directory).speak("conference " * 12 + "full", "af_heart")


@needs_kokoro
def test_the_command_speaks_with_it(directory, even, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("some words to say\nand others\n")
    assert (
        main.main(
            [
                "prepare",
                "synthesise",
                "--manifest",
                str(tmp_path / "a.txt"),
                "--out",
                str(tmp_path / "out"),
                "--synthesiser",
                f"kokoro:{directory}",
                "--voice",
                "bm_lewis",
                "--workers",
                "1",
            ]
        )
        == 0
    )
    assert "2 utterances, 6 words" in capsys.readouterr().out
    assert {item.speaker for item in manifest.read_items(tmp_path / "out" / "manifest.jsonl", {})} == {"bm_lewis"}


@needs_kokoro
@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda path: (path / "tiny.onnx").unlink(), "must hold one .onnx file and has 0; give the directory of one"),
        (
            lambda path: (path / "more.bin").write_text(""),
            "must hold one .bin file and has 2; give the directory of one",
        ),
        (lambda path: (path / "tiny.onnx").write_bytes(b"damaged"), "cannot be used as a Kokoro"),
        (lambda path: (path / "voices.bin").write_bytes(b"damaged"), "cannot be used as a Kokoro"),
    ],
    ids=["missing", "several", "model", "voices"],
)
def test_what_is_no_whole_kokoro_is_one_line(directory, damage, message):
    damage(directory)
    with pytest.raises(DataError) as raised:
        kokoro.Kokoro(directory)
    assert str(raised.value).startswith(str(directory)) and message in str(raised.value)
    assert "\n" not in str(raised.value)


@needs_kokoro
def test_voices_of_other_languages_are_refused(directory, even):
    speaker = kokoro.Kokoro(directory)
    speaker.check_voice("bm_lewis")
    for voice in ("ff_siwis", "slt", ""):
        with pytest.raises(DataError, match=f"^--voice {voice}: .* no such English voice; use af_heart or bm_lewis$"):
            speaker.check_voice(voice)


def test_without_a_directory_or_the_extra_the_error_says_what_to_do(monkeypatch):
    with pytest.raises(DataError, match="^--synthesiser kokoro: needs its model's directory; write kokoro:DIR$"):
        load_synthesiser("kokoro")
    monkeypatch.setitem(sys.modules, "kokoro_onnx", None)  # as if it were not installed
    with pytest.raises(DataError) as raised:
        load_synthesiser("kokoro:there")
    assert "pip install -e '.[kokoro]'" in str(raised.value) and "\n" not in str(raised.value)
