"""WebDataset: samples of tars by their names, in parts that hold whole samples, plain and compressed."""

import json
import tarfile

import pytest
import zstandard
from corpus_files import in_bucket, items_of, parts_of, prompts, write_tar
from hypothesis import given, settings
from hypothesis import strategies as st

from lst_jax.core.errors import DataError
from lst_jax.prepare.corpora import tars, webdataset
from lst_jax.prepare.corpora.audio_place import Content, Stretch
from lst_jax.prepare.corpora.choose import layout_of
from lst_jax.prepare.corpora.registry import Settings


def reader(**settings):
    return webdataset.WebDatasetReader(Settings(**settings))


def members(count: int, folder: str = "a/") -> dict[str, bytes]:
    """Samples of prompts: with .txt and with .json in turn."""
    found = {}
    for number, one in enumerate(prompts(count)):
        key = f"{folder}{one['id']}"
        found[f"{key}.ogg"] = one["content"]
        if number % 2:
            said = {
                "text": one["text"],
                "speaker": one["speaker"],
                "language": "en",
                "duration": 99.0,
                "id": f"{key}-j",
            }
            found[f"{key}.json"] = json.dumps(said).encode()
        else:
            found[f"{key}.txt"] = f"{one['text']}\n".encode()
    return found


@pytest.fixture
def shards(tmp_path, monkeypatch):
    monkeypatch.setattr(tars, "LEAST_PART_BYTES", 1)
    write_tar(tmp_path / "set/shard-000000.tar", members(9))
    write_tar(tmp_path / "set/shard-000001.tar", members(4, "./b/"))
    return tmp_path / "set"


def said(items):
    return [(item.id, item.text, item.speaker, item.language, item.duration_sec) for item in items]


def test_samples_become_items_whose_sound_is_read_where_it_lies(shards):
    found = items_of(reader(), shards, 3)
    expected = [
        (
            f"{folder}/{one['id']}{'-j' * (n % 2)}",
            one["text"],
            one["speaker"] if n % 2 else None,
            "en" if n % 2 else None,
            None,
        )
        for folder, count in (("a", 9), ("./b", 4))
        for n, one in enumerate(prompts(count))
    ]
    assert said(found) == [
        (name.replace("./b", "b") if n % 2 == 0 else name, *rest) for n, (name, *rest) in _numbered(expected)
    ]
    for item, one in zip(found, prompts(9), strict=False):
        assert isinstance(item.audio, Stretch)
        content = item.audio.place.read_bytes()[item.audio.start : item.audio.start + item.audio.size]
        assert content == one["content"]
    assert len(found[0].recording.samples()) > 8000
    assert found[0].place == f"{shards}/shard-000000.tar: a/{prompts(1)[0]['id']}"


def _numbered(expected):
    """The number of each in its own shard."""
    return [(n if n < 9 else n - 9, one) for n, one in enumerate(expected)]


def test_a_bucket_gives_the_same_items_in_the_same_parts(shards, bucket):
    here, there = items_of(reader(), shards, 3), items_of(reader(), in_bucket(bucket, shards), 3)
    assert said(here) == said(there)
    assert all(isinstance(item.audio, Content) for item in there)
    assert [item.audio.content for item in there[:9]] == [one["content"] for one in prompts(9)]
    cuts = [[(p.start, p.count) for p in parts_of(reader(), place, 3)] for place in (shards, in_bucket(bucket, shards))]
    assert cuts[0] == cuts[1] and len(cuts[0]) == 3


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3000), st.booleans()), min_size=1, max_size=30),
    st.integers(1, 10),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_every_sample_is_whole_in_one_part(tmp_path_factory, samples, part_items, form):
    """Names longer than a header holds get a header before their own, where a part must not begin."""
    folder = tmp_path_factory.mktemp("tars")
    content, keys = {}, []
    for number, (files, size, is_long) in enumerate(samples):
        keys.append(f"f/{'n' * (120 * is_long) + '/' * is_long}k{number}")
        content |= {f"{keys[-1]}.{file}": bytes([file]) * size for file in range(files)}
    write_tar(folder / "t.tar", content, form=form)
    (file,) = reader().files(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tars, "LEAST_PART_BYTES", 1)
        patch.setattr(tars, "SEARCH_BYTES", 1024)
        parts = list(reader().parts(file, 0, part_items))
    found = []
    for part in parts:
        with tars.tar_at(part.place) as tar:
            found += [(k, [tar.content(m) for m in some]) for k, some in tars.groups(tar, part, webdataset.key_of)]
    assert [key for key, _ in found] == keys
    assert [sum(map(len, contents)) for _, contents in found] == [files * size for files, size, _ in samples]


