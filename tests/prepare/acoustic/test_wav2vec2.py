import jax
import numpy as np
import pytest
import tiny_models

from lst_jax.core.errors import RejectedItem
from lst_jax.prepare.acoustic import encoder, weights
from lst_jax.prepare.acoustic.encoder import Encoder

GOLDEN = "golden_transformers.npz"  # made by transformers, see `make_golden.py` beside it
TOLERANCE = 1e-4  # values are of the order of 1


@pytest.mark.parametrize("variant", tiny_models.VARIANTS)
def test_hidden_state_and_log_probabilities_equal_those_transformers_computed(variant, tmp_path, request):
    directory = tiny_models.write(tmp_path / "model", variant)
    recordings = tiny_models.recordings()
    with np.load(request.path.with_name(GOLDEN)) as golden:
        found = Encoder(directory, 2).hidden_states(recordings)[1]
        np.testing.assert_allclose(found, golden[f"{variant}/2"], atol=TOLERANCE, rtol=0)
        found = Encoder(directory).log_probs(recordings)[1]
        np.testing.assert_allclose(found, golden[f"{variant}/log_probs"], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("variant", ["hubert_25hz", "wav2vec2_base"])
def test_neither_padding_nor_neighbours_change_a_result(variant, tmp_path):
    model = Encoder(tiny_models.write(tmp_path / "model", variant), 3)
    recording = tiny_models.recordings()[1]
    outs = []
    for rows, samples, noise in ((1, len(recording), 0), (3, 20000, 5)):
        audio_BS = noise * np.random.default_rng(0).normal(size=(rows, samples)).astype(np.float32)
        audio_BS[-1, : len(recording)] = recording
        samples_B = np.array([samples] * (rows - 1) + [len(recording)], np.int32)
        out_BTD = encoder.wav2vec2.hidden_state(
            model.params, jax.numpy.asarray(audio_BS), jax.numpy.asarray(samples_B), arch=model.arch, layer=3
        )
        outs.append(np.asarray(out_BTD)[-1, : model.arch.frames(len(recording))])
    np.testing.assert_allclose(outs[1], outs[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("variant", "rate", "window"), [("wav2vec2_base", 50, 400), ("hubert_25hz", 25, 720)])
def test_rate_and_frames_follow_from_the_strides(variant, rate, window, tmp_path):
    arch = weights.read_architecture(tiny_models.write(tmp_path / "model", variant))
    assert (arch.frame_rate, arch.window) == (rate, window)
    for samples in (window - 1, window, window + 1, 5000, 16000):
        frames = max(0, (samples - window) // arch.hop + 1)  # the windows that fit
        assert arch.frames(samples) == frames or frames == 0 >= arch.frames(samples)


def test_results_keep_the_order_of_the_recordings_across_buckets(tmp_path):
    model = Encoder(tiny_models.write(tmp_path / "model", "wav2vec2_base"), 2)
    recordings = tiny_models.recordings((0.3, 1.5, 0.2, 0.3))
    together = model.hidden_states(recordings)
    for one, recording in zip(together, recordings, strict=True):
        np.testing.assert_allclose(one, model.hidden_states([recording])[0], atol=1e-5, rtol=0)


def test_recordings_shorter_than_a_frame_or_too_long_are_rejected_alone(tmp_path):
    model = Encoder(tiny_models.write(tmp_path / "model", "wav2vec2_base"), 2)
    good, short, long = tiny_models.recordings((0.3, 0.02, 121))
    results = model.hidden_states([short, good, long])
    assert isinstance(results[1], np.ndarray)
    assert [r.reason for r in results if isinstance(r, RejectedItem)] == ["too short", "too long"]


def test_buckets_waste_at_most_a_quarter_and_batches_stay_in_memory():
    for frames in range(1, 6001):
        bucket = encoder.bucket(frames)
        assert frames <= bucket <= max(1.25 * frames, encoder.SMALLEST_BUCKET)
        assert encoder.bucket(bucket) == bucket
        rows = encoder.batch_size(bucket)
        assert rows == 1 or rows * bucket**2 <= encoder.SQUARE_FRAMES and rows * bucket <= encoder.BATCH_FRAMES
    assert len({encoder.bucket(frames) for frames in range(1, 6001)}) < 32
