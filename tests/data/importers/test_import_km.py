"""`.km` labels beside their lists, whole and in shards, and several files at a time."""

import gzip

import pytest

from lst_jax.cli import main
from lst_jax.core.errors import DataError
from lst_jax.data import shards
from lst_jax.data.importers import base, km
from lst_jax.data.importers.formats import Units

NAMES = [f"a/u{n}.flac" for n in range(10)]


def write_list(path):
    path.write_text("/data/audio\n" + "".join(f"{name}\t{320 * n}\n" for n, name in enumerate(NAMES)))


def units_of(**options):
    return Units(50.0, 500, None, options)


def run(*words):
    return main.main([str(word) for word in words])


def test_lines_take_their_names_from_the_list_beside_them(tmp_path):
    write_list(tmp_path / "train.tsv")
    (tmp_path / "train.km").write_text("".join(f"{n} {n} 7\n" for n in range(10)))
    found = list(km.read(tmp_path / "train.km", units_of(), base.stop))
    assert [(u.id, u.units.tolist()) for u in found][:2] == [("a/u0", [0, 0, 7]), ("a/u1", [1, 1, 7])] and len(
        found
    ) == 10


def test_shards_and_whole_files_give_the_same(tmp_path):
    write_list(tmp_path / "train.tsv")
    lines = [f"{n}\n" for n in range(10)]
    for rank in range(4):
        text = "".join(lines[km.part_of_shard(10, rank, 4)])
        (tmp_path / f"train_{rank}_4.km.gz").write_bytes(gzip.compress(text.encode()))
    options = ["--unit-rate", 50, "--codebook-size", 500]
    assert run("import", "km", tmp_path, "--out", tmp_path / "out", *options) == 0
    found = shards.RecordDirectory(tmp_path / "out", "utterance")
    assert [(u.id, u.units.tolist()) for u in found] == [(f"a/u{n}", [n]) for n in range(10)]


def test_a_list_of_another_length_or_none_is_named(tmp_path):
    (tmp_path / "x.km").write_text("1 2\n3\n")
    with pytest.raises(DataError, match=r"has no x.tsv beside it .*--tsv"):
        list(km.read(tmp_path / "x.km", units_of(), base.stop))
    write_list(tmp_path / "other.tsv")
    with pytest.raises(DataError, match="has 2 lines for the 10 recordings"):
        list(km.read(tmp_path / "x.km", units_of(tsv=str(tmp_path / "other.tsv")), base.stop))


def test_folders_globs_and_files_are_read_in_order_and_an_id_counts_once(tmp_path, capsys):
    (tmp_path / "in" / "b").mkdir(parents=True)
    (tmp_path / "in" / "1.txt").write_text("u1|1 2\nu2|3\n")
    (tmp_path / "in" / "b" / "2.txt").write_text("u3|4\nu1|5\n")
    (tmp_path / "in" / "notes.md").write_text("not units")
    options = ["--unit-rate", 50, "--codebook-size", 10]
    assert run("import", "gslm", tmp_path / "in", "--out", tmp_path / "no", *options) == 3
    assert "u1' is there twice" in capsys.readouterr().err
    for name, source in (("folder", [tmp_path / "in"]), ("glob", [tmp_path / "in/1.txt", f"{tmp_path}/in/b/*.txt"])):
        assert run("import", "gslm", *source, "--out", tmp_path / name, "--skip-bad", *options) == 0
        assert [u.id for u in shards.RecordDirectory(tmp_path / name, "utterance")] == ["u1", "u2", "u3"]
    assert run("import", "gslm", f"{tmp_path}/*.none", "--out", tmp_path / "no", *options) == 3
    assert "fits no file" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run("import", "gslm", tmp_path / "empty", "--out", tmp_path / "no", *options) == 3
    assert "has no *.txt or *.units files" in capsys.readouterr().err