@pytest.mark.parametrize("mode", ["w:gz", "zst", "tgz"])
def test_compressed_tars_are_read_through(tmp_path, mode):
    plain = write_tar(tmp_path / "x/plain.tar", members(5))
    if mode == "zst":
        (tmp_path / "set.tar.zst").write_bytes(zstandard.compress(plain.read_bytes()))
    else:
        write_tar(tmp_path / ("set.tar.gz" if mode == "w:gz" else "set.tgz"), members(5), "w:gz")
    (path,) = tmp_path.glob("set.*")
    found = items_of(reader(), path)
    assert said(found) == said(items_of(reader(), plain))
    assert [item.audio.content for item in found] == [one["content"] for one in prompts(5)]


def test_suffixes_of_several_parts_are_items_of_one_sample(tmp_path):
    one, two = prompts(2)
    content = {
        "d.1/k.seg0.ogg": one["content"],
        "d.1/k.seg0.txt": b"first",
        "d.1/k.Seg1.OGG": two["content"],
        "d.1/k.Seg1.json": b'{"text": "second", "id": "k"}',
        "d.1/l.mic.ogg": one["content"],
        "d.1/l.txt": "third".encode("utf-8-sig"),
        "d.1/._l.ogg": b"of macOS",
        "d.1/notes": b"no suffix",
    }
    found = items_of(reader(), write_tar(tmp_path / "t.tar", content))
    assert [(item.id, item.text) for item in found] == [
        ("d.1/k.seg0", "first"),
        ("d.1/k.Seg1", "second"),
        ("d.1/l.mic", "third"),
    ]


def test_missing_partners_and_bad_texts_are_counted(tmp_path):
    (one,) = prompts(1)
    sound = one["content"]
    content = {
        "a.ogg": sound,
        "b.txt": b"b",
        "c.ogg": sound,
        "c.txt": b"\xff",
        "d.ogg": sound,
        "d.json": b"{",
        "e.jpg": b"e",
    }
    content |= {"f.ogg": sound, "f.json": b"[]", "g.x.ogg": sound, "g.y.ogg": sound, "g.txt": b"whose?"}
    content |= {"h.json": b"{}", "h.ogg": sound, "i.ogg": sound, "i.txt": b"good"}
    path = write_tar(tmp_path / "t.tar", content)
    found = items_of(reader(skip_bad=True), path)
    assert [getattr(one, "reason", one.id) for one in found] == [
        "missing text",
        "missing audio",
        "not UTF-8",
        "not JSON",
        "not JSON",
        "missing text",
        "missing text",
        "missing text",
        "i",
    ]
    with pytest.raises(
        DataError, match="t.tar: a: has no .txt, and no .json with 'text'; add the words or leave it out"
    ):
        items_of(reader(), path)


def test_two_recordings_of_one_name_do_not_depend_on_their_order(tmp_path):
    one, two = prompts(2)
    audio = {"a.ogg": one["content"], "a.FLAC": two["content"]}
    for number, names in enumerate((list(audio), list(audio)[::-1])):
        path = write_tar(tmp_path / f"{number}.tar", {name: audio[name] for name in names} | {"a.txt": b"words"})
        (item,) = items_of(reader(), path)
        assert item.audio.name == "a.FLAC"


