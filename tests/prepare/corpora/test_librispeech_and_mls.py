"""Trees of LibriSpeech and of MLS, in the exact layout of their archives."""

import pytest
from read_corpus import parts_of, read, write

from lst_jax.core.errors import DataError
from lst_jax.prepare.corpora import librispeech, mls
from lst_jax.prepare.corpora.protocol import Item
from lst_jax.prepare.corpora.registry import Settings
from lst_jax.storage.place import to_place


@pytest.fixture
def libri(tmp_path):
    """Two chapters as train-clean-100 has them; one recording of the second was converted to WAV."""
    root = tmp_path / "LibriSpeech" / "train-clean-100"
    for chapter, lines in {
        "103/1240": ["103-1240-0000 CHAPTER ONE MISSUS RACHEL LYNDE IS SURPRISED", "103-1240-0001 THAT HAD ITS SOURCE"],
        "84/121123": ["84-121123-0000\tGO DO YOU HEAR", "84-121123-0001 BUT  IN LESS THAN FIVE MINUTES"],
    }.items():
        name = chapter.replace("/", "-")
        write(root / chapter / f"{name}.trans.txt", "\n".join(lines) + "\n")
        for line in lines:
            write(root / chapter / f"{line.split()[0]}.flac", "fLaC")
    (root / "84/121123/84-121123-0001.flac").rename(root / "84/121123/84-121123-0001.wav")
    write(root.parent / "README.TXT", "about")
    write(root.parent / "SPEAKERS.TXT", "84 | F | train-clean-100 | 25 | someone")
    return root.parent


def test_the_items_of_a_librispeech_tree(libri):
    items = read("librispeech", libri, part_items=1)
    root = libri / "train-clean-100"
    assert items == [
        Item(
            "103-1240-0000", root / "103/1240/103-1240-0000.flac", "chapter one missus rachel lynde is surprised", "103"
        ),
        Item("103-1240-0001", root / "103/1240/103-1240-0001.flac", "that had its source", "103"),
        Item("84-121123-0000", root / "84/121123/84-121123-0000.flac", "go do you hear", "84"),
        Item("84-121123-0001", root / "84/121123/84-121123-0001.wav", "but in less than five minutes", "84"),
    ]
    assert items[3].place == f"{root / '84/121123/84-121123.trans.txt'}: line 2"
    assert read("librispeech", libri, part_items=1000) == items
    assert librispeech.is_at(libri) and librispeech.is_at(root) and not mls.is_at(libri)


def test_recordings_whose_suffix_is_in_capitals_are_found(libri):
    before = read("librispeech", libri)
    path = before[0].audio
    path.rename(path.with_suffix(".FLAC"))
    before[3].audio.rename(before[3].audio.with_suffix(".Wav"))
    after = read("librispeech", libri)
    assert [(item.id, item.audio.name) for item in after] == [
        ("103-1240-0000", "103-1240-0000.FLAC"),
        ("103-1240-0001", "103-1240-0001.flac"),
        ("84-121123-0000", "84-121123-0000.flac"),
        ("84-121123-0001", "84-121123-0001.Wav"),
    ]


def test_parts_of_a_tree_are_bounded_and_change_with_what_they_are_read_from(libri):
    reader = librispeech.LibriSpeech(Settings())
    one, two = parts_of(reader, libri, part_items=2)
    assert one.entries == ("train-clean-100/103/1240/103-1240.trans.txt",) and one.name < two.name
    (file,) = reader.files(libri)
    write(libri / "train-clean-100/84/121123/84-121123-0000.flac", "fLaC, longer")
    assert [p.digest == q.digest for p, q in zip(parts_of(reader, libri), (one, two), strict=True)] == [True, False]
    assert reader.files(libri)[0].version != file.version


def test_a_tree_in_a_bucket_gives_the_items_of_a_local_one(libri, bucket, tmp_path):
    from lst_jax.storage import objects

    there = to_place(f"{bucket}/{tmp_path.name}/libri")
    objects.upload(libri, there)
    local, remote = read("librispeech", libri), read("librispeech", there)
    assert [str(item.audio) for item in remote] == [
        str(item.audio).replace(str(libri), str(there)) for item in local
    ] and [item.text for item in remote] == [item.text for item in local]
    assert librispeech.is_at(there)


def test_a_folder_without_transcripts_and_a_filter_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"has nothing of the layout librispeech; give a folder"):
        read("librispeech", tmp_path)
    with pytest.raises(DataError, match="has no fields to select by"):
        read("librispeech", tmp_path, where={"split": "train"})


@pytest.fixture
def polish(tmp_path):
    """The dev split of mls_polish_opus; the third utterance has another segment in its line."""
    root = tmp_path / "mls_polish_opus"
    names = ["6892_10049_000000", "6892_10049_000001", "8758_8338_000002"]
    texts = ["to jest pierwsze zdanie", "a to drugie", "koniec"]
    write(root / "dev" / "transcripts.txt", "".join(f"{n}\t{t}\n" for n, t in zip(names, texts, strict=True)))
    url = "http://www.archive.org/download/x/y_64kb.mp3"
    write(
        root / "dev" / "segments.txt",
        f"{names[0]}\t{url}\t401.76\t417.57\n{names[1]}\t{url}\t417.57\t430.0\n1_2_000009\t{url}\t0\t9\n",
    )
    write(root / "dev" / "limited_supervision" / "handles.txt", "6892_10049_000000\n")
    for name in names:
        speaker, book, _ = name.split("_")
        write(root / "dev" / "audio" / speaker / book / f"{name}.opus", "OggS")
    write(root / "metainfo.txt", "SPEAKER | GENDER | PARTITION | MINUTES | BOOK ID | TITLE | CHAPTER\n")
    return root


def test_the_items_of_mls(polish):
    audio = polish / "dev" / "audio"
    items = read("mls", polish)
    assert [(i.id, i.audio, i.text, i.speaker, i.language) for i in items] == [
        ("6892_10049_000000", audio / "6892/10049/6892_10049_000000.opus", "to jest pierwsze zdanie", "6892", "pl"),
        ("6892_10049_000001", audio / "6892/10049/6892_10049_000001.opus", "a to drugie", "6892", "pl"),
        ("8758_8338_000002", audio / "8758/8338/8758_8338_000002.opus", "koniec", "8758", "pl"),
    ]
    assert [i.duration_sec and round(i.duration_sec, 6) for i in items] == [15.81, 12.43, None]
    assert all(i.offset_sec == 0 for i in items) and mls.is_at(polish) and mls.is_at(polish / "dev")
    for part_items in (1, 1000):
        assert read("mls", polish / "dev" / "transcripts.txt", part_items) == items
    (polish / "dev" / "segments.txt").unlink()
    assert [i.duration_sec for i in read("mls", polish)] == [None] * 3


def test_a_line_of_mls_that_is_no_text_is_counted_or_stops(polish):
    path = polish / "dev" / "transcripts.txt"
    write(path, path.read_bytes() + b"8758_8338_000003\t\xff\n")
    with pytest.raises(DataError, match=r"transcripts.txt: line 4: is not UTF-8 text"):
        read("mls", polish)
    assert read("mls", polish, skip_bad=True)[3].reason == "not UTF-8"
