"""Any recording becomes 16 kHz mono float32, or one line says why not; spectra agree with slow ones."""

import numpy as np
import pytest
import soundfile
from prepare_helpers import sweep

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare import audio, recordings


@pytest.mark.parametrize(
    ("name", "kind", "rate"),
    [
        ("a.wav", {}, 16000),
        ("a.wav", {"subtype": "FLOAT"}, 44100),
        ("a.flac", {}, 8000),
        ("a.ogg", {}, 22050),
        ("a.ogg", {"format": "OGG", "subtype": "OPUS"}, 48000),
        ("a.mp3", {}, 44100),
    ],
)
def test_formats_and_rates_give_the_same_tone(tmp_path, name, kind, rate):
    time = np.arange(rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / name, np.stack([tone, 0.5 * tone], axis=1), rate, **kind)
    loaded = recordings.load_audio(tmp_path / name)
    assert loaded.dtype == np.float32 and loaded.ndim == 1
    assert abs(len(loaded) - 16000) < 0.1 * 16000  # MP3 pads
    middle = loaded[4000:12000]
    spectrum = np.abs(np.fft.rfft(middle))
    assert np.argmax(spectrum) == 220  # 440 Hz in bins of 2 Hz
    assert np.abs(middle).max() == pytest.approx(0.375, abs=0.03)


def test_bad_recordings_are_rejected_with_their_reason(tmp_path):
    cases = {
        "missing audio": tmp_path / "none.wav",
        "unreadable audio": tmp_path / "text.wav",
        "NaN audio": tmp_path / "nan.wav",
        "silent audio": tmp_path / "zero.wav",
        "too short": tmp_path / "short.wav",
    }
    cases["unreadable audio"].write_text("this is no audio")
    soundfile.write(cases["NaN audio"], np.array([0.1, np.nan] * 8000), 16000, subtype="FLOAT")
    soundfile.write(cases["silent audio"], np.zeros(16000), 16000)
    soundfile.write(cases["too short"], np.full(600, 0.1), 16000)
    for reason, path in cases.items():
        with pytest.raises(RejectedItem) as caught:
            recordings.load_audio(path)
        assert caught.value.reason == reason and isinstance(caught.value, DataError)
        assert str(caught.value).startswith(str(path)) and "; " in str(caught.value) and "\n" not in str(caught.value)


def test_log_mel_frames_equal_a_direct_fourier_sum():
    samples = sweep(0.2, 300)
    mel = audio.log_mel(samples, 80, 20)
    assert mel.shape == (20, 80) and mel.dtype == np.float32
    for frame in (0, 7, 19):
        centre = 80 + 160 * frame
        power = np.zeros(257)
        for k in range(257):
            total = 0j
            for n in range(400):
                place = centre - 200 + n
                value = samples[place] if 0 <= place < len(samples) else 0.0
                total += value * np.sin(np.pi * n / 400) ** 2 * np.exp(-2j * np.pi * k * n / 512)
            power[k] = abs(total) ** 2
        np.testing.assert_allclose(mel[frame], np.log(np.maximum(audio.mel_filters() @ power, 1e-5)), atol=1e-3)


def test_every_mel_filter_sees_some_frequency_and_peaks_rise():
    filters = audio.mel_filters()
    assert (filters.sum(axis=1) > 0.3).all()
    assert (np.diff(filters.argmax(axis=1)) >= 1).all()


def test_griffin_lim_gives_audio_with_about_the_spectrum_it_was_asked_for():
    mel = audio.log_mel(sweep(0.8, 500), 80, 80)
    again = audio.griffin_lim(mel)
    assert again.shape == (80 * 160,) and again.dtype == np.float32
    loud = mel > mel.max() - 6
    assert np.abs(audio.log_mel(again, 80, 80) - mel)[loud].mean() < 0.5