def test_a_tar_whose_samples_are_torn_apart_says_so(tmp_path):
    sound = prompts(1)[0]["content"]
    path = write_tar(tmp_path / "t.tar", {"a.ogg": sound, "b.ogg": sound, "a.txt": b"a", "b.txt": b"b"})
    found = items_of(reader(skip_bad=True), path, 100)
    assert len({item.id for item in found}) == 4  # each is counted; two equal ids would end the command
    assert {item.reason for item in found} == {"missing text", "missing audio"}
    assert all("the files of a sample must lie side by side" in item.message for item in found)


@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_tar_without_a_byte_is_not_passed_over(shards, skip_bad):
    (shards / "shard-000002.tar").write_bytes(b"")
    if skip_bad:
        found = items_of(reader(skip_bad=True), shards, 100)
        assert len(found) == 14 and found[-1].reason == webdataset.DAMAGED
        return
    with pytest.raises(DataError, match=r"shard-000002.tar: cannot be read as a tar \(empty file\)"):
        items_of(reader(), shards, 100)


def test_fields_of_json_select_and_name_the_text(tmp_path):
    (one,) = prompts(1)
    content = {}
    for key, split in (("a", "train"), ("b", "test")):
        content |= {
            f"{key}.ogg": one["content"],
            f"{key}.json": json.dumps({"asr": f"said {key}", "split": split}).encode(),
        }
    path = write_tar(tmp_path / "t.tar", content)
    assert [item.text for item in items_of(reader(where={"split": "test"}, text_field="asr"), path)] == ["said b"]


@pytest.mark.parametrize("name", ["t.tar", "t.tar.gz"])
@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_tar_that_is_cut_is_one_line_or_one_bad_item(tmp_path, name, skip_bad):
    path = write_tar(tmp_path / name, members(5), "w" if name == "t.tar" else "w:gz")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if skip_bad:
        found = items_of(reader(skip_bad=True), path, 100)
        assert found[-1].reason == webdataset.DAMAGED and {type(one).__name__ for one in found[:-1]} == {"Item"}
        return
    with pytest.raises(DataError) as caught:
        items_of(reader(), path, 100)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_damaged_header_does_not_end_the_tar_in_silence(tmp_path):
    path = write_tar(tmp_path / "t.tar", members(5))
    with tarfile.open(path) as tar:
        header = tar.getmembers()[4].offset
    content = bytearray(path.read_bytes())
    content[header : header + 8] = b"garbage!"
    path.write_bytes(content)
    with pytest.raises(DataError, match="t.tar: cannot be read as a tar"):
        items_of(reader(), path, 100)


def test_garbage_and_folders_without_tars_are_one_line(tmp_path):
    (tmp_path / "t.tar").write_bytes(b"no tar" * 1000)
    with pytest.raises(DataError, match=r"t.tar: cannot be read as a tar \(.*\); make the file again"):
        items_of(reader(), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"empty: has no \*.tar, plain or compressed; give a folder of WebDataset shards"
    ):
        items_of(reader(), tmp_path / "empty")


def test_exact_numbers_of_records_are_refused(shards):
    with pytest.raises(
        DataError, match="--shard-records is not for WebDataset, whose parts end where samples do; give"
    ):
        items_of(reader(exact=True), shards)


def test_a_folder_of_tars_is_known_without_a_name(shards, tmp_path):
    assert layout_of(shards, "speech").name == "webdataset"
    assert layout_of(write_tar(tmp_path / "one/x.tar.gz", members(1), "w:gz"), "speech").name == "webdataset"


def test_a_dry_run_takes_lengths_from_json_and_no_sound_from_a_bucket(shards, bucket):
    found = items_of(reader(sound=False), in_bucket(bucket, shards), 3)
    assert [item.duration_sec for item in found[:9]] == [99.0 if n % 2 else None for n in range(9)]
    assert {item.audio.content for item in found} == {b""}
