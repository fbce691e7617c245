"""Units do not follow the volume, nor where blocks end; files of the first version mean what they meant; memory is bounded."""

import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
import soundfile
from prepare_helpers import sweep

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare import audio, recordings
from lst_jax.prepare.recordings import Recording, load_audio
from lst_jax.prepare.speech_tokenizers import kmeans
from lst_jax.prepare.speech_tokenizers.log_mel_kmeans import FRAME, STACK, LogMelKMeans
from lst_jax.prepare.speech_tokenizers.registry import load_unit_tokenizer

NAMES = ("vm-toforward", "conf-placeintoconf", "agent-pass", "conf-full", "agent-alreadyon", "all-circuits-busy-now")


@pytest.fixture(scope="module")
def prompts():
    return [load_audio(f"corpora/asterisk/audio/{name}.ogg") for name in NAMES]


@pytest.fixture(scope="module")
def fitted(prompts):
    return LogMelKMeans.fit([LogMelKMeans.features(samples) for samples in prompts], 50, seed=0)


@pytest.mark.parametrize("gain_db", [-12, -6, -3, -1, 1, 3, 6])
def test_at_most_three_frames_of_a_hundred_follow_the_volume(prompts, fitted, gain_db):
    changed, frames = 0, 0
    for samples in prompts:
        louder = np.clip(np.round(samples * 10 ** (gain_db / 20) * 32768), -32768, 32767) / 32768  # as 16 bits
        before, after = fitted.encode(samples, 16000), fitted.encode(louder.astype(np.float32), 16000)
        changed, frames = changed + int((before != after).sum()), frames + len(before)
    assert frames > 300 and changed <= 0.03 * frames


def test_files_of_version_1_mean_what_they_meant(tmp_path, prompts, fitted):
    old = LogMelKMeans(fitted.centroids, fitted.mean, fitted.scale, level_db=None)
    old.save(tmp_path / "old.safetensors")
    with safetensors.safe_open(tmp_path / "old.safetensors", framework="numpy") as file:
        settings = json.loads(file.metadata()["unit_tokenizer"])
    assert settings["version"] == 1 and "level_db" not in settings
    loaded = load_unit_tokenizer(tmp_path / "old.safetensors")
    assert loaded.fingerprint == old.fingerprint != fitted.fingerprint
    samples = prompts[0]  # as version 1 was defined: the sound as it is, all frames at once
    frames = max(1, int(len(samples) / FRAME + 0.5))
    mel = audio.log_mel(samples, audio.HOP // 2, STACK * frames).reshape(frames, -1).astype(np.float64)
    expected = kmeans.assign((mel - old.mean) / old.scale, old.centroids.astype(np.float64))[0]
    np.testing.assert_array_equal(loaded.encode(samples, 16000), expected)
    assert (loaded.encode(0.5 * samples, 16000) != expected).mean() > 0.2


def test_a_damaged_file_is_not_taken_for_the_one_it_was(tmp_path, fitted):
    fitted.save(tmp_path / "u.safetensors")
    content = bytearray((tmp_path / "u.safetensors").read_bytes())
    content[-9] ^= 1
    (tmp_path / "u.safetensors").write_bytes(bytes(content))
    with pytest.raises(DataError, match="its values give the fingerprint .* copy the file again"):
        load_unit_tokenizer(tmp_path / "u.safetensors")


@pytest.mark.parametrize("size", [1, 639, 4096, 10**6])
def test_units_do_not_depend_on_where_blocks_end(fitted, size):
    samples = sweep(27.3, 100) if size > 639 else sweep(0.31, 100)
    blocks = [samples[i : i + size] for i in range(0, len(samples), size)]
    np.testing.assert_array_equal(fitted.encode_blocks(lambda: blocks, 16000), fitted.encode(samples, 16000))


def test_a_recording_in_blocks_is_the_recording(tmp_path, monkeypatch):
    samples = sweep(5.0, 200)
    soundfile.write(tmp_path / "a.wav", np.repeat(samples, 2), 32000, subtype="FLOAT")
    whole = load_audio(tmp_path / "a.wav")
    monkeypatch.setattr(recordings, "BLOCK_SEC", 1)
    blocks = list(Recording(tmp_path / "a.wav").blocks())
    assert len(blocks) >= 5 and max(map(len, blocks)) <= 20000
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    with pytest.raises(RejectedItem, match="longer than 2 s; cut it into utterances") as caught:
        Recording(tmp_path / "a.wav").samples(longest_sec=2.0)
    assert caught.value.reason == "too long"


LONG = """
import resource, sys
import numpy as np, soundfile
from lst_jax.prepare.makers import SpeechMaker
from lst_jax.prepare.aligners.registry import load_aligner
from lst_jax.prepare.manifest import Item
from lst_jax.prepare.speech_tokenizers.registry import loader
import pathlib
folder, minutes = pathlib.Path(sys.argv[1]), int(sys.argv[3])
noise = np.random.default_rng(0).normal(0, 0.1, 16000 * 60).astype(np.float32)
with soundfile.SoundFile(folder / "a.flac", "w", 16000, 1) as file:
    for _ in range(minutes):
        file.write(noise)
(folder / "a.ctm").write_text("a 1 0.5 1.0 word\\n")
maker = SpeechMaker(loader(sys.argv[2]), load_aligner(f"ctm:{folder / 'a.ctm'}"), None)
maker.unit_tokenizer
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
made = maker(Item("a", folder / "a.flac", "word", None))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(made.frames, (after - before) / 1024, made.rejection)
"""


def prepared_in_memory(tmp_path, unit_file, minutes):
    """Frames, and MiB by which the process grew."""
    arguments = [sys.executable, "-c", LONG, str(tmp_path), str(unit_file), str(minutes)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    frames, grown, rejection = done.stdout.split(maxsplit=2)
    assert rejection.strip() == "None"
    return int(frames), float(grown)


def test_a_recording_that_memory_does_not_hold_is_read_in_blocks(tmp_path, unit_file):
    frames, grown = prepared_in_memory(tmp_path, unit_file, 25)
    assert frames == 25 * 60 * 25 and grown < 300


@pytest.mark.slow
def test_five_hours_stay_within_300_megabytes(tmp_path, unit_file):
    frames, grown = prepared_in_memory(tmp_path, unit_file, 300)
    assert frames == 300 * 60 * 25 and grown < 300
