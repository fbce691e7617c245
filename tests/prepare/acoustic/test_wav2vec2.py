import jax
import numpy as np
import pytest
import tiny_models

from lst_jax.core.errors import RejectedItem
from lst_jax.prepare.acoustic import encoder, wav2vec2, weights
from lst_jax.prepare.acoustic.encoder import Encoder

GOLDEN = "golden_transformers.npz"  # made by transformers, see `make_golden.py` beside it
TOLERANCE = 1e-4  # values are of the order of 1


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(
            name, marks=[pytest.mark.slow] * (name == "hubert_large")
        )  # the other large one has the same norms
        for name in tiny_models.VARIANTS
    ],
)
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


def test_recordings_shorter_than_a_frame_are_rejected_alone(tmp_path):
    model = Encoder(tiny_models.write(tmp_path / "model", "wav2vec2_base"), 2)
    good, short = tiny_models.recordings((0.3, 0.02))
    results = model.hidden_states([short, good])
    assert isinstance(results[1], np.ndarray)
    assert [r.reason for r in results if isinstance(r, RejectedItem)] == ["too short"]


def test_a_recording_too_long_for_attention_is_computed_in_pieces(tmp_path, monkeypatch):
    """The hidden state before the first layer sees 0.2 s around a frame, so there pieces change nothing."""
    directory = tiny_models.write(tmp_path / "model", "hubert_large", normalise=True)
    recording, short = tiny_models.recordings((7.3, 1.0))
    (whole,) = Encoder(directory, 0).hidden_states([recording])
    monkeypatch.setattr(encoder, "LONGEST_SEC", 5)
    monkeypatch.setattr(encoder, "PIECE_SEC", 2)
    monkeypatch.setattr(encoder, "MARGIN_SEC", 1)
    found, _ = Encoder(directory, 0).hidden_states([recording, short])
    assert len(found) == 364
    np.testing.assert_allclose(found, whole, atol=1e-5, rtol=0)
    deep = Encoder(directory, 2)
    (found,) = deep.hidden_states([recording])
    heard = deep.heard(recording)[50 * 320 : 249 * 320 + deep.arch.window]  # the second piece, with its margins
    expected = wav2vec2.hidden_state(deep.params, heard[None], np.array([len(heard)]), arch=deep.arch, layer=2)
    np.testing.assert_allclose(found[100:200], expected[0, 50:150], atol=1e-4, rtol=0)


def test_a_recording_too_long_for_attention_is_not_aligned_by_a_model(tmp_path):
    model = Encoder(tiny_models.write(tmp_path / "model", "wav2vec2_base"))
    with pytest.raises(RejectedItem, match="121 s of audio is longer than the 120 s .* --aligner ctm:PATH"):
        model.check(np.zeros(121 * 16000, np.float32))


def test_buckets_waste_at_most_a_quarter_and_batches_stay_in_memory():
    for frames in range(1, 6001):
        bucket = encoder.bucket(frames)
        assert frames <= bucket <= max(1.25 * frames, encoder.SMALLEST_BUCKET)
        assert encoder.bucket(bucket) == bucket
        rows = encoder.batch_size(bucket)
        assert rows == 1 or rows * bucket**2 <= encoder.SQUARE_FRAMES and rows * bucket <= encoder.BATCH_FRAMES
    assert len({encoder.bucket(frames) for frames in range(1, 6001)}) < 32
