"""Files of lines are cut into parts that together are the file, wherever it lies and however it is packed."""

import gzip
import json

import hypothesis
import hypothesis.strategies as st
import pytest

from lst_jax.core.errors import DataError
from lst_jax.data import line_files
from lst_jax.prepare.corpora import choose, line_parts
from lst_jax.prepare.corpora.protocol import Item, TextItem
from lst_jax.prepare.corpora.registry import Settings
from lst_jax.storage import objects
from lst_jax.storage.place import to_place


def write(path, count, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(json.dumps({"id": f"{path.stem}{i}", "text": f"text {i}", **more}) + "\n" for i in range(count))
    )
    return path


def numbered(corpus, part_items):
    return [
        (number, line) for part in corpus.parts(part_items) for number, _, line in line_parts.lines(part, skip_bad=True)
    ]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@hypothesis.given(
    lines=st.lists(
        st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=9), max_size=30
    ),
    part_lines=st.integers(1, 8),
    block=st.integers(1, 40),
    ended=st.booleans(),
)
@hypothesis.settings(
    max_examples=60, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_parts_are_the_lines_of_the_file(tmp_path, monkeypatch, suffix, lines, part_lines, block, ended):
    monkeypatch.setattr(line_parts, "BLOCK", block)
    content = ("\n".join(lines) + "\n" * ended).encode()
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(packed(content, suffix))
    corpus = choose.open_corpus([path], "text").in_exact_parts()
    parts = list(corpus.parts(part_lines))
    expected = [(number, line) for number, _, line in line_files.lines(path)]
    assert numbered(corpus, part_lines) == expected
    assert [part.count for part in parts[:-1]] == [part_lines] * (len(parts) - 1)
    assert sum(part.count for part in parts) == len(expected)
    assert sum(part.size for part in parts) == (path.stat().st_size if parts else 0)
    backwards = [list(line_parts.lines(part, skip_bad=True)) for part in reversed(parts)]
    assert [(number, line) for found in reversed(backwards) for number, _, line in found] == expected


def packed(content, suffix):
    if suffix == ".gz":
        return gzip.compress(content)
    if suffix == ".zst":
        import zstandard

        half = len(content) // 2  # two frames, as programs write that compress in parallel
        return zstandard.compress(content[:half]) + zstandard.compress(content[half:])
    return content


def test_a_change_in_one_line_changes_one_part(tmp_path):
    path = write(tmp_path / "m.jsonl", 10, audio="a.wav")
    corpus = choose.open_corpus([path], "speech")
    before = [part.digest for part in corpus.parts(3)]
    path.write_text(path.read_text().replace("text 4", "tent 4"))
    after = [part.digest for part in choose.open_corpus([path], "speech").parts(3)]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True, True]


def test_large_files_of_texts_are_cut_by_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(line_parts, "WHOLE_BYTES", 100)
    path = write(tmp_path / "t.jsonl", 20)
    corpus = choose.open_corpus([path], "text")
    parts = list(corpus.parts(1000))
    assert len(parts) == 5 and all(part.size >= 100 for part in parts[:-1])
    assert [item.id for item in corpus.items()] == [f"t{i}" for i in range(20)]
    assert [part.first for part in parts] == [1 + sum(p.count for p in parts[:i]) for i in range(len(parts))]


def test_a_folder_a_pattern_and_a_list_are_read_in_the_order_of_names(tmp_path, bucket):
    for name in ("b/2.jsonl", "b/1.jsonl", "a/1.jsonl", "a/_SUCCESS", "a/notes.md"):
        write(tmp_path / "local" / name, 2)
        objects.upload(tmp_path / "local" / name, to_place(f"{bucket}/{tmp_path.name}") / name)
    for root in (str(tmp_path / "local"), f"{bucket}/{tmp_path.name}"):
        for paths, names in [
            ([root], ["a/1.jsonl", "b/1.jsonl", "2.jsonl"]),
            ([f"{root}/b/*.jsonl"], ["1.jsonl", "2.jsonl"]),
            ([f"{root}/b/2.jsonl", f"{root}/a"], ["2.jsonl", "1.jsonl"]),
        ]:
            corpus = choose.open_corpus(paths, "text")
            assert [file.name for file in corpus.files] == names, paths
            assert len(list(corpus.items())) == 2 * len(names)
        with pytest.raises(DataError, match="no file matches the pattern; correct it"):
            choose.open_corpus([f"{root}/c*.jsonl"], "text")
        with pytest.raises(DataError, match="gone.jsonl: no such file"):
            choose.open_corpus([f"{root}/gone.jsonl"], "text")


