"""Apache Beam makes the bytes that processes of this machine make, also after being killed."""

import errno
import json
import signal

import pytest
from prepare_helpers import EvenAligner, texts
from test_prepare_resume import contents, start, wait_until

from lst_jax.core.errors import DataError, StorageError, storage_error
from lst_jax.prepare import manifest, run
from lst_jax.prepare.aligners import pocket_sphinx
from lst_jax.prepare.engines.local import Local
from lst_jax.prepare.engines.registry import load_beam

pytest.importorskip("apache_beam")
pytestmark = pytest.mark.filterwarnings("ignore")  # Beam's own, many


def with_rejections(prompts):
    items = [manifest.Item(f"{item.id}-{i}", item.audio, item.text, item.speaker) for i in range(2) for item in prompts]
    items[1] = manifest.Item("wrong", items[1].audio, "seventeen purple elephants danced slowly", None)
    return items


@pytest.mark.parametrize("options", [{}, {"direct_running_mode": "multi_processing", "direct_num_workers": "2"}])
def test_speech_from_beam_is_byte_for_byte_the_local_one(prompts, unit_file, tmp_path, options):
    items = with_rejections(prompts)
    for name, engine in {"local": Local(), "beam": load_beam(options)}.items():
        report = run.prepare_speech(
            items,
            tmp_path / name,
            unit_file,
            pocket_sphinx.PocketSphinxAligner(),
            engine,
            shard_records=2,
            source="prompts",
        )
        assert [r.id for r in report.examples] == ["wrong"]
    assert contents(tmp_path / "beam") == contents(tmp_path / "local")
    assert len(contents(tmp_path / "beam")) == 3 * 2 + 3


def test_text_from_beam_is_byte_for_byte_the_local_one(tmp_path):
    source = tmp_path / "a.jsonl"
    source.write_text("".join(json.dumps({"id": f"d{i}", "text": "word " * (i % 4)}) + "\n" for i in range(11)))
    for name, engine in {"local": Local(), "beam": load_beam({"runner": "DirectRunner"})}.items():
        run.prepare_text(texts([source]), tmp_path / name, engine, shard_records=3)
    assert contents(tmp_path / "beam") == contents(tmp_path / "local")
    shard = tmp_path / "beam" / "shard-00001-of-00004.json"
    shard.unlink()
    run.prepare_text(texts([source]), tmp_path / "beam", load_beam({}), shard_records=3)
    assert contents(tmp_path / "beam") == contents(tmp_path / "local")


def test_a_killed_job_goes_on_where_it_was(tones, unit_file, tmp_path):
    path, out = tones(9), tmp_path / "out"
    items = manifest.read_items(path, {})
    run.prepare_speech(items, tmp_path / "unbroken", unit_file, EvenAligner(), shard_records=2)
    process = start(path, out, unit_file, workers="beam")
    wait_until(lambda: len(list(out.glob("parts/*.json"))) >= 2)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    assert not (out / "metadata.json").exists()
    kept = {p.name.partition(".")[0]: p.stat().st_mtime_ns for p in out.glob("parts/*.array_record")}
    run.prepare_speech(items, out, unit_file, EvenAligner(), load_beam({}), shard_records=2)
    assert contents(out) == contents(tmp_path / "unbroken")
    sidecars = [json.loads(p.read_text()) for p in out.glob("shard-*.json")]
    names = {s["parts"][0]["name"]: out / s["shard"]["name"] for s in sidecars}
    assert len(kept) >= 2
    assert sum(names[name].stat().st_mtime_ns == before for name, before in kept.items()) >= 2


@pytest.mark.parametrize("options", [{}, {"direct_running_mode": "multi_processing", "direct_num_workers": "2"}])
def test_what_a_worker_says_to_the_user_arrives_as_one_line(prompts, unit_file, tmp_path, options):
    class FullDisk:  # local, so that it travels by value: workers cannot import this file
        name = "full-disk"

        def align(self, item_id, audio, words):
            raise storage_error("/data/x", OSError(errno.ENOSPC, "no"))

        def guessed(self, words):
            return []

    with pytest.raises(StorageError) as caught:
        run.prepare_speech(prompts, tmp_path / "out", unit_file, FullDisk(), load_beam(options), shard_records=2)
    assert str(caught.value) == str(storage_error("/data/x", OSError(errno.ENOSPC, "no")))
    # what another worker was writing when the job ended is removed by the next run
    assert [p.name for p in (tmp_path / "out").rglob("*") if p.is_file() and p.suffix != ".tmp"] == ["prepare.json"]


def test_a_job_that_fails_is_one_line(prompts, unit_file, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="--engine beam: the job failed.*; mend it, then run the same") as caught:
        run.prepare_speech(prompts, tmp_path / "out", unit_file, EvenAligner(), load_beam({"runner": "NoSuchRunner"}))
    assert "\n" not in str(caught.value)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="--out here: workers on other machines find a place by its whole path"):
        run.prepare_speech(prompts, "here", unit_file, EvenAligner(), load_beam({"runner": "FlinkRunner"}))
