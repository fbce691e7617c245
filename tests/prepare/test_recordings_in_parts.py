"""Parts of one long recording that cannot seek: decoded once, as long as they are read in order."""

import numpy as np
import pytest
import soundfile
from prepare_helpers import sweep

from lst_jax.core.errors import RejectedItem
from lst_jax.prepare import recordings
from lst_jax.prepare.recordings import Recording

PARTS = ((0.0, 1.0), (1.0, 0.5), (2.25, 1.0), (3.5, 0.5))


@pytest.fixture
def opened(monkeypatch):
    """The frames at which each file was that was opened, or taken up again."""
    found, real = [], recordings.audio_place.opened
    monkeypatch.setattr(recordings.audio_place, "opened", lambda audio: found.append(audio) or real(audio))
    recordings._kept = None
    return found


@pytest.mark.parametrize(("name", "rate"), [("a.ogg", 16000), ("a.opus", 24000), ("a.flac", 16000), ("a.mp3", 22050)])
def test_parts_in_order_have_the_samples_of_parts_by_themselves(tmp_path, opened, name, rate):
    path = tmp_path / name
    options = {"format": "OGG", "subtype": "OPUS"} if name == "a.opus" else {}
    soundfile.write(path, np.concatenate([sweep(2.0, 200), sweep(2.0, 500)]), rate, **options)
    parts = [Recording(path, start * 16000 / rate, length * 16000 / rate) for start, length in PARTS]
    alone = []
    for part in reversed(parts):
        alone.insert(0, part.samples())
    assert len(opened) == len(parts)
    opened.clear()
    in_order = [part.samples() for part in parts]
    assert all(np.array_equal(a, b) for a, b in zip(alone, in_order, strict=True))
    assert len(opened) == (len(parts) if name == "a.flac" else 1)


def test_a_file_that_was_replaced_or_could_not_be_read_is_opened_anew(tmp_path, opened):
    path = tmp_path / "a.ogg"
    soundfile.write(path, sweep(3.0, 200), 16000)
    first = Recording(path, 0.5, 0.5).samples()
    with pytest.raises(RejectedItem, match="ends before the part"):
        Recording(path, 2.5, 2.0).samples()
    assert len(Recording(path, 1.0, 0.5).samples()) == len(first) and len(opened) == 2
    soundfile.write(path, sweep(3.5, 900), 16000)
    assert len(opened) == 2 and len(Recording(path, 1.5, 0.5).samples()) == len(first) and len(opened) == 3
