"""Whole objects and prepared records at s3://, by moto's server; `make test-extras` has it."""

import importlib.util
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

import fake_gcs
import pytest

from lst_jax.bench import slow_bucket
from lst_jax.cli import main
from lst_jax.data.sources import open_records
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

pytestmark = [
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("moto", "s3fs")), reason="needs moto and s3fs"
    ),
    pytest.mark.usefixtures("no_appends"),
    pytest.mark.filterwarnings("ignore"),  # of botocore, many
]


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """The address of a bucket of this machine."""
    port = slow_bucket.free_port()
    url = f"http://127.0.0.1:{port}"
    log = (tmp_path_factory.mktemp("moto") / "log").open("wb")
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=log, stderr=log)
    variables = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    with log, pytest.MonkeyPatch.context() as patch:
        for name, value in (variables | {"AWS_DEFAULT_REGION": "us-east-1"}).items():
            patch.setenv(name, value)
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(urllib.request.Request(f"{url}/records", method="PUT"), timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < deadline and server.poll() is None
                time.sleep(0.1)
        yield "s3://records"
        server.terminate()
        server.wait(20)


def test_objects_are_written_listed_created_once_and_removed(s3, tmp_path):
    place = to_place(f"{s3}/objects")
    objects.write_text(place / "a" / "one", "1")
    assert objects.names(place) == ["a"] and objects.sizes(place) == {"a/one": 1} and objects.is_folder(place / "a")
    won = fake_gcs.created_by(place / "lock", 8)
    assert len(won) == 1 and objects.read_bytes(place / "lock") == b"%d" % won[0]
    objects.delete_folder(place)
    assert objects.names(place) == [] and not objects.exists(place / "lock")


def test_records_and_tfds_datasets_are_made_there_and_read_by_a_copy(s3, tmp_path, monkeypatch):
    texts, out = tmp_path / "texts.jsonl", f"{s3}/text"
    texts.write_text("".join(json.dumps({"id": f"d{i}", "text": f"word {i}"}) + "\n" for i in range(7)))
    assert main.main(["prepare", "text", "--manifest", str(texts), "--shard-records", "3", "--out", out]) == 0
    monkeypatch.setenv("LST_CACHE", str(tmp_path / "cache"))
    assert [text.text for text in open_records(out, "text")] == [f"word {i}" for i in range(7)]
    assert main.main(["export", "tfds", f"train={out}", "--kind", "text", "--out", f"{s3}/tfds"]) == 0
    there = f"tfds:{s3}/tfds/lst_text/1.0.0#train[1:]"
    assert [text.text for text in open_records(there, "text")] == [f"word {i}" for i in range(1, 7)]


def test_runs_do_not_lie_there(s3, capsys):
    assert main.main(["train", f"{s3}/run", "--config", "configs/demo.py"]) == 2
    assert "as Orbax has no s3://; give gs://BUCKET/RUN" in capsys.readouterr().err
