import concurrent.futures
import functools
import http.server
import json
import pathlib
import shutil
import threading
import time

import fsspec
import pytest
from import_samples import utterance

from lst_jax.core.errors import DataError, StorageError, UserError
from lst_jax.data import remote
from lst_jax.data.importers import write
from lst_jax.data.sources import open_records
from lst_jax.storage.place import BucketPath

GOOD = [utterance(f"u{i}") for i in range(5)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """(address, local folder it was copied from), in fsspec's in-memory file system."""
    monkeypatch.setenv(remote.CACHE_VARIABLE, str(tmp_path / "cache"))
    local = tmp_path / "speech"
    write.write_directory(GOOD, local, write.Origin(25.0, 10, None, None), write.Tally(), shard_records=2)
    system = fsspec.filesystem("memory")
    upload(system, local)
    return "memory://bucket/speech", system


def upload(system, local):
    system.store.clear()
    for file in local.iterdir():
        system.pipe(f"/bucket/speech/{file.name}", file.read_bytes())


def test_records_are_read_from_a_remote_place_through_checked_copies(place, tmp_path):
    address, system = place
    assert list(open_records(address, "utterance")) == GOOD
    copy = remote.readable(address + "/")
    assert copy.parent == tmp_path / "cache"
    for shard in ("shard-00000", "shard-00001", "shard-00002"):
        system.rm(f"/bucket/speech/{shard}.array_record")
    assert list(open_records(address, "utterance")) == GOOD  # from the copy: only metadata is asked for again
    assert list(open_records((tmp_path / "speech").as_uri(), "utterance")) == GOOD  # is read there
    assert remote.readable(str(tmp_path / "speech")) == tmp_path / "speech"
    assert remote.readable("gs://bucket/speech/") == BucketPath("gs://bucket/speech")


def test_a_changed_directory_is_copied_anew_and_the_old_copy_stays(place, tmp_path):
    address, system = place
    before = open_records(address, "utterance")
    write.write_directory(
        GOOD[:1], tmp_path / "speech", write.Origin(25.0, 10, None, None), write.Tally(), overwrite=True
    )
    upload(system, tmp_path / "speech")
    assert list(open_records(address, "utterance")) == GOOD[:1] and list(before) == GOOD


def test_a_damaged_shard_is_named_and_the_next_try_goes_on_from_what_is_whole(place, tmp_path):
    address, system = place
    name = "/bucket/speech/shard-00001.array_record"
    good = system.cat_file(name)
    for bad in (good[:-1], good[:-1] + bytes([good[-1] ^ 1])):
        system.pipe(name, bad)
        with pytest.raises(DataError, match=r"shard-00001\.array_record: .*checksum"):
            open_records(address, "utterance")
    kept = [p for p in pathlib.Path(tmp_path / "cache").rglob("*") if p.is_file()]
    assert sorted(p.name for p in kept) == ["lock", "shard-00000.array_record"]
    stamp = max(kept).stat().st_mtime_ns
    system.pipe(name, good)
    assert list(open_records(address, "utterance")) == GOOD and max(kept).stat().st_mtime_ns == stamp


def test_records_of_a_web_server_are_copied_too(place, tmp_path):
    pytest.importorskip("aiohttp", reason="aiohttp, of gcsfs, is not installed")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        assert list(open_records(f"{address}/speech", "utterance")) == GOOD
        with pytest.raises(UserError, match=rf"^{address}/none/metadata.json: cannot be read \(no such object"):
            open_records(f"{address}/none", "utterance")
        server.shutdown()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://bucket/none", "metadata.json: cannot be read"),
        ("nothing://bucket/x", "is not a known kind of address"),
        ("file:///no/such/place", "no such directory"),
    ],
)
def test_places_that_cannot_be_reached_are_named(place, address, message):
    with pytest.raises(UserError, match=message) as error:
        open_records(address, "utterance")
    assert "\n" not in str(error.value)


def test_a_copy_that_does_not_fit_the_disk_is_refused_before_it_begins(place, monkeypatch):
    address, _ = place
    monkeypatch.setattr(remote.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 100))
    with pytest.raises(StorageError, match=r"the copy of memory://bucket/speech needs .*; free space, set LST_CACHE"):
        open_records(address, "utterance")


def test_of_several_processes_one_copies_and_the_others_wait_for_it(place, monkeypatch):
    address, system = place
    copied, copy = [], remote._copy_shards

    def slowly(*arguments):
        copied.append(threading.current_thread())
        time.sleep(0.2)
        copy(*arguments)

    monkeypatch.setattr(remote, "_copy_shards", slowly)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:  # each opens the lock's file anew, as a process would
        assert len(set(pool.map(remote.readable, [address] * 3))) == 1
    assert len(copied) == 1 and list(open_records(address, "utterance")) == GOOD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format_version=9), "has format_version 9"),
        (lambda m: m.pop("words"), "missing or unknown"),
        (lambda m: m["shards"][0].update(name="../../x"), "must be plain file names"),
    ],
)
def test_metadata_is_checked_before_anything_is_copied(place, tmp_path, change, message):
    address, system = place
    metadata = json.loads(system.cat_file("/bucket/speech/metadata.json"))
    change(metadata)
    system.pipe("/bucket/speech/metadata.json", json.dumps(metadata).encode())
    with pytest.raises(DataError, match=message):
        open_records(address, "utterance")
    assert not (tmp_path / "cache").exists()