def test_audio_of_a_manifest_in_a_bucket_lies_beside_it_or_at_an_address(tmp_path, bucket):
    place = to_place(f"{bucket}/{tmp_path.name}") / "lists" / "m.jsonl"
    for audio, where in [
        ("a.wav", f"{bucket}/{tmp_path.name}/lists/a.wav"),
        ("../wav/a.wav", f"{bucket}/{tmp_path.name}/wav/a.wav"),
        ("s3://other/a.wav", "s3://other/a.wav"),
        ("/data/a.wav", "/data/a.wav"),
    ]:
        objects.write_text(place, json.dumps({"id": "a", "audio": audio, "text": "one"}) + "\n")
        assert list(choose.open_corpus([str(place)], "speech").items()) == [Item("a", to_place(where), "one", None)]
    objects.write_text(place, json.dumps({"audio": "gs://", "text": "one"}) + "\n")
    with pytest.raises(DataError, match="line 1: audio='gs://': names nothing in a bucket"):
        list(choose.open_corpus([str(place)], "speech").items())


def test_layouts_are_named_or_seen_and_options_reach_their_reader(tmp_path):
    path = write(tmp_path / "list.manifest", 1, content="other")
    assert [item.text for item in choose.open_corpus([path], "text").items()] == ["text 0"]
    settings = Settings(text_field="content")
    assert list(choose.open_corpus([path], "text", settings).items()) == [TextItem("list0", "other")]
    plain = list(choose.open_corpus([path], "text", layout="txt").items())
    assert plain[0].text.startswith('{"id"') and plain[0].id == "list.manifest:1"
    with pytest.raises(DataError, match="--layout none: must be .*jsonl.*txt; correct it"):
        choose.open_corpus([path], "text", layout="none")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "a.xyz").touch()
    with pytest.raises(DataError, match="odd: has no .*; name its --layout: .*jsonl"):
        choose.open_corpus([tmp_path / "odd"], "text")


def test_a_zst_that_is_cut_anywhere_loses_nothing_in_silence(tmp_path):
    """zstandard's own reader gives the lines before the cut, and then the end of the file."""
    lines = [json.dumps({"id": i, "text": f"document {i} {i * i}"}) for i in range(400)]
    content = packed(("\n".join(lines) + "\n").encode(), ".zst")
    first = len(packed("\n".join(lines).encode()[:0], ".zst")) // 2  # an empty frame
    path = tmp_path / "a.jsonl.zst"
    ends_of_frames = 0
    for size in (*range(first, len(content), 97), len(content) - 1):
        path.write_bytes(content[:size])
        try:
            found = list(line_files.lines(path))
        except DataError as error:
            assert str(error).startswith(f"{path}: ") and "ended before" in str(error), error
            with pytest.raises(DataError, match="ended before the end of its last frame"):
                list(choose.open_corpus([path], "text").items())
        else:
            ends_of_frames += 1
            assert len(found) in (200, 201)  # the first of the two frames, whole
    assert ends_of_frames <= 1
    path.write_bytes(content)
    assert [line.strip() for *_, line in line_files.lines(path)] == lines


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("exact", [False, True])
def test_a_compressed_file_without_a_byte_is_refused(tmp_path, name, exact):
    write(tmp_path / "b.jsonl", 2)
    (tmp_path / name).write_bytes(b"")
    corpus = choose.open_corpus([tmp_path], "text", Settings(exact=exact))
    with pytest.raises(DataError, match=f"{name}: has 0 bytes, which no compressed file has; copy it again"):
        list(corpus.items())
    (tmp_path / name).unlink()
    (tmp_path / "a.jsonl").write_bytes(b"")  # an empty part, as Spark writes them
    assert len(list(choose.open_corpus([tmp_path], "text").items())) == 2


def test_capitals_in_a_suffix_do_not_hide_a_file(tmp_path):
    write(tmp_path / "a.jsonl", 1)
    write(tmp_path / "B.JSONL", 2)
    (tmp_path / "C.Json.GZ").write_bytes(gzip.compress(b'{"text": "packed"}\n'))
    (tmp_path / "D.TXT").write_text("plain\n")
    corpus = choose.open_corpus([tmp_path], "text", layout="jsonl")
    assert [item.id for item in corpus.items()] == ["B0", "B1", "C.Json.GZ:1", "a0"]
    (only,) = choose.open_corpus([tmp_path / "C.Json.GZ"], "text").items()
    assert only.text == "packed"
    assert [item.text for item in choose.open_corpus([tmp_path / "D.TXT"], "text").items()] == ["plain"]
