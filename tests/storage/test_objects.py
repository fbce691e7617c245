"""Whole objects of a bucket of this machine and files alike, and claims with a heartbeat."""

import contextlib
import errno
import json
import pathlib
import subprocess
import sys
import threading
import types

import fake_gcs
import pytest

from lst_jax.checkpoints.store import storage_errors
from lst_jax.core.errors import BusyElsewhereError, BusyError, ConfigError, PassingStorageError, StorageError
from lst_jax.storage import bucket, claim, objects
from lst_jax.storage import place as places
from lst_jax.storage.place import BucketPath, to_place, to_run_place


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path):
    """An empty folder of each kind."""
    if request.param == "folder":
        return tmp_path / "place"
    return to_place(request.getfixturevalue("bucket")) / tmp_path.name


def test_what_is_written_is_read_listed_and_removed(place, no_appends):
    assert objects.names(place) == [] and not objects.exists(place) and not objects.is_folder(place)
    objects.write_bytes(place / "a" / "one", b"123")
    objects.write_text(place / "two", "ö")
    objects.write_text(place / "two", "o")
    assert objects.names(place) == ["a", "two"] and objects.sizes(place) == {"a/one": 3, "two": 1}
    assert objects.is_folder(place / "a") and not objects.is_folder(place / "two") and objects.exists(place / "two")
    assert objects.read_many([place / "two", place / "a" / "one"]) == [b"o", b"123"]
    with pytest.raises(FileNotFoundError):
        objects.read_bytes(place / "three")
    objects.delete_folder(place / "a")
    objects.delete_folder(place / "b")
    objects.delete(place / "three")
    assert objects.sizes(place) == {"two": 1}
    objects.delete(place / "two")
    assert objects.names(place) == []


def test_a_folder_is_not_removed_for_an_object(place):
    objects.write_text(place / "a" / "one", "1")
    with contextlib.suppress(StorageError):  # a bucket has no object of that name
        objects.delete(place / "a")
    assert objects.sizes(place) == {"a/one": 1}


def test_a_folder_goes_up_and_comes_down_as_it_was(place, tmp_path):
    for name in ("x/y", "z"):
        objects.write_text(tmp_path / "here" / name, name)
    objects.upload(tmp_path / "here", place)
    objects.download(place, tmp_path / "again")
    assert objects.sizes(place) == objects.sizes(tmp_path / "again") == {"x/y": 3, "z": 1}
    assert (tmp_path / "again" / "x" / "y").read_text() == "x/y"


def test_one_of_many_creates_an_object(place):
    """Sixteen threads at once; who asks again for what it has written itself is told yes."""
    won = fake_gcs.created_by(place / "lock", 16)
    assert len(won) == 1 and objects.read_bytes(place / "lock") == b"%d" % won[0]


def test_an_object_of_this_process_is_created_though_the_answer_was_lost(bucket, tmp_path):
    place = to_place(bucket) / tmp_path.name
    assert objects.create(place, b"mine") and objects.create(place, b"mine") and not objects.create(place, b"yours")


def owner(place, number):
    return json.loads(objects.read_bytes(place / f"{number:08d}.owner.json"))


def test_a_claim_is_taken_one_after_the_other(place):
    with claim.held(place, "lst train") as first:
        assert first.number == 1 and not owner(place, 1)["ended"]
        with pytest.raises(BusyError, match="another lst train is at work here"), claim.held(place, "lst train"):
            pass
    assert owner(place, 1)["ended"]
    with claim.held(place, "lst train") as second:
        assert second.number == 2


def other(place, number, **changes):
    """A claim of another machine."""
    there = {
        "host": "b",
        "pid": 1,
        "since": "now",
        "machine": "another",
        "process_began": "7",
        "beats": 3,
        "ended": False,
    }
    objects.write_json(place / f"{number:08d}.owner.json", there | changes)


