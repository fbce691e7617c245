"""What the fields of a line or a row say: where the sound lies, which part of it, and in which language."""

import pathlib

import pytest

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare.corpora import fields
from lst_jax.prepare.corpora.audio_place import Content
from lst_jax.prepare.corpora.protocol import BadItem, Item
from lst_jax.storage.place import BucketPath

LINE = {"id": 7, "audio": "a/x.wav", "text": " Hello  there ", "lang": "en-US"}
NEMO = {
    "audio_filepath": "x.flac",
    "text": "hi",
    "offset": 1.5,
    "duration": 2,
    "channel": 2,
    "speaker": None,
    "split": "a",
}


def test_fields_of_a_manifest_and_of_nemo_become_an_item():
    base = pathlib.Path("data")
    assert fields.item_of(LINE, base, "m: line 1") == Item("7", base / "a/x.wav", "Hello there", None, language="en-US")
    assert fields.item_of(NEMO, base, "") == Item("x-1.500", base / "x.flac", "hi", None, 1.5, 2.0, "2")
    assert fields.item_of(LINE | {"words": "yes"}, base, "", "words").text == "yes"


@pytest.mark.parametrize(
    ("base", "address", "place"),
    [
        (pathlib.Path("d"), "a.wav", pathlib.Path("d/a.wav")),
        (pathlib.Path("d"), "/x/a.wav", pathlib.Path("/x/a.wav")),
        (pathlib.Path("d"), "gs://b/c/a.wav", BucketPath("gs://b/c/a.wav")),
        (BucketPath("gs://b/m"), "a.wav", BucketPath("gs://b/m/a.wav")),
        (BucketPath("gs://b/m"), "../wav/a.wav", BucketPath("gs://b/wav/a.wav")),
        (BucketPath("gs://b/m"), "/mnt/a.wav", pathlib.Path("/mnt/a.wav")),
        (BucketPath("gs://b/m"), "s3://c/a.wav", BucketPath("s3://c/a.wav")),
    ],
)
def test_audio_is_an_address_or_a_path_from_the_manifest(base, address, place):
    assert fields.audio_at(base, address) == place


@pytest.mark.parametrize("address", ["", ".", "../../other/a.wav", "gs://"])
def test_what_names_no_recording_is_rejected(address):
    with pytest.raises(RejectedItem) as caught:
        fields.item_of({"audio": address, "text": "a"}, BucketPath("gs://b/m"), "")
    assert caught.value.reason == "wrong type" and "; " in str(caught.value)


def test_the_id_of_a_line_without_one_does_not_hold_the_scheme():
    assert fields.item_of({"audio": "gs://b/c/a.wav", "text": "a"}, pathlib.Path(), "").id == "b/c/a"


def test_sound_beside_its_fields_is_cut_by_an_offset_alone():
    sound = Content(b"x", "x")
    said = {"text": "a", "duration": 3.0, "start": 5, "duration_ms": 3000}
    assert fields.sounding_item(said, sound, "n", "").duration_sec is None
    cut = fields.sounding_item(said | {"offset": 1.0}, sound, "n", "")
    assert (cut.offset_sec, cut.duration_sec, cut.id) == (1.0, 3.0, "n")
    with pytest.raises(RejectedItem, match="has duration_ms, start, which say what part"):
        fields.item_of({"audio": "a.wav", **said}, pathlib.Path(), "")


def test_a_bad_item_names_its_place_or_ends_the_reading():
    def bad():
        raise RejectedItem("wrong type", "is bad; mend it")

    def not_text():
        fields.text_of({"text": "a\ud800"}, "text")

    assert fields.item_or_bad("m: line 2", True, bad) == BadItem(
        "m: line 2", "wrong type", "m: line 2: is bad; mend it", "m: line 2"
    )
    with pytest.raises(DataError, match="m: line 2: is bad; mend it"):
        fields.item_or_bad("m: line 2", False, bad)
    assert fields.item_or_bad("m: line 2", False, not_text).reason == "not text"


@pytest.mark.parametrize("language", [None, "en", "EN", "en_GB", "eng", "English", "en-US"])
def test_english_passes_an_english_aligner_and_others_do_not(language):
    item = Item("u", pathlib.Path("a"), "a", None, language=language)
    fields.check_language(item, frozenset({"en"}))
    if language is not None:
        with pytest.raises(RejectedItem, match="is in .*, and the aligner knows de") as caught:
            fields.check_language(item, {"de"})
        assert caught.value.reason == fields.OTHER_LANGUAGE
        fields.check_language(item, None)
