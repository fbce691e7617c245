"""Parts become large shards: nothing is lost at any moment, and no byte depends on who made them or on kills."""

import dataclasses
import itertools
import json
import os
import signal

import hypothesis
import hypothesis.strategies as st
import pytest
from prepare_helpers import EvenAligner, texts
from test_prepare_resume import contents, start, wait_until

from lst_jax.core.errors import DataError
from lst_jax.data import shards
from lst_jax.prepare import merging, run
from lst_jax.prepare.accounts import PartState
from lst_jax.prepare.corpora import choose
from lst_jax.prepare.engines.local import Local
from lst_jax.prepare.merging import PADDING, Size, plan
from lst_jax.storage import objects

SLOW_MERGE = """
import time
from lst_jax.prepare import merging
merge = merging.merge
def slow(*words):
    time.sleep(0.15)
    return merge(*words)
merging.merge = slow
"""


@hypothesis.given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3 * PADDING)), min_size=1, max_size=40))
def test_groups_are_all_parts_in_order_and_as_large_as_asked(numbers):
    parts = [PartState(str(i), "", "", items, 0, size, "") for i, (items, size) in enumerate(numbers)]
    for size in (Size(records=5), Size(records=1), Size(0.2), Size(1e-9)):
        groups = plan(parts, size)
        assert [part for group in groups for part in group.parts] == parts
        assert [group.number for group in groups] == list(range(len(groups)))
        for group, after in itertools.zip_longest(groups, groups[1:]):
            items = sum(part.items for part in group.parts)
            if size.records is not None:
                assert len(group.parts) == 1 or items <= size.records
                assert after is None or items + after.parts[0].items > size.records  # as many as fit
            elif len(groups) > 1:
                assert sum(part.bytes for part in group.parts) >= size.megabytes * 1e6


