import numpy as np
import pytest
import tiny_models
from hypothesis import given
from hypothesis import strategies as st

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare.acoustic import units
from lst_jax.prepare.acoustic.encoder import Encoder
from lst_jax.prepare.acoustic.units import HubertKMeans, Quantizer
from lst_jax.prepare.speech_tokenizers.protocol import UnitTokenizer

LAYER = 2


@pytest.fixture
def directory(tmp_path):
    return tiny_models.write(tmp_path / "model", "hubert_25hz")


def centroids(k=20, width=32):
    return np.random.default_rng(3).normal(size=(k, width))


def test_units_are_the_nearest_centroids_of_the_hidden_state(directory):
    heard = np.concatenate(Encoder(directory, LAYER).hidden_states(tiny_models.recordings()))
    centroids = heard[::2].astype(np.float64) * 1.01
    Quantizer.from_centroids(centroids, LAYER).save(directory / units.QUANTIZER_FILE)
    tokenizer: UnitTokenizer = HubertKMeans.load(directory)
    assert (tokenizer.unit_rate, tokenizer.codebook_size) == (25, len(centroids))
    recordings = tiny_models.recordings()
    batch = tokenizer.encode_batch(recordings, 16000)
    for recording, found in zip(recordings, batch, strict=True):
        state = Encoder(directory, LAYER).hidden_states([recording])[0].astype(np.float64)
        nearest = ((state[:, None] - centroids) ** 2).sum(-1).argmin(-1)
        assert found.dtype == np.uint16 and found.tolist() == nearest.tolist()
        assert tokenizer.encode(recording, 16000).tolist() == nearest.tolist()
        assert len(set(nearest.tolist())) > 2  # else the test would say little


def test_a_linear_quantizer_is_its_largest_output_with_blanks_filled(directory):
    rng = np.random.default_rng(4)
    recording = tiny_models.recordings()[0]
    state = Encoder(directory, LAYER).hidden_states([recording])[0]
    weight_VD = rng.normal(size=(7, 32)).astype(np.float32)
    bias_V = -weight_VD @ state.mean(0)  # so that several units occur
    plain = HubertKMeans.load(directory, Quantizer(weight_VD.T, bias_V, LAYER)).encode(recording, 16000)
    assert plain.tolist() == (state @ weight_VD.T + bias_V).argmax(-1).tolist()
    blank = int(plain[0])
    filled = HubertKMeans.load(directory, Quantizer(weight_VD.T, bias_V, LAYER, blank)).encode(recording, 16000)
    assert filled.tolist() == units.fill_blanks(plain, blank).tolist() and blank not in filled


@given(st.lists(st.integers(0, 3), min_size=1))
def test_blanks_take_the_unit_before_and_leading_ones_the_unit_after(values):
    def slowly(values):
        for i, value in enumerate(values):
            before = [v for v in values[: i + 1] if v != 0]
            after = [v for v in values[i:] if v != 0]
            yield value or (before[-1] if before else after[0])

    array = np.array(values)
    if not array.any():
        with pytest.raises(RejectedItem, match="every frame is the quantizer's blank"):
            units.fill_blanks(array, 0)
    else:
        assert units.fill_blanks(array, 0).tolist() == list(slowly(values))
    assert units.fill_blanks(array, None).tolist() == values


def test_the_fingerprint_changes_with_whatever_could_change_a_unit(directory):
    def fingerprint(quantizer):
        return HubertKMeans.load(directory, quantizer).fingerprint

    first = fingerprint(Quantizer.from_centroids(centroids(), LAYER))
    assert first == fingerprint(Quantizer.from_centroids(centroids(), LAYER))
    others = [
        fingerprint(Quantizer.from_centroids(centroids() + 1e-6, LAYER)),
        fingerprint(Quantizer.from_centroids(centroids(), LAYER + 1)),
        fingerprint(Quantizer(np.zeros((32, 20)), np.zeros(20), LAYER)),
        fingerprint(Quantizer(np.zeros((32, 20)), np.zeros(20), LAYER, blank=0)),
    ]
    tiny_models.write(directory, "hubert_25hz", normalise=True)
    others.append(fingerprint(Quantizer.from_centroids(centroids(), LAYER)))
    assert len({first, *others}) == 6


def test_a_saved_quantizer_is_read_back(tmp_path):
    saved = Quantizer(np.ones((3, 4)), np.arange(4), 11, blank=3)
    saved.save(tmp_path / "q.safetensors")
    read = Quantizer.load(tmp_path / "q.safetensors")
    assert (read.layer, read.blank, read.codebook_size, read.fingerprint) == (11, 3, 4, saved.fingerprint)


def test_misfits_are_one_line_errors(directory, tmp_path):
    with pytest.raises(DataError, match="units.safetensors: no such file; make it with"):
        HubertKMeans.load(directory)
    with pytest.raises(DataError, match="model.safetensors: is no quantizer of version 1"):
        Quantizer.load(directory / "model.safetensors")
    with pytest.raises(DataError, match="frames of width 16, the model's have 32"):
        HubertKMeans.load(directory, Quantizer.from_centroids(centroids(width=16), LAYER))
    with pytest.raises(DataError, match=r"layer=4: must lie in 0\.\.3"):
        HubertKMeans.load(directory, Quantizer.from_centroids(centroids(), 4))
    tokenizer = HubertKMeans.load(directory, Quantizer.from_centroids(centroids(), LAYER))
    with pytest.raises(DataError, match="rate=8000: units are made from 16000 Hz"):
        tokenizer.encode(tiny_models.recordings()[0], 8000)
    with pytest.raises(RejectedItem, match="less than the 720 samples"):
        tokenizer.encode(np.zeros(700, np.float32), 16000)
