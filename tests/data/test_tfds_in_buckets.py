"""TFDS datasets at addresses: a copy of what a split needs, made once per host, with the batches of a local folder."""

import concurrent.futures
import json
import pathlib
import shutil
import threading
import time

import numpy as np
import pytest
from synthetic_data import config_over, write_both

from lst_jax.cli.main import main
from lst_jax.config import SourceConfig
from lst_jax.core.errors import DataError, StorageError, UserError
from lst_jax.data import remote
from lst_jax.data.importers import tfds_export
from lst_jax.data.pipeline import BatchStream
from lst_jax.data.sources import open_records
from lst_jax.prepare import inspect
from lst_jax.storage import objects
from lst_jax.storage.place import to_place


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """TFDS datasets of both kinds on a disk: speech in two splits of several shards, and texts."""
    root = tmp_path_factory.mktemp("tfds")
    write_both(root)
    speech, text = open_records(str(root / "speech"), "utterance"), open_records(str(root / "text"), "text")
    tfds_export.write_tfds({"train": speech, "valid": speech}, root / "out", shard_records=9)
    tfds_export.write_tfds({"train": text}, root / "out", shard_records=5)
    return root / "out"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(remote.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def there(bucket, local, cache, tmp_path):
    """The same datasets in the bucket, where a test may change them."""
    place = to_place(f"{bucket}/{tmp_path.name}")
    objects.upload(local, place)
    return place


def config_at(root):
    sources = (
        SourceConfig("speech", "utterance", f"tfds:{root}/lst_utterance/1.0.0#train", 1 / 3),
        SourceConfig("text", "text", f"tfds:{root}/lst_text/1.0.0#train", 2 / 3),
    )
    return config_over(pathlib.Path("/nowhere"), sources=sources)


def speech(root, split="train"):
    return open_records(f"tfds:{root}/lst_utterance/1.0.0#{split}", "utterance")


def test_batches_and_the_fingerprint_are_those_of_a_disk(there, local, cache):
    ours, theirs = BatchStream(config_at(there), prefetch=0), BatchStream(config_at(local), prefetch=0)
    assert ours.fingerprint() == theirs.fingerprint() and ours.vocabulary() == theirs.vocabulary()
    for _ in range(5):
        one, other = next(ours), next(theirs)
        assert all(map(np.array_equal, one.batch, other.batch)) and np.array_equal(one.state_after, other.state_after)
    names = sorted(path.name for path in cache.iterdir())
    assert [name.rpartition("-")[0] for name in names] == ["lst_text-1.0.0", "lst_utterance-1.0.0"]


def test_only_what_a_split_needs_is_copied_and_it_is_found_again(there, local, cache, monkeypatch):
    speech(there).verify()
    (copy,) = cache.iterdir()
    wanted = {path.name for path in (local / "lst_utterance" / "1.0.0").iterdir() if "-valid." not in path.name}
    assert {path.name for path in copy.iterdir()} == wanted | {"lock"} and len(wanted) > 5
    with monkeypatch.context() as patch:
        patch.setattr(remote, "_copy_shards", lambda *_: pytest.fail("copied again"))
        assert list(speech(there)) == list(speech(local))
    assert list(speech(there, "valid")) == list(speech(local, "valid"))
    assert [path.name for path in cache.iterdir()] == [copy.name]


def test_a_part_of_a_split_brings_the_shards_that_it_touches(there, local, cache):
    part = "#train[:4]"
    ours, theirs = (open_records(f"tfds:{root}/lst_text/1.0.0{part}", None) for root in (there, local))
    assert list(ours) == list(theirs) and len(ours) == 4 and ours.kind == "text"
    assert len(list(next(cache.iterdir()).glob("*array_record*"))) == 1


def test_a_cut_copy_is_gone_on_with(there, local, cache, monkeypatch):
    read, left = remote._read_block, iter(range(8))

    def cut(stream, source):
        if "array_record" in str(source) and next(left, None) is None:
            raise KeyboardInterrupt
        return read(stream, source)

    monkeypatch.setattr(remote, "_read_block", cut)
    with pytest.raises(KeyboardInterrupt):
        open_records(f"tfds:{there}/lst_text/1.0.0#train", "text")
        speech(there)
    kept = {path: path.stat().st_mtime_ns for path in cache.rglob("*array_record*")}
    monkeypatch.setattr(remote, "_read_block", read)
    assert kept and list(speech(there)) == list(speech(local))
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items()) and not list(cache.rglob("*.tmp"))


