"""Lhotse's manifests: cuts, recordings with supervisions, and Shar, as version 1.33 writes them."""

import gzip
import importlib.util
import json

import numpy as np
import pytest
import soundfile
from corpus_files import in_bucket, items_of, parts_of, write_tar

from lst_jax.core.errors import DataError
from lst_jax.prepare.corpora import lhotse
from lst_jax.prepare.corpora.choose import layout_of
from lst_jax.prepare.corpora.registry import Settings

ALIGNMENT = {"word": [["hello", 0.5, 0.4, None], ["", 0.9, 0.1, None], ["world", 1.0, 0.5, 0.9]]}
HELLO = ("hello", 0.0, pytest.approx(0.4)), ("world", 0.5, 1.0)


def recording(name: str, source: str, channels: list[int], **more) -> dict:
    sources = [{"type": "file", "channels": channels, "source": source}]
    rest = {"sampling_rate": 16000, "num_samples": 64000, "duration": 4.0, "channel_ids": channels}
    return {"id": name, "sources": sources, **rest, **more}


def supervision(name: str, start: float, duration: float, text: str, **more) -> dict:
    who = {"recording_id": name.partition("-")[0], "channel": 0, "language": "English", "speaker": "s1"}
    return {"id": name, "start": start, "duration": duration, "text": text, **who, **more}


def cut(
    name: str, start: float, duration: float, of: dict, *supervisions: dict, channel=0, kind="MonoCut", **more
) -> dict:
    said = {"id": name, "start": start, "duration": duration, "channel": channel, "supervisions": list(supervisions)}
    return {**said, "recording": of, "type": kind, **more}


R1, R2 = recording("r1", "r1.flac", [0]), recording("r2", "audio/r2.wav", [0, 1])
FIRST = supervision("r1-1", 0.5, 1.0, "hello world", custom={"split": "train"}, alignment=ALIGNMENT)
SECOND = supervision("r1-2", 2.0, 1.5, "good bye")
RIGHT = supervision("r2-1", 0.0, 2.0, "the right one", channel=1)
EXPECTED = [
    ("r1-1", "hello world", 0.5, 1.0, None),
    ("r1-2", "good bye", 2.0, 1.5, None),
    ("r2-1", "the right one", 0.0, 2.0, "2"),
]


def reader(**settings):
    return lhotse.LhotseReader(Settings(**settings))


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def said(items):
    return [(i.id, i.text, i.offset_sec, i.duration_sec, i.channel) for i in items]


def flac(seconds: float, folder) -> bytes:
    soundfile.write(folder / "one.flac", np.random.default_rng(0).normal(0, 0.1, int(seconds * 16000)), 16000)
    return (folder / "one.flac").read_bytes()


@pytest.fixture
def shar(tmp_path):
    """Two shards of cuts that were trimmed to their supervisions, as `CutSet.to_shar` writes them."""
    folder, sound = tmp_path / "shar", flac(1.0, tmp_path)
    for number, names in enumerate((["r1-1", "a/r1.2-3"], ["r2-1"])):
        cuts, members = [], {}
        for name in names:
            placeholder = R1 | {"sources": [{"type": "shar", "channels": [0], "source": ""}], "duration": 1.0}
            cuts.append(
                cut(name, 0, 1.0, placeholder, supervision(name, 0.0, 1.0, f"words of {name}", alignment=ALIGNMENT))
            )
            members |= {f"{name}.flac": sound, f"{name}.json": json.dumps(placeholder).encode()}
        write(folder / f"cuts.{number:06d}.jsonl.gz", *cuts)
        write_tar(folder / f"recording.{number:06d}.tar", members)
    return folder


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_supervisions_find_their_recordings(tmp_path, suffix):
    write(tmp_path / f"mls_recordings_train{suffix}", R2, R1)
    write(tmp_path / f"mls_supervisions_train{suffix}", FIRST, SECOND, RIGHT)
    found = items_of(reader(), tmp_path)
    assert said(found) == EXPECTED
    assert [item.audio for item in found] == [tmp_path / "r1.flac"] * 2 + [tmp_path / "audio/r2.wav"]
    assert found[0].words == HELLO and found[1].words is None
    assert {(item.speaker, item.language) for item in found} == {("s1", "English")}
    assert found[2].place == f"{tmp_path}/mls_supervisions_train{suffix}: line 3"
    assert said(items_of(reader(where={"split": "train"}, skip_bad=True), tmp_path)[:1]) == EXPECTED[:1]
    assert said(items_of(reader(where={"recording_id": "r2", "channel": "1"}), tmp_path)) == EXPECTED[2:]


