"""Data directories of Kaldi and of ESPnet, and the sorted files that they are made of."""

import json

import hypothesis
import pytest
from hypothesis import strategies as st
from read_corpus import read, write

from lst_jax.core.errors import DataError
from lst_jax.prepare.corpora import kaldi, sorted_lines
from lst_jax.prepare.corpora.protocol import Item
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

FILES = {
    "text": "A-1 HELLO THERE\nA-2 GOOD  BYE\nB-1 Guten Tag\nB-2 AGAIN\nB-3 MORE\n",
    "wav.scp": "recA /data/a.wav\nrecB wav/b.flac\nrecC sox c.wav -t wav - |\n",
    "segments": "A-1 recA 0.5 2.25\nA-2 recA 3 -1\nB-1 recB 0.00 1.50 1\nB-2 recC 0 1\nB-3 recD 0 1\n",
    "utt2spk": "A-1 A\nA-2 A\nB-1 B\nB-2 B\nB-3 B\n",
    "utt2lang": "B-1 german\n",
    "spk2utt": "A A-1 A-2\nB B-1 B-2 B-3\n",
}


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "train"
    for name, content in FILES.items():
        write(folder / name, content)
    return folder


def test_a_data_directory_with_segments(data):
    one, two, three, command, missing = read("kaldi", data)
    assert one == Item("A-1", one.audio, "hello there", "A", 0.5, 1.75) and str(one.audio) == "/data/a.wav"
    assert (two.text, two.offset_sec, two.duration_sec) == ("good bye", 3.0, None)
    assert three == Item("B-1", data / "wav/b.flac", "Guten Tag", "B", 0.0, 1.5, "2", "de")
    assert (command.id, command.reason) == ("B-2", "no audio file") and "sox c.wav" in command.message
    assert (missing.id, missing.reason) == ("B-3", "missing audio") and "recD" in missing.message
    assert one.place == f"{data / 'text'}: line 1"
    for part_items in (1, 100):
        assert read("kaldi", data.parent, part_items) == read("espnet", data) == [one, two, three, command, missing]
    assert kaldi.is_at(data) and not kaldi.is_at(data.parent)
    (moved, *_) = read("kaldi", data, options={"audio_root": "/corpus"})[2:]
    assert str(moved.audio) == "/corpus/wav/b.flac"


def test_a_data_directory_of_whole_recordings(data):
    for name in ("segments", "utt2lang"):
        (data / name).unlink()
    write(data / "text", "A-1 HELLO\nA-2\tBYE\n")
    write(data / "wav.scp", "A-1 a.wav\nA-2 dump/raw.ark:1234\n")
    write(data / "utt2dur", "A-1 2.5\nA-2 1.0\n")
    one, archived = read("kaldi", data)
    assert one == Item("A-1", data / "a.wav", "hello", "A", 0.0, 2.5) and archived.reason == "no audio file"


def test_a_directory_in_a_bucket(data, bucket, tmp_path):
    there = to_place(f"{bucket}/{tmp_path.name}/kaldi")
    objects.upload(data, there)
    local, remote = read("kaldi", data), read("kaldi", there)
    assert [i.id for i in remote] == [i.id for i in local] and str(remote[2].audio) == f"{there}/wav/b.flac"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("A-1 recA 2 1", "wrong type"),
        ("A-1 recA", "wrong type"),
        ("A-1 recA x 1", "wrong type"),
        ("", "missing segment"),
    ],
)
def test_a_bad_segment_is_one_bad_item(data, line, reason):
    write(data / "segments", FILES["segments"].replace("A-1 recA 0.5 2.25", line).lstrip())
    bad, *others = read("kaldi", data)
    assert bad.reason == reason and bad.id == "A-1" and others[0].text == "good bye"


def test_a_directory_without_recordings_is_refused(data):
    (data / "wav.scp").unlink()
    with pytest.raises(DataError, match=r"train: has text and no wav.scp; give"):
        read("kaldi", data)
    with pytest.raises(DataError, match="nothing of the layout kaldi"):
        read("kaldi", data / "..", options={}) if (data / "text").unlink() is None else None


@hypothesis.given(st.sets(st.text("abcd-_é", min_size=1, max_size=5)), st.data(), st.sampled_from([1, 8, 64, 1 << 16]))
@hypothesis.settings(max_examples=60)
def test_the_lines_between_two_keys_are_those_of_the_whole_file(tmp_path_factory, keys, drawn, block):
    ordered = sorted(key.encode() for key in keys)
    path = write(tmp_path_factory.mktemp("s") / "f", b"".join(key + b" of  " + key + b"\n" for key in ordered))
    first, last = sorted(drawn.draw(st.tuples(st.text("abcd-_", max_size=3), st.text("abcd-_", max_size=3))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_lines, "BLOCK", block)
        patch.setattr(sorted_lines, "READ", block)
        found = list(sorted_lines.SortedLines(path).between(first.encode(), last.encode()))
    assert found == [(key, b"of  " + key) for key in ordered if first.encode() <= key <= last.encode()]


def test_a_data_json_of_espnet(tmp_path):
    utts = {
        "FADG0-SI1279": {
            "input": [{"name": "input1", "feat": "wav/a.wav", "filetype": "sound", "shape": [1, 1]}],
            "output": [{"name": "target1", "shape": [2, 40], "text": "HE SAID", "token": "H E", "tokenid": "1 2"}],
            "lang": "en",
            "utt2spk": "FADG0",
        },
        "FADG0-SI2000": {
            "input": [{"name": "input1", "feat": "raw.ark:13", "shape": [600, 83]}],
            "output": [{"name": "target1", "shape": [2, 40], "text": "MORE"}],
            "utt2spk": "FADG0",
        },
        "FADG0-SI3000": {"input": []},
    }
    path = write(tmp_path / "data.json", json.dumps({"utts": utts}, indent=4))
    one, features, broken = read("espnet", path, skip_bad=True)
    assert one == Item("FADG0-SI1279", tmp_path / "wav/a.wav", "he said", "FADG0", language="en")
    assert (features.id, features.reason, broken.reason) == ("FADG0-SI2000", "no audio file", "missing field")
    with pytest.raises(DataError, match=r"data.json: element 3 \(FADG0-SI3000\): has no field input.0"):
        read("espnet", path)