@pytest.fixture
def many(tmp_path):
    """A folder with seven files of texts."""
    for number in range(7):
        lines = [json.dumps({"id": f"{number}-{i}", "text": f"word {i} " * (i % 5)}) for i in range(2 + number % 3)]
        (tmp_path / "texts").mkdir(exist_ok=True)
        (tmp_path / "texts" / f"{number}.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path / "texts"


def prepare(many, out, monkeypatch, engine=run.LOCAL, **options):
    monkeypatch.setattr(merging, "PADDING", 0)  # so that these small parts have a size: 128 KiB each
    return run.prepare_text(texts([many]), out, engine, shard_mb=0.3, **options)


def test_shards_hold_the_records_of_their_parts(many, tmp_path, monkeypatch):
    report = prepare(many, tmp_path / "out", monkeypatch)
    directory = shards.RecordDirectory(tmp_path / "out", "text")
    directory.verify()
    expected = [item for item in texts([many]).items() if item.text.strip()]
    assert [(d.id, d.text) for d in directory] == [(item.id, item.text) for item in expected]
    assert [shard.records for shard in directory.metadata.shards] == [6, 7] and report.items == 20
    sidecars = [json.loads(path.read_text()) for path in sorted((tmp_path / "out").glob("shard-*.json"))]
    assert [len(sidecar["parts"]) for sidecar in sidecars] == [3, 4]
    assert sum(len(sidecar["rejected"]) for sidecar in sidecars) == report.rejected == 7
    prepare(many, tmp_path / "two", monkeypatch, Local(2))
    assert contents(tmp_path / "two") == contents(tmp_path / "out")


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def dying_after(count, monkeypatch):
    """From now on the `count`-th step that changes a disk does not happen, and all ends."""
    left = itertools.count(count, -1)

    def step(function):
        def died_or_done(*words, **options):
            if next(left) == 0:
                raise Killed
            return function(*words, **options)

        return died_or_done

    for module, name in [(os, "replace"), (objects, "delete"), (objects, "delete_folder"), (objects, "write_json")]:
        monkeypatch.setattr(module, name, step(getattr(module, name)))


def test_a_death_before_any_step_changes_no_byte(many, tmp_path, monkeypatch):
    prepare(many, tmp_path / "whole", monkeypatch)
    expected, deaths = contents(tmp_path / "whole"), 0
    for count in itertools.count():
        out = tmp_path / f"out{count}"
        try:
            with pytest.MonkeyPatch.context() as patch:
                dying_after(count, patch)
                prepare(many, out, monkeypatch)
        except Killed:
            deaths += 1
        else:
            break
        if (out / "metadata.json").exists():
            shards.RecordDirectory(out, "text").verify()
        prepare(many, out, monkeypatch)
        assert contents(out) == expected, count
    assert deaths > 25


@pytest.mark.slow  # test_a_death_before_any_step dies everywhere; test_prepare_resume.py kills a process
def test_kill_nine_between_shards(tones, unit_file, tmp_path):
    path, out = tones(9), tmp_path / "out"
    items = list(choose.open_corpus([path], "speech").items())
    run.prepare_speech(items, tmp_path / "whole", unit_file, EvenAligner(), shard_records=2)
    for shards_done in (1, 3):
        process = start(path, out, unit_file, before=SLOW_MERGE)
        wait_until(lambda: len(list(out.glob("shard-*.array_record"))) >= shards_done)  # noqa: B023
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        assert not (out / "metadata.json").exists()
    made = [path.stat().st_mtime_ns for path in sorted(out.glob("shard-*.array_record"))]
    run.prepare_speech(items, out, unit_file, EvenAligner(), shard_records=2)
    assert contents(out) == contents(tmp_path / "whole")
    assert [path.stat().st_mtime_ns for path in sorted(out.glob("shard-*.array_record"))][: len(made)] == made


def test_a_closed_directory_is_left_as_it_is(many, tmp_path, monkeypatch):
    prepare(many, tmp_path / "out", monkeypatch)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    prepare(many, tmp_path / "out", monkeypatch)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_a_changed_line_of_one_file_is_found_and_nothing_is_changed(many, tmp_path, monkeypatch):
    prepare(many, tmp_path / "out", monkeypatch)
    before = contents(tmp_path / "out")
    line = (many / "3.jsonl").read_text()
    for text in (line.replace("word", "ward"), line + '{"text": "one more"}\n'):
        (many / "3.jsonl").write_text(text)
        with pytest.raises(DataError, match=r"documents='\w+' in part 00003-0000000 of .*3.jsonl, now it is '\w+'"):
            prepare(many, tmp_path / "out", monkeypatch)
    (many / "3.jsonl").write_text(line)
    with pytest.raises(DataError, match="was prepared with documents=.*--overwrite"):
        run.prepare_text(texts([many / "3.jsonl"]), tmp_path / "out", shard_mb=0.3)
    assert contents(tmp_path / "out") == before


def test_a_damaged_shard_is_made_again_from_its_own_parts(many, tmp_path, monkeypatch):
    prepare(many, tmp_path / "out", monkeypatch)
    expected, made = contents(tmp_path / "out"), []
    os.truncate(tmp_path / "out" / "shard-00000-of-00002.array_record", 1000)

    class Watched(Local):
        def make_parts(self, work, parts, tick):
            super().make_parts(work, (made.append(part.name) or part for part in parts), tick)

    prepare(many, tmp_path / "out", monkeypatch, Watched())
    assert contents(tmp_path / "out") == expected
    assert made == ["00000-0000000", "00001-0000000", "00002-0000000"]


def test_ids_are_compared_within_parts_where_the_corpus_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("lst_jax.prepare.corpora.corpus.COMPARED_BYTES", 10)
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps({"id": name, "text": "a"}) + "\n" for name in "abca"))
    assert run.prepare_text(texts([path]), tmp_path / "parts", shard_records=3).prepared == 4
    with pytest.raises(DataError, match="m.jsonl: a: two documents have this id; give each its own"):
        run.prepare_text(texts([path]), tmp_path / "whole")
    path.write_text('{"id": "a", "text": "a", "split": "x"}\n')
    found = choose.open_corpus([path], "text", dataclasses.replace(choose.NO_SETTINGS, where={"split": "y"}))
    with pytest.raises(DataError, match="m.jsonl: no documents with {'split': 'y'}; add some"):
        run.prepare_text(found, tmp_path / "none")