def test_cuts_give_their_supervisions_whole_or_trimmed(tmp_path):
    whole = [cut("r1-0", 0, 4.0, R1, FIRST, SECOND), cut("r2-0", 0, 4.0, R2, RIGHT, channel=[0, 1], kind="MultiCut")]
    assert said(items_of(reader(), write(tmp_path / "cuts.jsonl.gz", *whole))) == EXPECTED
    trimmed = [
        cut(s["id"], s["start"], s["duration"], r, s | {"start": 0.0})
        for s, r in ((FIRST, R1), (SECOND, R1), (RIGHT, R2))
    ]
    found = items_of(reader(), write(tmp_path / "trimmed_cuts.jsonl", *trimmed))
    assert said(found) == EXPECTED and found[0].words == HELLO


def test_words_count_from_the_recording_or_from_the_cut_and_are_left_out_where_that_is_not_clear(tmp_path):
    def words(start, in_cut, duration, alignment):
        one = supervision("r1-1", in_cut, duration, "hello world", alignment=alignment)
        (item,) = items_of(reader(), write(tmp_path / "cuts.jsonl", cut("c", start, 3.0, R1, one)))
        return item.words

    shifted = {"word": [["hello", 0.25, 0.4, None], ["world", 0.75, 0.5, None]]}
    assert words(0.25, 0.25, 1.0, ALIGNMENT) == HELLO
    assert words(0.25, 0.25, 1.0, shifted) == HELLO
    assert words(0.25, 0.0, 2.0, ALIGNMENT) is None  # both are possible
    assert words(3.0, 0.0, 0.5, ALIGNMENT) is None  # none is


def test_audio_root_and_urls(tmp_path):
    away = recording("r3", "gs://b/r3.flac", [0])
    away["sources"][0]["type"] = "url"
    path = write(
        tmp_path / "cuts.jsonl", cut("a", 0, 4.0, R1, SECOND), cut("b", 0, 4.0, away, supervision("r3-1", 0, 4, "x"))
    )
    first, second = items_of(reader(options={"audio_root": "/data"}), path)
    assert str(first.audio) == "/data/r1.flac" and str(second.audio) == "gs://b/r3.flac"


def test_libriheavy_has_its_texts_in_custom_fields(tmp_path):
    one = supervision(
        "large/1/a_0", 0, 4.0, "", custom={"texts": ["The Book's text.", "THE BOOKS TEXT"], "begin_byte": 5}
    )
    del one["text"]
    (item,) = items_of(
        reader(), write(tmp_path / "libriheavy_cuts_small.jsonl.gz", cut("large/1/a_0", 0, 4.0, R1, one))
    )
    assert (item.id, item.text) == ("large/1/a_0", "The Book's text.")


def test_shar_reads_the_sound_of_its_tars(shar, tmp_path, bucket):
    found = items_of(reader(), shar)
    assert said(found) == [(name, f"words of {name}", 0.0, 1.0, None) for name in ("r1-1", "a/r1.2-3", "r2-1")]
    assert [len(item.recording.samples()) for item in found] == [16000] * 3
    assert len(parts_of(reader(), shar, 1)) == 2  # a shard each
    assert all(item.words is None for item in found)  # of what do their times count?
    there = items_of(reader(), in_bucket(bucket, shar))
    assert said(there) == said(found)
    assert there[1].audio.content == (tmp_path / "one.flac").read_bytes()


