"""Which recogniser hears generated speech: what `--recogniser` says, without torch."""

import sys

import numpy as np
import pytest

from lst_jax.cli import main
from lst_jax.core.errors import ConfigError, DataError
from lst_jax.evals.recognisers import kind, registry, whisper


def test_the_embedded_one_needs_no_directory():
    ear = registry.load_recogniser("pocketsphinx")
    assert isinstance(ear, kind.Recogniser) and ear.name.startswith("pocketsphinx-")


@pytest.mark.parametrize("spec", ["whisper", "whisper:", "kaldi:there", "pocketsphinx:en", "pocketsphinx:", ""])
def test_others_are_refused_in_one_line(spec):
    with pytest.raises(DataError, match=f"^--recogniser {spec}: must be pocketsphinx or whisper:DIR; correct it$"):
        registry.load_recogniser(spec)


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    with pytest.raises(DataError) as raised:
        registry.load_recogniser("whisper:there")
    assert str(raised.value).startswith("--recogniser whisper:there: needs torch and transformers, which are an extra;")
    assert "pip install -e '.[whisper]'" in str(raised.value) and "\n" not in str(raised.value)


def test_a_recogniser_without_generated_speech_is_refused(tmp_path, capsys):
    for others in ([], ["--asr", "held"], ["--tasks", "completion"]):
        assert main.main(["evaluate", str(tmp_path), "--recogniser", "pocketsphinx", *others]) == ConfigError.exit_code
        assert "--recogniser: hears generated speech; give --tts beside it" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", [0, 1, 30, 30.1, 45, 60, 61, 100, 301])
def test_long_audio_is_cut_into_pieces_that_make_it_up(seconds):
    audio = np.random.default_rng(0).normal(size=round(16000 * seconds)).astype(np.float32)
    found = whisper.pieces(audio, 480000)
    assert np.array_equal(np.concatenate([*found, audio[:0]]), audio)
    assert all(len(piece) <= 480000 for piece in found) and len(found) <= -(-seconds // 15)
    if seconds > 30:
        assert min(map(len, found)) > 80000


def test_cuts_lie_in_the_middle_of_silence():
    audio = np.ones(16000 * 85, np.float32)
    for start_sec, end_sec in [(10, 12), (25, 26), (29, 29.1), (54, 55), (70, 70.4)]:
        audio[round(16000 * start_sec) : round(16000 * end_sec)] = 0
    edges = np.cumsum([len(piece) / 16000 for piece in whisper.pieces(audio, 480000)])
    np.testing.assert_allclose(edges, [25.5, 54.5, 70.2, 85], atol=0.01)