def test_the_claim_of_a_lost_machine_ends_by_itself(place):
    waited = []
    other(place, 4)
    with claim.held(place, "lst train", waited.append) as own:
        assert own.number == 5 and sum(waited) == claim.STALE_SEC


def test_the_claim_of_a_machine_that_lives_is_left_to_it(place):
    other(place, 4)
    looks = iter(range(100))
    with pytest.raises(BusyElsewhereError, match="on host b, process 1"):
        with claim.held(place, "lst train", lambda _: other(place, 4, beats=3 + next(looks) // 5)):
            pass
    assert objects.names(place) == ["00000004.owner.json"]


def test_a_process_of_this_machine_that_was_killed_is_not_waited_for(place):
    code = "import os, sys, signal\nfrom lst_jax.storage import claim, place\n"
    code += "with claim.held(place.to_place(sys.argv[1]), 'x'):\n    os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", code, str(place)], cwd=pathlib.Path(__file__).parents[2], check=False)
    assert not owner(place, 1)["ended"]
    with claim.held(place, "lst train", pytest.fail) as own:
        assert own.number == 2


def test_who_was_taken_over_does_not_write(place):
    with claim.held(place, "lst train") as own:
        own.check()
        other(place, 2)
        with pytest.raises(BusyElsewhereError, match="took over"):
            own.check()


def test_a_claim_that_two_processes_created_is_left_by_one_of_them(place):
    """Some mounts create a file twice; whoever's content is there has it."""
    with claim.held(place, "lst train") as own:
        other(place, 1, id="theirs")
        with pytest.raises(BusyElsewhereError, match="took over"):
            own.check()
    assert owner(place, 1)["id"] == "theirs" and not owner(place, 1)["ended"]


def test_the_heartbeat_goes_on(place, monkeypatch):
    monkeypatch.setattr(claim, "HEARTBEAT_SEC", 0.05)
    beaten = threading.Event()
    monkeypatch.setattr(claim.Claim, "_write", lambda self, ended: beaten.set())
    with claim.held(place, "lst train"):
        assert beaten.wait(20)


@pytest.mark.parametrize("text", ["gs://", "gs:///", "gs://b/../c"])
def test_an_address_without_a_place_is_refused(text):
    with pytest.raises(ConfigError, match="names no place in a bucket"):
        to_place(text)


def test_places_join_names_alike():
    run = to_place("GS://b/runs//x/")
    assert run == BucketPath("gs://b/runs/x") and str(run / "metrics") == "gs://b/runs/x/metrics"
    assert (run.name, str(run.parent), str(run.with_name("y"))) == ("x", "gs://b/runs", "gs://b/runs/y")
    assert to_place("runs/x") == pathlib.Path("runs/x")
    with pytest.raises(TypeError):
        open(run)


@pytest.mark.parametrize("cut", ["gs:/b/run", "S3:/b/m.jsonl", "https:/host/x"])
def test_an_address_with_one_slash_is_no_folder(cut):
    scheme, _, rest = cut.partition(":/")
    with pytest.raises(ConfigError, match=f"{cut}: is an address with one slash.* write it as {scheme}://{rest}$"):
        to_place(cut)


def test_runs_lie_where_orbax_can_write_them():
    with pytest.raises(ConfigError, match="Orbax has no s3://; give gs://BUCKET/RUN"):
        to_run_place("s3://b/run")
    with pytest.raises(ConfigError, match="looks like an address"):
        to_run_place(pathlib.Path("gs://b/run"))


@pytest.mark.parametrize(
    ("kind", "mount"),
    [
        ("fuse.gcsfuse", True),
        ("fuse.rclone", True),
        ("fuse", True),
        ("ext4", False),
        ("nfs4", False),
        ("fuse.sshfs", False),
    ],
)
def test_a_mount_is_told_by_its_file_system(kind, mount, tmp_path, monkeypatch):
    (tmp_path / "a b").mkdir()
    table = f"disk / ext4 rw 0 0\nx {str(tmp_path / 'a b').replace(' ', chr(92) + '040')} {kind} rw 0 0\n"
    (tmp_path / "mounts").write_text(table)
    monkeypatch.setattr(places, "MOUNTS", tmp_path / "mounts")
    assert places.on_mount(tmp_path / "a b" / "run" / "not yet there") == mount and not places.on_mount(tmp_path)


