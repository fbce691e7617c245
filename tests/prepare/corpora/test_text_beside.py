"""VCTK and the corpora of the Montreal Forced Aligner, in their exact layouts."""

import pytest
from read_corpus import parts_of, read, write

from lst_jax.core.errors import DataError
from lst_jax.prepare.corpora import text_beside
from lst_jax.prepare.corpora.protocol import Item
from lst_jax.prepare.corpora.registry import Settings
from lst_jax.storage import objects
from lst_jax.storage.place import to_place


@pytest.fixture
def vctk(tmp_path):
    """Three utterances of version 0.92; p280 has no second microphone, and p315 no texts."""
    root = tmp_path / "VCTK-Corpus-0.92"
    for name, mics in {"p225_001": "12", "p225_002": "12", "p280_001": "1", "p315_001": "12"}.items():
        speaker = name.partition("_")[0]
        for mic in mics:
            write(root / "wav48_silence_trimmed" / speaker / f"{name}_mic{mic}.flac", "fLaC")
        if speaker != "p315":
            write(root / "txt" / speaker / f"{name}.txt", f"Please call {name}.\n")
    write(root / "wav48_silence_trimmed" / "log.txt", "x")
    write(root / "speaker-info.txt", "ID  AGE  GENDER  ACCENTS  REGION COMMENTS\n")
    return root


def test_the_utterances_of_vctk(vctk):
    items = read("vctk", vctk)
    audio = vctk / "wav48_silence_trimmed"
    assert items[:3] == [
        Item("p225_001", audio / "p225/p225_001_mic1.flac", "Please call p225_001.", "p225", language="en"),
        Item("p225_002", audio / "p225/p225_002_mic1.flac", "Please call p225_002.", "p225", language="en"),
        Item("p280_001", audio / "p280/p280_001_mic1.flac", "Please call p280_001.", "p280", language="en"),
    ]
    (bad,) = items[3:]
    assert (bad.id, bad.reason) == ("p315_001", "missing transcript")
    other = read("vctk", vctk, options={"mic": "mic2"})
    assert [str(i.audio)[-9:] for i in other[:2]] == ["mic2.flac"] * 2 and [i.id for i in other[2:]] == ["p315_001"]
    assert text_beside.is_vctk(vctk) and not text_beside.is_vctk(audio)
    with pytest.raises(DataError, match="--mic 3: must be mic1, mic2"):
        read("vctk", vctk, options={"mic": "3"})


def test_a_part_changes_with_its_texts_and_recordings(vctk, mfa):
    for reader, root, files in (
        (
            text_beside.Vctk(Settings()),
            vctk,
            ("txt/p225/p225_001.txt", "wav48_silence_trimmed/p225/p225_002_mic1.flac"),
        ),
        (text_beside.Mfa(Settings()), mfa, ("anna/one.lab", "anna/one.wav")),
    ):
        for file in files:
            before = parts_of(reader, root, part_items=3)
            write(root / file, "quite another content")
            changed = [one.digest != other.digest for one, other in zip(before, parts_of(reader, root, 3), strict=True)]
            assert changed == [True, False]


def test_the_first_version_of_vctk(tmp_path):
    write(tmp_path / "wav48" / "p225" / "p225_001.wav", "RIFF")
    write(tmp_path / "txt" / "p225" / "p225_001.txt", "\ufeffPlease call.")
    (item,) = read("vctk", tmp_path)
    assert (item.id, item.audio, item.text) == ("p225_001", tmp_path / "wav48/p225/p225_001.wav", "Please call.")


@pytest.fixture
def mfa(tmp_path):
    root = tmp_path / "corpus"
    write(root / "anna" / "one.wav", "RIFF")
    write(root / "anna" / "one.lab", "HELLO\nTHERE\n")
    write(root / "anna" / "one.txt", "not this")
    write(root / "ben" / "day1" / "one.flac", "fLaC")
    write(root / "ben" / "day1" / "one.txt", "Good  evening, Anna")
    write(root / "ben" / "two.wav", "RIFF")
    write(root / "ben" / "three.lab", "no sound")
    write(root / "zoe.wav", "RIFF")
    write(root / "zoe.lab", b"\xff\xfe")
    return root


def test_recordings_with_texts_beside_them(mfa):
    found = {item.id: item for item in read("mfa", mfa)}
    assert list(found) == ["zoe", "anna/one", "ben/three", "ben/two", "ben/day1/one"]
    assert found["anna/one"] == Item("anna/one", mfa / "anna/one.wav", "hello there", "anna")
    assert found["ben/day1/one"] == Item("ben/day1/one", mfa / "ben/day1/one.flac", "Good evening, Anna", "day1")
    reasons = {name: item.reason for name, item in found.items() if hasattr(item, "reason")}
    assert reasons == {"zoe": "not UTF-8", "ben/three": "missing audio", "ben/two": "missing transcript"}
    assert text_beside.is_mfa(mfa) and text_beside.is_mfa(mfa / "anna")


def test_suffixes_in_capitals_are_those_in_small_letters(mfa, vctk):
    for layout, root in (("mfa", mfa), ("vctk", vctk)):
        before = [(item.id, type(item)) for item in read(layout, root)]
        for path in [path for path in root.rglob("*.*") if path.suffix != ".txt"]:
            path.rename(path.with_suffix(path.suffix.upper()))
        after = read(layout, root)
        assert [(item.id, type(item)) for item in after] == before
        assert all(item.audio.suffix in (".FLAC", ".WAV") for item in after if isinstance(item, Item))


def test_a_tree_in_a_bucket_gives_the_same_items(mfa, vctk, bucket, tmp_path):
    for name, root in (("mfa", mfa), ("vctk", vctk)):
        there = to_place(f"{bucket}/{tmp_path.name}/{name}")
        objects.upload(root, there)
        local, remote = read(name, root), read(name, there)
        assert [(i.id, getattr(i, "text", None)) for i in remote] == [(i.id, getattr(i, "text", None)) for i in local]
        assert [str(i.audio).startswith(str(there)) for i in remote if isinstance(i, Item)] and local