def test_shards_whose_tar_is_of_other_cuts_or_is_cut(shar, tmp_path):
    tar = shar / "recording.000000.tar"
    content = tar.read_bytes()
    write_tar(tar, {"other.flac": b"x", "other.json": b"{}"})
    with pytest.raises(
        DataError, match="has 'other' where .*line 1 has 'r1-1'; a shard's cuts and recordings must be of one"
    ):
        items_of(reader(), shar)
    tar.write_bytes(content[: len(content) // 2])
    found = items_of(reader(skip_bad=True), shar)
    assert [getattr(one, "reason", one.id) for one in found] == ["r1-1", lhotse.DAMAGED, "r2-1"]


def test_cuts_that_are_no_items_are_counted(tmp_path):
    mixed = {"id": "m", "tracks": [], "type": "MixedCut"}
    command = recording("r1", "sph2pipe a.sph |", [0])
    command["sources"][0]["type"] = "command"
    lines = [
        mixed,
        cut("c", 0, 4.0, R1),
        cut("d", 0, 1.0, R1, FIRST),
        cut("e", 0, 4.0, R1 | {"transforms": [{"name": "Speed", "kwargs": {"factor": 1.1}}]}, FIRST),
        cut("f", 0, 4.0, command, FIRST),
        cut("g", 0, 4.0, R2, SECOND | {"channel": 5}),
        cut("h", 0, 4.0, R1, SECOND | {"text": None}),
        "{",
        cut("i", 0, 4.0, R1, SECOND | {"start": "2"}, SECOND),
        cut("j", 0, 4.0, R1, {k: v for k, v in RIGHT.items() if k != "text"}),
    ]
    found = items_of(reader(skip_bad=True), write(tmp_path / "cuts.jsonl", *lines))
    assert [getattr(one, "reason", one.id) for one in found] == [
        "mixed cut",
        "missing text",
        "supervision outside the cut",
        "recording transformed",
        "missing audio",
        "no such channel",
        "wrong type",
        "not JSON",
        "wrong type",
        "r1-2",
        "missing text",
    ]
    for n, line in enumerate(lines):
        if n not in (8,):
            with pytest.raises(DataError, match="line 1: .*; "):
                items_of(reader(), write(tmp_path / "one" / "cuts.jsonl", line))


def test_manifests_without_partners_are_one_line(tmp_path):
    path = write(tmp_path / "supervisions.jsonl.gz", FIRST)
    with pytest.raises(
        DataError, match="has no recordings.jsonl.gz beside it; add the manifest of recordings, or give cuts"
    ):
        items_of(reader(), path)
    write(tmp_path / "recordings.jsonl.gz", R2)
    (bad,) = items_of(reader(skip_bad=True), path)
    assert (
        bad.reason == "missing audio" and "is of recording 'r1', which recordings.jsonl.gz does not have" in bad.message
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no \*cuts\*.jsonl.gz and no \*supervisions\*.jsonl.gz"):
        items_of(reader(), tmp_path / "empty")


def test_exact_numbers_of_records_are_for_supervisions_alone(shar, tmp_path):
    with pytest.raises(DataError, match="--shard-records is not for cuts, each of which may give several items; give"):
        items_of(reader(exact=True), shar)
    write(tmp_path / "recordings.jsonl", R1, R2)
    path = write(tmp_path / "supervisions.jsonl", FIRST, SECOND, RIGHT)
    assert said(items_of(reader(exact=True), path)) == EXPECTED


def test_folders_of_lhotse_are_known_without_a_name(shar, tmp_path):
    write(tmp_path / "m/recordings.jsonl.gz", R1)
    write(tmp_path / "m/supervisions.jsonl.gz", FIRST)
    assert [layout_of(place, "speech").name for place in (shar, tmp_path / "m")] == ["lhotse"] * 2


@pytest.mark.skipif(importlib.util.find_spec("lhotse") is None, reason="needs lhotse")
@pytest.mark.filterwarnings("ignore")  # of the modules that it imports
def test_what_lhotse_writes_is_read(tmp_path):
    import lhotse as program
    from lhotse.supervision import AlignmentItem

    for name in "mcts":
        (tmp_path / name).mkdir()
    soundfile.write(tmp_path / "r1.flac", np.random.default_rng(0).normal(0, 0.1, 64000), 16000)
    soundfile.write(tmp_path / "r2.wav", np.random.default_rng(1).normal(0, 0.1, (64000, 2)), 16000)
    recordings = program.RecordingSet.from_recordings(
        program.Recording.from_file(tmp_path / n) for n in ("r1.flac", "r2.wav")
    )
    segments = [{k: v for k, v in one.items() if k != "alignment"} for one in (FIRST, SECOND, RIGHT)]
    supervisions = [program.SupervisionSegment(**one) for one in segments]
    supervisions[0].alignment = {"word": [AlignmentItem(*one) for one in ALIGNMENT["word"]]}
    supervisions = program.SupervisionSet.from_segments(supervisions)
    recordings.to_file(tmp_path / "m/recordings.jsonl.gz")
    supervisions.to_file(tmp_path / "m/supervisions.jsonl.gz")
    cuts = program.CutSet.from_manifests(recordings=recordings, supervisions=supervisions)
    cuts.to_file(tmp_path / "c/cuts.jsonl.gz")
    cuts.trim_to_supervisions().to_file(tmp_path / "t/cuts.jsonl.gz")
    cuts.trim_to_supervisions().to_shar(tmp_path / "s", fields={"recording": "flac"}, shard_size=2)
    for name in ("m", "c", "t"):
        found = items_of(reader(), tmp_path / name)
        assert said(found) == EXPECTED and found[0].words == HELLO, name
    found = items_of(reader(), tmp_path / "s")
    assert said(found) == [(name, text, 0.0, length, None) for name, text, _, length, _ in EXPECTED]
    whole = items_of(reader(), tmp_path / "m")
    for one, same in zip(found, whole, strict=True):
        np.testing.assert_allclose(one.recording.samples(), same.recording.samples(), atol=1e-4)