def test_a_package_that_is_missing_is_one_line(monkeypatch):
    def missing(scheme):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("lst_jax.storage.bucket._file_system", missing)
    with pytest.raises(
        ConfigError, match=r"s3://b/x: needs a package that is not installed; pip install 'lst_jax\[s3\]'"
    ):
        objects.exists(to_place("s3://b/x"))


def test_a_bucket_that_is_not_there_is_one_line(bucket):
    with pytest.raises(StorageError, match="gs://no-such-bucket/x: cannot be written, as its bucket is not there"):
        objects.write_text(to_place("gs://no-such-bucket/x"), "x")
    assert objects.names(to_place("gs://no-such-bucket")) == []


class HttpError(Exception):
    """As gcsfs has it."""

    def __init__(self, code):
        super().__init__(f"answer {code}")
        self.code = code


HttpError.__module__ = "gcsfs.retry"


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (HttpError(503), 42),
        (HttpError("429"), 42),
        (HttpError(403), 5),
        (ValueError("UNAVAILABLE: CURL error 7: Failed to connect"), 42),
        (ValueError("PERMISSION_DENIED: no"), 5),
        (ValueError("shapes differ"), None),
    ],
)
def test_what_may_pass_is_told_from_what_a_person_must_mend(error, exit_code):
    with (
        pytest.raises(ValueError if exit_code is None else StorageError) as raised,
        storage_errors(to_place("gs://b/c")),
    ):
        raise error
    assert exit_code is None or raised.value.exit_code == exit_code


@pytest.mark.parametrize("ask", [objects.exists, objects.is_folder, objects.names, objects.sizes, objects.read_bytes])
def test_a_server_that_does_not_answer_is_no_answer(ask, monkeypatch):
    """Else a checkpoint would seem not to be there, and be removed."""

    def fail(*_, **__):
        raise ConnectionResetError(104, "Connection reset by peer")

    failing = types.SimpleNamespace(info=fail, ls=fail, find=fail, cat_file=fail)
    monkeypatch.setattr("lst_jax.storage.bucket.system_of", lambda _: failing)
    with pytest.raises(PassingStorageError, match="gs://b/x: cannot be read .*this may pass"):
        ask(to_place("gs://b/x"))


def test_a_full_disk_of_this_machine_is_one_line(bucket, tmp_path):
    place = to_place(bucket) / tmp_path.name / "x"
    with pytest.raises(StorageError, match="cannot write"), objects.filling(place) as path:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not objects.exists(place)


def test_files_have_addresses_too(tmp_path):
    assert to_place("file:///tmp/a%20b/") == pathlib.Path("/tmp/a b")
    with pytest.raises(ConfigError, match="file://host/x: names no file of this machine; write file:///FOLDER"):
        to_place("file://host/x")


@pytest.mark.parametrize("work", [lambda p: objects.write_bytes(p, b"x"), lambda p: objects.create(p, b"x")])
def test_what_an_address_cannot_do_is_no_reason_to_start_again(work):
    pytest.importorskip("aiohttp", reason="aiohttp, of gcsfs, is not installed")
    with pytest.raises(StorageError, match="cannot be written, as https:// offers no way to; use gs://") as error:
        work(to_place("https://127.0.0.1:9/x"))
    assert error.value.exit_code == 5


def test_requests_that_were_never_sent_are_no_reason_to_start_again():
    """botocore raises these without credentials, or for an impossible name of a bucket."""
    for name in ("NoCredentialsError", "ParamValidationError"):
        error = type(name, (Exception,), {"__module__": "botocore.exceptions"})("no")
        assert bucket.error_of(BucketPath("s3://b/x"), "read", error).exit_code == 5
