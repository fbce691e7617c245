"""Models that lie in a bucket: copied here by whoever loads them, and the same as on a disk."""

import numpy as np
import pytest
import test_vocoder
import tiny_models

from lst_jax.cli import main
from lst_jax.prepare.acoustic.vocoder import UnitVocoder
from lst_jax.prepare.aligners.registry import load_aligner
from lst_jax.prepare.speech_tokenizers.registry import load_unit_tokenizer
from lst_jax.storage import objects
from lst_jax.storage.at_hand import remove_copies
from lst_jax.storage.place import to_place


@pytest.fixture
def places(bucket, tmp_path, monkeypatch):
    """A model's directory with centroids beside it, here and in a bucket."""
    local, there = tmp_path / "local", to_place(f"{bucket}/{tmp_path.name}")
    tiny_models.write(local / "model", "hubert_25hz")
    np.save(local / "c.npy", np.random.default_rng(0).normal(size=(10, 32)).astype(np.float32))
    objects.upload(local, there)
    yield local, there
    remove_copies()


def test_units_and_aligners_are_those_of_a_disk(places, capsys):
    local, there = places
    for place in places:
        words = ["prepare", "units-convert", str(place / "model"), "--centroids", str(place / "c.npy"), "--layer", "2"]
        assert main.main(words) == 0
    assert f"{there}/model/units.safetensors: 10 units" in capsys.readouterr().out
    ours, theirs = (load_unit_tokenizer(str(place / "model")) for place in places)
    assert ours.fingerprint == theirs.fingerprint
    assert load_aligner(str(there / "model")).name == load_aligner(str(local / "model")).name


def test_a_damaged_file_is_named_by_its_address(places, capsys):
    _, there = places
    objects.write_text(there / "model" / "config.json", "{")
    words = ["prepare", "units-convert", str(there / "model"), "--centroids", str(there / "c.npy")]
    assert main.main(words) == 3
    assert f"{there}/model/config.json: is not JSON" in capsys.readouterr().err
    assert main.main([*words[:3], "--centroids", str(there / "no.npy")]) == 3


def test_a_vocoder_is_that_of_a_disk(places):
    local, there = places
    test_vocoder.make(local / "vocoder")
    objects.upload(local / "vocoder", there / "vocoder")
    ours, theirs = (UnitVocoder.load(str(place / "vocoder")) for place in places)
    assert np.array_equal(ours.synthesise(test_vocoder.UNITS), theirs.synthesise(test_vocoder.UNITS))
