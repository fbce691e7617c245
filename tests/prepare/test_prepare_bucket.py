"""Directories of records that are prepared in a bucket: the bytes of local ones, and nothing half-made."""

import json

import numpy as np
import pytest
from prepare_helpers import texts as texts_of

from lst_jax.cli import main
from lst_jax.core.errors import DataError
from lst_jax.data.sources import open_records
from lst_jax.data.text import tokenizer_fingerprint
from lst_jax.prepare import part_files, run
from lst_jax.prepare.speech_tokenizers.log_mel_kmeans import LogMelKMeans
from lst_jax.prepare.speech_tokenizers.registry import load_unit_tokenizer
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

pytestmark = pytest.mark.usefixtures("no_appends")


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"id": f"d{i}", "text": f"word {i}" * (i % 4)}) + "\n" for i in range(11)))
    return path


def contents(place):
    return {name: objects.read_bytes(place / name) for name in objects.sizes(place)}


def test_a_directory_in_a_bucket_has_the_bytes_of_a_local_one(texts, bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = to_place(f"{bucket}/{tmp_path.name}/text")
    for place in (tmp_path / "local", out):
        words = ["prepare", "text", "--manifest", str(texts), "--shard-records", "3", "--out", str(place)]
        assert main.main(words) == 0
    assert contents(out) == contents(tmp_path / "local")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["local", "texts.jsonl"]
    monkeypatch.setenv("LST_CACHE", str(tmp_path / "cache"))
    assert [t.text for t in open_records(str(out), "text")] == [
        t.text for t in open_records(str(tmp_path / "local"), "text")
    ]


def test_a_directory_that_was_begun_goes_on_and_another_input_is_refused(texts, bucket, tmp_path, monkeypatch):
    out, made = to_place(f"{bucket}/{tmp_path.name}/text"), []
    run.prepare_text(texts_of([texts]), out, shard_records=3)
    whole = contents(out)
    objects.delete(out / "metadata.json")
    objects.delete(out / "shard-00001-of-00004.json")
    write = part_files.PartFiles.write
    monkeypatch.setattr(part_files.PartFiles, "write", lambda *words: made.append(words[1].name) or write(*words))
    run.prepare_text(texts_of([texts]), out, shard_records=3)
    assert made == ["00000-0000001"] and contents(out) == whole
    with pytest.raises(DataError, match="was prepared with shard_records=3, now it is 4; choose another"):
        run.prepare_text(texts_of([texts]), out, shard_records=4)
    run.prepare_text(texts_of([texts]), out, shard_records=4, overwrite=True)
    assert "shard-00001-of-00003.json" in contents(out) and "shard-00001-of-00004.json" not in contents(out)


def test_tokenizers_are_made_there_once(texts, bucket, tmp_path, capsys):
    out = f"{bucket}/{tmp_path.name}/text.model"
    words = ["prepare", "tokenizer", "--manifest", str(texts), "--size", "275", "--out"]
    for place in (out, str(tmp_path / "local.model")):
        assert main.main([*words, place]) == 0
    assert objects.read_bytes(to_place(out)) == (tmp_path / "local.model").read_bytes()
    assert main.main([*words, out]) == 0 and "nothing to do" in capsys.readouterr().out
    assert tokenizer_fingerprint(out) == tokenizer_fingerprint(tmp_path / "local.model")


def test_manifests_and_recordings_there_give_the_same_files(tones, bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    local, place = tones(4), to_place(f"{bucket}/{tmp_path.name}/corpus")
    objects.upload(local, place / local.name)
    objects.upload(local.parent / "audio", place / "audio")
    for part, suffix, options in (
        ("units-fit", "safetensors", ("--k", "5")),
        ("tokenizer", "model", ("--size", "275")),
    ):
        for name, manifest in (("local", local), ("there", place / "*.jsonl")):
            words = ["prepare", part, "--manifest", str(manifest), *options, "--out", f"{name}.{suffix}"]
            assert main.main([*words, "--workers", "1"] if part == "units-fit" else words) == 0
        assert (tmp_path / f"there.{suffix}").read_bytes() == (tmp_path / f"local.{suffix}").read_bytes()


def test_a_fitted_unit_tokenizer_is_read_there(bucket, tmp_path):
    rng = np.random.default_rng(0)
    fitted = LogMelKMeans.fit([rng.normal(size=(200, 320)).astype(np.float32)], 4, 0)
    out = f"{bucket}/{tmp_path.name}/units.safetensors"
    fitted.save(out)
    assert load_unit_tokenizer(out).fingerprint == fitted.fingerprint
    with pytest.raises(DataError, match="nothing.safetensors: no such file; make it with `lst prepare units-fit`"):
        load_unit_tokenizer(f"{bucket}/nothing.safetensors")
