"""Libriheavy's cuts of LibriLight, in the exact layout of its manifests."""

import gzip
import json
import pathlib

import pytest
from read_corpus import parts_of, read, write

from lst_jax.core.errors import DataError
from lst_jax.prepare.corpora import librilight, line_parts
from lst_jax.prepare.corpora.registry import Settings

BOOK = "small/100/sea_fairies_0812_librivox_64kb_mp3"


def cut(number: int, start: float, texts=("Why do folks dive?", "WHY DO FOLKS DIVE"), **custom) -> dict:
    """A cut with the fields of the published manifests."""
    recording = f"{BOOK}/01_baum_sea_fairies_64kb"
    name = f"{recording}_{number}"
    said = {"id": name, "recording_id": recording, "start": 0, "duration": 7.36, "channel": 0}
    said |= {"language": "English", "speaker": "100"}
    said["custom"] = {
        "texts": list(texts),
        "pre_texts": ["us mortal", "US MORTAL"],
        "begin_byte": 4993,
        "end_byte": 5120,
    }
    source = {"type": "file", "channels": [0], "source": f"download/librilight/{recording}.flac"}
    return {
        "id": name,
        "start": start,
        "duration": 7.36,
        "channel": 0,
        "supervisions": [said | custom],
        "recording": {
            "id": recording,
            "sources": [source],
            "sampling_rate": 16000,
            "num_samples": 9567080,
            "duration": 597.942,
            "channel_ids": [0],
        },
        "custom": {"text_path": "download/librilight_text/output_text_small_cleaned/Sea Fairies/text.txt"},
        "type": "MonoCut",
    }


@pytest.fixture
def heavy(tmp_path):
    """libriheavy_cuts_small.jsonl.gz with five cuts."""
    lines = "".join(json.dumps(cut(i, 243.919 + 8 * i)) + "\n" for i in range(5))
    write(tmp_path / "README.md", "about")
    return write(tmp_path / "libriheavy_cuts_small.jsonl.gz", gzip.compress(lines.encode()))


def test_the_cuts_are_parts_of_long_recordings(heavy):
    items = read("librilight", heavy.parent, options={"audio_root": "/data/librilight"})
    flac = pathlib.Path(f"/data/librilight/{BOOK}/01_baum_sea_fairies_64kb.flac")
    assert {i.audio for i in items} == {flac} and [i.offset_sec for i in items] == [243.919 + 8 * i for i in range(5)]
    one = items[0]
    assert (one.id, one.text, one.speaker, one.duration_sec, one.language) == (
        f"{BOOK}/01_baum_sea_fairies_64kb_0",
        "Why do folks dive?",
        "100",
        7.36,
        "en",
    )
    assert (
        one.place == f"{heavy}: line 1" and librilight.is_at(heavy.parent) and not librilight.is_at(heavy.parent / "no")
    )
    (first, *_) = read("librilight", heavy)
    assert first.audio == heavy.parent / "download/librilight" / BOOK / "01_baum_sea_fairies_64kb.flac"


def test_the_transcript_is_chosen(heavy, tmp_path):
    assert read("librilight", heavy, options={"transcript": "recognised"})[0].text == "why do folks dive"
    with pytest.raises(DataError, match="--transcript other: must be book, recognised"):
        read("librilight", heavy, options={"transcript": "other"})
    said = cut(0, 0.0)
    said["supervisions"][0] |= {"text": "WHY DO FOLKS DIVE", "custom": {}}  # of the manifests for recognition alone
    path = write(tmp_path / "asr" / "libriheavy_cuts_dev.jsonl", json.dumps(said) + "\n")
    assert read("librilight", path)[0].text == "why do folks dive"


def test_parts_of_a_compressed_file_are_read_in_any_order_and_opened_once_in_their_own(heavy, monkeypatch):
    reader = librilight.LibriLight(Settings())
    parts = parts_of(reader, heavy, part_items=1)
    opened, real = [], line_parts._decompressed
    monkeypatch.setattr(line_parts, "_decompressed", lambda place: opened.append(place) or real(place))
    assert [item.id[-1] for part in parts for item in reader.read(part)] == list("01234") and len(opened) == 1
    assert [item.id[-1] for part in parts[::2] for item in reader.read(part)] == list("024") and len(opened) == 2
    assert [item.id[-1] for part in reversed(parts) for item in reader.read(part)] == list("43210")
    at_once = zip(*(reader.read(part) for part in parts), strict=True)
    assert [item.id[-1] for items in at_once for item in items] == list("01234")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        (json.dumps(cut(5, 0.0) | {"supervisions": []}), "several supervisions"),
        (json.dumps(cut(5, -1.0)), "wrong type"),
        (json.dumps(cut(5, 0.0) | {"duration": 0}), "wrong type"),
        (json.dumps(cut(5, 0.0) | {"recording": {"id": "x"}}), "missing field"),
        (json.dumps(cut(5, 0.0, texts=("a",))), ""),
    ],
)
def test_a_line_that_is_no_cut_is_counted_or_stops(heavy, line, reason):
    write(heavy, gzip.compress(gzip.decompress(heavy.read_bytes()) + line.encode() + b"\n"))
    last = read("librilight", heavy, skip_bad=True)[-1]
    assert not reason or last.reason == reason
    if reason:
        with pytest.raises(DataError, match="small.jsonl.gz: line 6: .*; "):
            read("librilight", heavy)


def test_a_file_that_was_cut_is_an_error_of_one_line(heavy):
    write(heavy, heavy.read_bytes()[:-12])
    with pytest.raises(DataError, match="small.jsonl.gz: cannot be read"):
        read("librilight", heavy)
