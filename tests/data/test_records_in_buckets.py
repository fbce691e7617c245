"""Records at gs:// are read in place: the same batches and states as from a disk, and errors that name the object."""

import json
import os
import pathlib
import pickle

import numpy as np
import pytest
from synthetic_data import config_over, texts, write_both, write_directory

from lst_jax.cli.main import main
from lst_jax.config import SourceConfig
from lst_jax.core.errors import DataError, PassingStorageError
from lst_jax.data import open_shards, remote
from lst_jax.data.pipeline import BatchStream
from lst_jax.data.shards import RecordDirectory, read_metadata
from lst_jax.data.sources import open_records
from lst_jax.storage import bucket as buckets
from lst_jax.storage import objects
from lst_jax.storage.place import to_place


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return write_both(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def data(bucket, local):
    objects.upload(local, to_place(f"{bucket}/records"))
    return f"{bucket}/records"


def config_at(address):
    sources = (
        SourceConfig("speech", "utterance", f"{address}/speech", 1 / 3),
        SourceConfig("text", "text", f"{address}/text", 2 / 3),
    )
    return config_over(pathlib.Path("/nowhere"), sources=sources)


@pytest.mark.parametrize("prefetch", [0, 3])
def test_batches_states_and_restores_are_those_of_a_disk_and_nothing_is_copied(
    data, local, prefetch, tmp_path, monkeypatch
):
    monkeypatch.setenv(remote.CACHE_VARIABLE, str(tmp_path / "cache"))
    ours, theirs = BatchStream(config_at(data), prefetch=prefetch), BatchStream(config_over(local))
    states = []
    for step in (*range(8), 3):
        if step < len(states):
            ours.set_state(states[step])
            theirs.set_state(states[step])
        states.append(theirs.get_state())
        one, other = next(ours), next(theirs)
        assert all(map(np.array_equal, one.batch, other.batch)) and np.array_equal(one.state_after, other.state_after)
    assert ours.fingerprint() == theirs.fingerprint()
    ours.close()
    assert not (tmp_path / "cache").exists() and not list(pathlib.Path().glob("gs:*"))


def test_a_directory_in_a_bucket_is_the_one_on_the_disk(data, local):
    for name, kind in (("speech", "utterance"), ("text", "text")):
        ours, theirs = open_records(f"{data}/{name}", kind), RecordDirectory(local / name, kind)
        assert ours.metadata == theirs.metadata and len(ours) == len(theirs)
        assert list(ours) == list(theirs) == list(pickle.loads(pickle.dumps(ours)))
        assert str(ours.path) == f"{data}/{name}"
        ours.verify()


def test_a_directory_in_a_bucket_can_be_inspected(data, local, capsys):
    said = {}
    for address in (data, local):
        assert main(["inspect", f"{address}/speech", "--json"]) == 0
        said[address] = json.loads(capsys.readouterr().out) | {"directory": ""}
    assert said[data] == said[local]


@pytest.fixture
def place(bucket, tmp_path):
    """A directory of three shards in the bucket that a test may damage."""
    write_directory(tmp_path / "d", [texts(40)[i::3] for i in range(3)], "text")
    address = to_place(f"{bucket}/{tmp_path.name}")
    objects.upload(tmp_path / "d", address)
    yield address
    objects.delete(address)


def test_an_object_that_is_missing_or_has_another_size_is_named_at_once(place):
    shard = place / "part-1.array_record"
    content = objects.read_bytes(shard)
    objects.write_bytes(shard, content[:-7])
    with pytest.raises(DataError, match=rf"{shard}: has {len(content) - 7} bytes, metadata.json says {len(content)}"):
        RecordDirectory(place, "text")
    objects.delete(shard)
    with pytest.raises(DataError, match=rf"{shard}: missing, metadata.json lists it; copy"):
        RecordDirectory(place, "text")
    objects.delete(place / "metadata.json")
    with pytest.raises(DataError, match=rf"{place}/metadata.json: no such object; give the address"):
        RecordDirectory(place, "text")


def test_an_object_that_goes_while_it_is_read_is_named(place):
    opened, shard = RecordDirectory(place, "text"), place / "part-2.array_record"
    objects.delete(shard)
    assert opened[0]
    for _ in range(2):
        with pytest.raises(DataError, match=rf"{shard}: missing, metadata.json lists it"):
            opened[39]


def test_an_object_that_was_replaced_while_it_is_read_is_named(place, tmp_path):
    opened, shard = RecordDirectory(place, "text"), place / "part-2.array_record"
    write_directory(tmp_path / "other", [texts(3)], "text")
    objects.upload(tmp_path / "other" / "part-0.array_record", shard)
    with pytest.raises(DataError, match=rf"{shard}: (has \d+ bytes|holds 3 records), metadata.json says"):
        opened[39]


def test_a_bucket_that_does_not_answer_may_be_tried_again(place, monkeypatch):
    opened = RecordDirectory(place, "text")

    def silent(*_):
        raise RuntimeError("Retry policy exhausted, with a last message of PerformWork() - CURL error [7]")

    monkeypatch.setattr(open_shards.ShardReaders, "read", silent)
    with pytest.raises(PassingStorageError, match=rf"{place}/part-0.*: record 0: cannot be read now .*; this may pass"):
        opened[0]


def test_the_sizes_of_all_shards_come_from_one_listing(place, monkeypatch):
    system, asked = buckets.system_of(place), []
    find = system.find
    monkeypatch.setattr(system, "find", lambda *a, **k: asked.append(a) or find(*a, **k))
    for one_object in ("info", "exists", "size"):
        monkeypatch.setattr(system, one_object, lambda *_, **__: pytest.fail("asked for one object"))
    RecordDirectory(place, "text")
    assert len(asked) == 1


def test_open_shards_of_buckets_are_bounded_by_their_indexes(place):
    pool = open_shards.ReaderPool(lambda: 30, open_shards.index_bytes)
    readers = open_shards.ShardReaders(pool=pool)
    for shard in read_metadata(place).shards:
        readers.read(str(place / shard.name), 0, shard.records)
        assert len(pool) == 1  # each index alone weighs more
    pool._most = lambda: 2 * 18 * 14
    for shard in read_metadata(place).shards:
        readers.read(str(place / shard.name), 0, shard.records)
    assert len(pool) == 2 and pool._total <= 2 * 18 * 14
    files = len(os.listdir("/proc/self/fd"))
    del readers
    assert len(pool) == 0 and pool._total == 0 and len(os.listdir("/proc/self/fd")) <= files