def test_of_several_processes_one_copies_and_the_others_wait_for_it(there, cache, monkeypatch):
    fetched, fetch = [], remote._fetch

    def slowly(source, *more):
        fetched.append((source.name, threading.current_thread()))
        time.sleep(0.02)
        fetch(source, *more)

    monkeypatch.setattr(remote, "_fetch", slowly)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:  # each opens the lock's file anew, as a process would
        found = list(pool.map(speech, [there] * 3))
    assert list(found[0]) == list(found[2]) and len({name for name, _ in fetched}) == len(fetched)


def test_a_changed_dataset_is_copied_anew(there, local, cache):
    before = list(speech(there))
    out = there / "lst_utterance" / "1.0.0"
    valid = open_records(f"tfds:{local}/lst_utterance/1.0.0#valid", "utterance")
    objects.delete_folder(out)
    tfds_export.write_tfds({"train": valid}, there, overwrite=True, shard_records=30)
    assert list(speech(there)) == before and len(list(cache.iterdir())) == 2
    assert len(speech(there).metadata.shards) == 1


def test_a_copy_that_does_not_fit_the_disk_is_refused(there, monkeypatch):
    monkeypatch.setattr(remote.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 100))
    with pytest.raises(StorageError, match=r"the copy of gs://.* needs .*; free space, set LST_CACHE .* a part of the"):
        speech(there)


def damaged(place, change):
    name = next(name for name in sorted(objects.names(place)) if "-train." in name)
    change(place / name)
    return name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (objects.delete, "missing, dataset_info.json lists it; copy the dataset there again"),
        (lambda shard: objects.write_bytes(shard, bytes(40)), "40 bytes arrived that are not .* the checksum of"),
    ],
)
def test_a_shard_that_is_missing_or_other_than_its_checksum_is_named(there, change, message):
    name = damaged(there / "lst_utterance" / "1.0.0", change)
    with pytest.raises(DataError, match=rf"^{there}/lst_utterance/1.0.0/{name}: {message}") as error:
        speech(there)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("lst_utterance/1.0.0#test", "has no split 'test'; it has train, valid"),
        ("lst_utterance/1.0.0#train[x", "cannot be opened"),
        ("lst_text/1.0.0#train", "need the features ends"),
        ("none/1.0.0#train", "dataset_info.json: missing; give the folder of a prepared TFDS dataset"),
    ],
)
def test_addresses_that_lead_nowhere_are_named(there, address, message):
    with pytest.raises(UserError, match=message) as error:
        open_records(f"tfds:{there}/{address}", "utterance")
    assert "\n" not in str(error.value) and str(there) in str(error.value)


def test_the_cache_is_a_folder_of_this_machine(there, monkeypatch):
    monkeypatch.setenv(remote.CACHE_VARIABLE, "gs://bucket/cache")
    with pytest.raises(UserError, match="LST_CACHE='gs://bucket/cache': must be a folder of this machine"):
        speech(there)


def test_it_is_inspected_as_a_folder_is(there, local, capsys):
    for name in ("lst_utterance", "lst_text"):
        said = []
        for root in (there, local):
            assert main(["inspect", f"tfds:{root}/{name}/1.0.0#train", "--json"]) == 0
            said.append(json.loads(capsys.readouterr().out) | {"directory": ""})
        assert said[0] == said[1] and said[0]["records"]
    (wrong,) = inspect.verify(inspect.open_directory(f"tfds:{there}/lst_text/1.0.0#train"))
    assert "words=0, the records hold" in wrong  # as `synthetic_data` writes it


def test_a_dataset_of_another_program_is_inspected_without_counts(there, local, tmp_path, capsys):
    copy = tmp_path / "c4" / "1.0.0"
    shutil.copytree(local / "lst_text" / "1.0.0", copy)
    (copy / "metadata.json").unlink()
    assert main(["inspect", f"tfds:{copy}#train", "--verify"]) == 0
    out = capsys.readouterr().out
    assert "made by lst_text 1.0.0" in out and "verified" in out
