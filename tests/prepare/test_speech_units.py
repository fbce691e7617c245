"""The embedded unit tokenizer: frames, files, and sound."""

import numpy as np
import pytest
import safetensors.numpy
from prepare_helpers import sweep

from lst_jax.core.errors import DataError, StorageError
from lst_jax.prepare.speech_tokenizers.log_mel_kmeans import LogMelKMeans
from lst_jax.prepare.speech_tokenizers.protocol import UnitTokenizer
from lst_jax.prepare.speech_tokenizers.registry import load_unit_tokenizer


@pytest.mark.parametrize(("samples", "frames"), [(640, 1), (100, 1), (960, 2), (959, 1), (16000, 25), (16321, 26)])
def test_a_frame_for_every_40_ms_and_one_for_a_rest_of_20(samples, frames, unit_file):
    assert LogMelKMeans.load(unit_file).encode(sweep(2, 200)[:samples], 16000).shape == (frames,)


def test_a_unit_is_the_centroid_nearest_to_its_own_40_ms(unit_file):
    tokenizer = LogMelKMeans.load(unit_file)
    audio = sweep(1.0, 300)
    ids = tokenizer.encode(audio, 16000)
    assert ids.dtype == np.uint16 and len(set(ids.tolist())) > 3
    features = LogMelKMeans.features(audio)
    for frame in range(25):
        distances = [
            np.sum(((features[frame] - tokenizer.mean) / tokenizer.scale - c) ** 2) for c in tokenizer.centroids
        ]
        assert ids[frame] == np.argmin(distances)
    shifted = tokenizer.encode(audio[640 * 5 :], 16000)  # whole frames later: the same units, but for the cut edge
    np.testing.assert_array_equal(shifted[1:], ids[6:])


def test_frames_are_centred_on_their_own_samples():
    """A click in the middle of a frame of 40 ms is seen the same way from both sides, and by that frame most."""
    audio = np.zeros(6400, np.float32)
    audio[640 * 5 + 319 : 640 * 5 + 321] = 0.5
    mel = LogMelKMeans.features(audio).reshape(10, 4, 80)
    assert mel.sum(axis=(1, 2)).argmax() == 5
    np.testing.assert_allclose(mel[5], mel[5, ::-1], atol=0.05)
    np.testing.assert_array_equal(mel[[0, 1, 2, 3, 7, 8, 9]], np.log(np.float32(1e-5)))


def test_a_saved_tokenizer_is_the_same_and_the_fingerprint_tells_others_apart(tmp_path, unit_file):
    first = load_unit_tokenizer(unit_file)
    first.save(tmp_path / "copy.safetensors")
    assert (tmp_path / "copy.safetensors").read_bytes() == unit_file.read_bytes()
    assert load_unit_tokenizer(tmp_path / "copy.safetensors").fingerprint == first.fingerprint
    moved = LogMelKMeans(first.centroids + np.float32(1e-3), first.mean, first.scale)
    assert moved.fingerprint != first.fingerprint
    assert isinstance(first, UnitTokenizer)
    assert (first.unit_rate, first.codebook_size) == (25.0, 12)


def test_fitting_with_and_without_standardising_puts_centroids_among_the_features():
    chunks = [LogMelKMeans.features(sweep(1.0, start)) for start in (200, 500)]
    for standardise in (True, False):
        tokenizer = LogMelKMeans.fit(iter(chunks), 6, seed=1, standardise=standardise)
        mel = tokenizer.decode_mel(np.arange(6, dtype=np.uint16))
        rows = np.concatenate(chunks).reshape(-1, 80)
        assert mel.shape == (24, 80) and rows.min() - 1e-3 <= mel.min() and mel.max() <= rows.max() + 1e-3


def test_resynthesis_has_the_length_and_the_pitch_of_the_original():
    tone = (0.4 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)).astype(np.float32)
    tokenizer = LogMelKMeans.fit([LogMelKMeans.features(tone)], 2, seed=0)
    again = tokenizer.resynthesise(tokenizer.encode(tone, 16000))
    assert again.shape == tone.shape
    assert abs(np.argmax(np.abs(np.fft.rfft(again))) - 440) < 25


def test_bad_settings_and_files_are_one_line(tmp_path, unit_file):
    features = [LogMelKMeans.features(sweep(0.4, 200))]
    with pytest.raises(DataError, match="10 frames of audio cannot make 50 centroids; give more"):
        LogMelKMeans.fit(features, 50, 0)
    with pytest.raises(DataError, match="k=1: must lie in"):
        LogMelKMeans.fit(features, 1, 0)
    with pytest.raises(DataError, match="rate=8000: units are made from 16000 Hz"):
        LogMelKMeans.load(unit_file).encode(sweep(1, 200), 8000)
    (tmp_path / "text").write_text("no")
    safetensors.numpy.save_file({"a": np.zeros(3)}, tmp_path / "other")
    safetensors.numpy.save_file(
        {"a": np.zeros(3)}, tmp_path / "kind", {"unit_tokenizer": '{"kind": "hubert", "version": 1}'}
    )
    safetensors.numpy.save_file(
        {"a": np.zeros(3)}, tmp_path / "shape", {"unit_tokenizer": '{"kind": "logmel_kmeans", "version": 1}'}
    )
    for name, part in [
        ("none", "no such file"),
        ("text", "is not a safetensors file"),
        ("other", "is no unit tokenizer"),
        ("kind", "of kind 'hubert'"),
        ("shape", "has tensors"),
    ]:
        with pytest.raises(DataError, match=part) as caught:
            load_unit_tokenizer(tmp_path / name)
        assert "\n" not in str(caught.value) and str(tmp_path / name) in str(caught.value)


def test_saving_under_a_file_is_a_storage_error(tmp_path, unit_file):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        LogMelKMeans.load(unit_file).save(tmp_path / "file" / "units.safetensors")
