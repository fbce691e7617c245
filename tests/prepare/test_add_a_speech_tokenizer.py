"""How to add a speech tokenizer: one class, one `register`, and `lst prepare speech --units` takes its files."""

import numpy as np
import pytest
import soundfile

from lst_jax.cli import main
from lst_jax.data import shards
from lst_jax.prepare.speech_tokenizers import registry
from lst_jax.prepare.speech_tokenizers.protocol import UnitTokenizer


class Loudness:
    """Ten times a second: whether the sound is loud. Its file holds the threshold."""

    unit_rate, codebook_size = 10.0, 2

    def __init__(self, threshold: float):
        self.threshold, self.fingerprint = threshold, f"{int(threshold * 1000):016x}"

    @classmethod
    def load(cls, path):
        with open(path) as file:
            return cls(float(file.read()))

    def encode(self, audio: np.ndarray, rate: int) -> np.ndarray:
        frames = audio[: len(audio) // (rate // 10) * (rate // 10)].reshape(-1, rate // 10)
        return (abs(frames).mean(1) > self.threshold).astype(np.uint16)


LOUDNESS = registry.Kind("loudness", "a .loudness file", lambda path: path.suffix == ".loudness", Loudness.load)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_speech_tokenizer_from_outside_makes_the_records_of_a_corpus(tmp_path, monkeypatch, workers):
    monkeypatch.setattr(registry, "KINDS", dict(registry.KINDS))
    registry.register(LOUDNESS)
    sound = np.concatenate([np.zeros(8000), 0.5 * np.sin(np.arange(8000) / 5), np.full(3200, 0.01)])
    soundfile.write(tmp_path / "a.wav", sound, 16000)
    (tmp_path / "m.jsonl").write_text('{"audio": "a.wav", "text": "beep"}\n')
    (tmp_path / "a.ctm").write_text("a 1 0.5 0.5 beep\n")
    (tmp_path / "u.loudness").write_text("0.1")
    arguments = ["--manifest", tmp_path / "m.jsonl", "--units", tmp_path / "u.loudness", "--workers", workers]
    arguments += ["--aligner", f"ctm:{tmp_path / 'a.ctm'}", "--out", tmp_path / "out"]
    assert main.main(["prepare", "speech", *map(str, arguments)]) == 0
    directory = shards.RecordDirectory(tmp_path / "out", "utterance")
    (utterance,) = directory
    assert utterance.units.tolist() == [0] * 5 + [1] * 5 + [0] * 2
    assert [(w.text, w.start_frame, w.end_frame) for w in utterance.words] == [("beep", 5, 10)]
    metadata = directory.metadata
    assert (metadata.unit_rate, metadata.codebook_size) == (10.0, 2)
    assert metadata.codebook_fingerprint == Loudness(0.1).fingerprint
    assert isinstance(Loudness(0.1), UnitTokenizer)


def test_what_is_not_complete_or_not_new_fails_when_it_is_registered(monkeypatch):
    monkeypatch.setattr(registry, "KINDS", dict(registry.KINDS))
    with pytest.raises(ValueError, match="name, what, recognises and load are all needed"):
        registry.register(registry.Kind("half", "", lambda path: True, Loudness.load))
    registry.register(LOUDNESS)
    with pytest.raises(ValueError, match="'loudness': the name is registered already"):
        registry.register(LOUDNESS)
