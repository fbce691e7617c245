"""Items to records by models that see a batch: one bad recording is one rejection, not the end of its batch."""

import numpy as np
import pytest
from prepare_helpers import EvenAligner

from lst_jax.core.errors import DataError, StorageError
from lst_jax.prepare import makers, manifest, recordings
from lst_jax.prepare.speech_tokenizers.registry import loader


class BatchUnits:
    """One unit for each 640 samples. `fail` is called with the recordings of each batch."""

    name, fingerprint, codebook_size, unit_rate = "batch", "0" * 16, 4, 25.0

    def __init__(self, fail):
        self.fail, self.batches = fail, []

    def encode(self, audio, rate):
        """See `UnitTokenizer`."""
        return self.encode_batch([audio], rate)[0]

    def encode_batch(self, audios, rate):
        """See `BatchUnitTokenizer`."""
        self.batches.append(len(audios))
        self.fail(audios)
        return [np.zeros(len(audio) // 640, np.uint16) for audio in audios]


class BatchAligner(EvenAligner):
    """The aligner of `prepare_helpers` for whole batches; one id breaks it."""

    def align_batch(self, item_ids, audios, word_lists):
        """See `lst_jax.prepare.aligners.protocol.BatchAligner`."""
        if "tone03" in item_ids:
            raise IndexError("list index out of range")
        return [self.align(*row) for row in zip(item_ids, audios, word_lists, strict=True)]


def fails_over(samples, error):
    """Raises `error` where a recording has more samples."""

    def fail(audios):
        if any(len(audio) > samples for audio in audios):
            raise error

    return fail


def made_by(units, tones, aligner):
    items = list(manifest.read_items(tones(5), {}))
    return makers.SpeechMaker(lambda: units, aligner, None).make(items)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RuntimeError("conv of nothing"), "unexpected error"), (DataError("loud: is loud; mend it"), "breaks a rule")],
)
def test_a_recording_that_breaks_its_batch_is_rejected_alone(tones, error, reason):
    units = BatchUnits(fails_over(0.55 * 16000, error))  # the fifth tone has 0.56 s
    made = made_by(units, tones, EvenAligner())
    assert [one.rejection is None for one in made] == [True, True, True, True, False]
    assert made[4].rejection.id == "tone04" and made[4].rejection.reason.startswith(reason)
    assert str(error).split(";")[0] in made[4].rejection.message
    assert units.batches == [5, 1, 1, 1, 1, 1]


def test_an_aligner_that_breaks_over_one_id_rejects_it_alone(tones):
    made = made_by(BatchUnits(lambda audios: None), tones, BatchAligner())
    assert [one.rejection is None for one in made] == [True, True, True, False, True]
    assert "IndexError: list index out of range" in made[3].rejection.message


def test_a_disk_that_is_full_is_no_fault_of_a_recording(tones):
    units = BatchUnits(fails_over(0, StorageError("cache: cannot write; free space")))
    with pytest.raises(StorageError):
        made_by(units, tones, EvenAligner())
    assert units.batches == [5]


class SearchesTwice(EvenAligner):
    """Places the items of some ids by a second search."""

    def __init__(self, ids):
        super().__init__()
        self.ids = set(ids)

    def take_retried(self, item_id):
        """See `lst_jax.prepare.aligners.protocol.RetryingAligner`."""
        return item_id in self.ids


def test_items_that_a_second_search_placed_are_counted(tones):
    made = made_by(BatchUnits(lambda audios: None), tones, SearchesTwice({"tone01", "tone04"}))
    assert [one.notes[makers.RETRIED] for one in made] == [0, 1, 0, 0, 1]
    plain = made_by(BatchUnits(lambda audios: None), tones, EvenAligner())
    assert makers.RETRIED not in plain[0].notes


def test_a_group_of_long_recordings_has_fewer_of_them(tones, monkeypatch):
    monkeypatch.setattr(makers, "GROUP_SEC", 0.9)
    units = BatchUnits(lambda audios: None)
    made = made_by(units, tones, EvenAligner())  # tones of 0.4 to 0.56 s
    assert [one.rejection for one in made] == [None] * 5 and units.batches == [3, 2]


def test_what_needs_the_whole_sound_holds_longer_recordings(tones, unit_file, monkeypatch):
    monkeypatch.setattr(recordings, "LONGEST_SEC", 0.41)
    monkeypatch.setattr(recordings, "LONGEST_WHOLE_SEC", 0.55)
    items = list(manifest.read_items(tones(5), {}))
    made = makers.SpeechMaker(loader(unit_file), EvenAligner(), None).make(items)
    assert [one.rejection and one.rejection.reason for one in made] == [None] * 4 + ["too long"]
