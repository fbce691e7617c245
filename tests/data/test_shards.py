import dataclasses
import json
import pickle
import resource

import numpy as np
import pytest
from synthetic_data import write_directory

from lst_jax.core import files
from lst_jax.core.errors import DataError, StorageError
from lst_jax.data import shards
from lst_jax.data.records import TextDocument, Utterance, Word


def utterance(number):
    units = np.random.default_rng(number).integers(0, 500, 50_000).astype(np.uint16)  # about 56 KiB when compressed
    return Utterance(f"u{number}", units, (Word(f"w{number}", 1, 4),), None, "made")


@pytest.fixture
def directory(tmp_path):
    write_directory(tmp_path / "d", [[utterance(0), utterance(1)], [], [utterance(2)]])
    return tmp_path / "d"


def test_records_come_back_in_order_over_all_shards(directory):
    opened = shards.RecordDirectory(directory, "utterance")
    assert [opened[i] for i in (2, 0, 1)] == [utterance(2), utterance(0), utterance(1)]
    assert list(opened) == [utterance(i) for i in range(3)]
    assert len(opened) == 3
    assert pickle.loads(pickle.dumps(opened))[1] == utterance(1)
    opened.verify()
    with pytest.raises(IndexError):
        opened[3]


def test_metadata_survives_its_file(directory):
    metadata = shards.read_metadata(directory)
    shards.write_metadata(directory, metadata)
    assert shards.read_metadata(directory) == metadata
    assert metadata.shards[0].records == 2


def test_text_directories_are_read_too(tmp_path):
    write_directory(tmp_path, [[TextDocument("t", "héllo")]], kind="text")
    opened = shards.RecordDirectory(tmp_path, "text")
    assert opened[0].text == "héllo"
    opened.verify()


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 255
    path.write_bytes(data)


def test_a_damaged_record_is_named_when_it_is_read(directory):
    file = directory / "part-0.array_record"
    flip(file, 90_000)
    opened = shards.RecordDirectory(directory, "utterance")
    assert opened[0] == utterance(0)
    with pytest.raises(DataError, match=r"part-0.array_record: record 1: cannot be read"):
        opened[1]
    with pytest.raises(DataError, match=r"part-0.array_record: record 1: "):
        opened.verify()


def test_a_damaged_byte_outside_records_is_found_by_verify(directory):
    file = directory / "part-2.array_record"
    flip(file, len(file.read_bytes()) - 1)
    with pytest.raises(DataError, match="part-2.array_record"):
        shards.RecordDirectory(directory, "utterance").verify()


def test_a_record_that_is_no_utterance_is_named(tmp_path):
    path = tmp_path / "d"
    write_directory(path, [[utterance(0), TextDocument("t", "text")]])
    with pytest.raises(DataError, match="part-0.array_record: record 1: must have the fields"):
        shards.RecordDirectory(path, "utterance")[1]


def test_verify_checks_units_against_the_codebook(tmp_path):
    write_directory(tmp_path / "d", [[utterance(0)]], codebook_size=400)
    with pytest.raises(DataError, match="record 0: u0: unit 499 is outside the codebook of 400"):
        shards.RecordDirectory(tmp_path / "d", "utterance").verify()


def truncate(directory):
    file = directory / "part-2.array_record"
    file.write_bytes(file.read_bytes()[:-10])


def edit(**changes):
    def apply(directory):
        path = directory / "metadata.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return apply


@pytest.mark.parametrize(
    "damage, rule",
    [
        (truncate, "part-2.array_record: has .* bytes, metadata.json says"),
        (lambda d: (d / "part-2.array_record").unlink(), "part-2.array_record: missing"),
        (lambda d: (d / "metadata.json").unlink(), "metadata.json: missing"),
        (lambda d: (d / "metadata.json").write_text("{"), "metadata.json: is not JSON"),
        (edit(kind="text"), "holds records of kind 'text', the run wants 'utterance'"),
        (edit(kind="video"), "kind 'video' must be one of"),
        (edit(format_version=2), "has format_version 2, this program reads 1"),
        (edit(records=7), "records=7 is not the sum"),
        (edit(frames="many"), "frames='many' has the wrong type"),
        (edit(more=1), r"unknown: \['more'\]"),
        (edit(shards=[{"name": "x"}]), "ShardInfo fields are missing"),
    ],
)
def test_a_directory_that_breaks_the_format_is_refused_at_open(directory, damage, rule):
    damage(directory)
    with pytest.raises(DataError, match=rule) as caught:
        shards.RecordDirectory(directory, "utterance")
    assert "\n" not in str(caught.value) and "; " in str(caught.value)


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such directory"):
        shards.RecordDirectory(tmp_path / "nowhere", "utterance")


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(StorageError, match="s.array_record: cannot write .no space left"):
            shards.write_shard(tmp_path / "s.array_record", [bytes(100_000)] * 3 + [np.random.bytes(200_000)])
        with pytest.raises(StorageError, match="m.json: cannot write .no space left"):
            files.write_json(tmp_path / "m.json", {"a": "x" * 100_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_shard_under_a_file_is_a_storage_error(tmp_path):
    (tmp_path / "no").write_text("a file")
    with pytest.raises(StorageError, match="s.array_record: cannot write"):
        shards.write_shard(tmp_path / "no" / "s.array_record", [b"x"])


def test_the_same_records_give_the_same_shard(tmp_path):
    first = shards.write_shard(tmp_path / "a", [b"one", b"two"])
    second = shards.write_shard(tmp_path / "b", [b"one", b"two"])
    assert dataclasses.replace(first, name="b") == second
    assert first.bytes == (tmp_path / "a").stat().st_size
