"""Fixtures of the preparation tests: three bundled prompts, and directories of made-up tones."""

import json
import pathlib

import pytest
import soundfile
from prepare_helpers import sweep

from lst_jax.prepare import manifest
from lst_jax.prepare.speech_tokenizers.log_mel_kmeans import LogMelKMeans

CORPUS = pathlib.Path(__file__).parents[2] / "corpora" / "asterisk"
PROMPTS = {
    "conf-full": "that conference is full",
    "all-circuits-busy-now": "all circuits are busy now",
    "agent-pass": "please enter your password followed by the pound key",
}


@pytest.fixture(scope="session")
def prompts() -> list[manifest.Item]:
    """Three prompts of the bundled corpus."""
    return [manifest.Item(name, CORPUS / "audio" / f"{name}.ogg", text, "allison") for name, text in PROMPTS.items()]


@pytest.fixture
def tones(tmp_path):
    """tones(count) writes a manifest of short sweeps with two words each and returns its path."""

    def write(count: int) -> pathlib.Path:
        (tmp_path / "audio").mkdir(exist_ok=True)
        lines = []
        for i in range(count):
            soundfile.write(tmp_path / "audio" / f"tone{i:02d}.wav", sweep(0.4 + 0.04 * (i % 5), 200 + 60 * i), 16000)
            fields = {"id": f"tone{i:02d}", "audio": f"audio/tone{i:02d}.wav", "text": f"tone number{i}"}
            lines.append(json.dumps(fields))
        path = tmp_path / "tones.jsonl"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def unit_file(tmp_path_factory) -> pathlib.Path:
    """A unit tokenizer of 12 units fitted to sweeps."""
    path = tmp_path_factory.mktemp("units") / "units.safetensors"
    chunks = [LogMelKMeans.features(sweep(1.0, start)) for start in (150, 400, 900)]
    LogMelKMeans.fit(chunks, 12, seed=0).save(path)
    return path
