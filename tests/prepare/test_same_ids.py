"""Ids that items of different parts of a large corpus share are counted when all parts are there, wherever these lie."""

import collections
import itertools
import json

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from prepare_helpers import texts

from lst_jax.data.sources import open_records
from lst_jax.prepare import run, same_ids
from lst_jax.prepare.corpora import corpus
from lst_jax.prepare.engines.local import Local
from lst_jax.prepare.part_files import Known, PartFiles, hash_of
from lst_jax.storage import objects
from lst_jax.storage.place import to_place


@hypothesis.settings(max_examples=25)
@hypothesis.given(st.lists(st.sets(st.integers(0, 30)), max_size=8), st.integers(1, 3), st.integers(1, 200))
def test_counts_are_those_of_a_set_of_all_ids(tmp_path_factory, ids, files, size):
    parts = PartFiles(tmp_path_factory.mktemp("ids"), "")
    order, seen, expected = [], set(), collections.Counter()
    for number, part in enumerate(ids):
        order.append(Known(f"{number}", "digest", "-"))
        objects.write_bytes(parts.folder / f"{number}.digest.ids", b"".join(hash_of(f"ü{one}") for one in part))
        expected[f"{number}"] = len(seen & part)
        seen |= part
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(same_ids, "READ_FILES", files)
        patch.setattr(same_ids, "READ_BYTES", size)
        found = same_ids.find(parts, order)
    assert found.counts == {name: count for name, count in expected.items() if count}
    assert found.first_part == next(iter(found.counts), "")


def test_hashes_that_share_eight_bytes_are_not_taken_for_equal():
    entries = np.array([(7, 1, 0), (7, 2, 1), (7, 1, 2), (9, 1, 2), (7, 1, 3)], same_ids.ENTRY)
    assert same_ids._later(entries).tolist() == [(7, 1, 2), (7, 1, 3)]


@pytest.fixture
def large(tmp_path, monkeypatch):
    """Three files of texts, each one part, which count as a large corpus. Two ids of the third are in earlier ones."""
    monkeypatch.setattr(corpus, "COMPARED_BYTES", 0)
    (tmp_path / "texts").mkdir()
    for number, ids in enumerate((["a", "b"], ["c", "d"], ["b", "e", "c"])):
        lines = [json.dumps({"id": one, "text": f"word {number} {one}"}) for one in ids]
        (tmp_path / "texts" / f"{number}.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "texts"


NOTE = {"with the id of an earlier one": 2}


@pytest.mark.parametrize("where", ["disk", "bucket"])
def test_equal_ids_of_different_parts_are_counted_named_and_kept(large, where, tmp_path, request, capsys):
    out = tmp_path / "out"
    if where == "bucket":
        out = to_place(request.getfixturevalue("bucket")) / tmp_path.name
    report = run.prepare_text(texts([large]), out, shard_records=3)
    said = capsys.readouterr().err
    assert said.startswith(
        f"{out}: 2 items have the id of an earlier one, the first is 'b' in part 00002-0000000; all are"
    )
    assert said.count("\n") == 1 and "2 with the id of an earlier one" in report.line()
    assert objects.read_json(out / "report.json", "")["notes"] == NOTE
    assert [text.id for text in open_records(str(out), "text")] == ["a", "b", "c", "d", "b", "e", "c"]
    before = objects.listing(out)
    run.prepare_text(texts([large]), out, shard_records=3)
    assert objects.listing(out) == before and not capsys.readouterr().err


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def test_a_death_in_the_merge_and_other_workers_change_no_byte(large, tmp_path, monkeypatch, capsys):
    run.prepare_text(texts([large]), tmp_path / "whole", Local(2), shard_records=3)
    write, left = objects.write_json, itertools.count(4, -1)  # three parts, and the first shard

    def dying(place, mapping):
        if next(left) == 0:
            raise Killed
        write(place, mapping)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(objects, "write_json", dying)
        run.prepare_text(texts([large]), tmp_path / "out", shard_records=3)
    run.prepare_text(texts([large]), tmp_path / "out", shard_records=3)
    ours, theirs = (
        {name: (tmp_path / where / name).read_bytes() for name in objects.sizes(tmp_path / where)}
        for where in ("out", "whole")
    )
    assert ours == theirs and json.loads(ours["report.json"])["notes"] == NOTE


def test_the_id_of_an_item_that_was_left_out_is_named_too(large, tmp_path, capsys):
    lines = (large / "2.jsonl").read_text().splitlines()
    (large / "2.jsonl").write_text("\n".join([json.dumps({"id": "b", "text": " "}), *lines[1:]]) + "\n")
    run.prepare_text(texts([large]), tmp_path / "out")
    assert "the first is 'b' in part 00002-0000000" in capsys.readouterr().err


def test_parts_of_an_earlier_version_are_passed_over(large, tmp_path, monkeypatch, capsys):
    write = objects.write_bytes

    def without_ids(place, content):
        if not place.name.endswith(".ids") or not place.name.startswith("00001"):
            write(place, content)

    monkeypatch.setattr(objects, "write_bytes", without_ids)
    run.prepare_text(texts([large]), tmp_path / "out")
    assert "1 items have the id" in capsys.readouterr().err
