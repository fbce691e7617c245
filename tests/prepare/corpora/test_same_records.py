"""The same recordings give the same records in whatever layout they lie, through the command."""

import json

import pytest
import soundfile
from corpus_files import ASTERISK, in_bucket, prompts, write_parquet, write_tar

from lst_jax.cli import main
from lst_jax.data import shards


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    """Five prompts as a manifest, as Parquet files, as WebDataset, and as Lhotse's cuts; two are said to be German."""
    folder = tmp_path_factory.mktemp("layouts")
    found = [one | {"language": "German" if n > 2 else "en"} for n, one in enumerate(prompts(5))]
    lines, rows, members, cuts = [], [], {}, []
    for one in found:
        key, audio = one["id"], ASTERISK / one["audio"]
        fields = {"id": key, "text": one["text"], "speaker": one["speaker"], "language": one["language"]}
        lines.append({**fields, "audio": str(audio)})
        rows.append({**fields, "audio": {"bytes": one["content"], "path": audio.name}, "duration_ms": 1})
        members |= {f"{key}.ogg": one["content"], f"{key}.json": json.dumps(fields).encode()}
        seconds = soundfile.info(audio).frames / soundfile.info(audio).samplerate
        recording = {
            "id": key,
            "sources": [{"type": "file", "channels": [0], "source": str(audio)}],
            "channel_ids": [0],
        }
        times = {"start": 0, "duration": seconds, "channel": 0}
        supervision = {**fields, **times, "recording_id": key}
        cuts.append({"id": key, **times, "recording": recording, "supervisions": [supervision], "type": "MonoCut"})
    for name, some in (("manifest/m.jsonl", lines), ("lhotse/cuts.jsonl", cuts)):
        (folder / name).parent.mkdir()
        (folder / name).write_text("".join(f"{json.dumps(line)}\n" for line in some))
    for number, part in enumerate((rows[:3], rows[3:])):
        write_parquet(folder / f"parquet/data/train-{number:05d}-of-00002.parquet", part)
    write_tar(folder / "tars/shard-000000.tar", members)
    return folder


@pytest.fixture(scope="module")
def prepare(layouts, unit_file, tmp_path_factory):
    """prepare(place, options) gives the records and the counts of what was left out by reason."""

    def run(place, *options):
        out = tmp_path_factory.mktemp("out") / "records"
        words = ["--manifest", place, "--units", unit_file, "--workers", 1, "--out", out, *options]
        assert main.main(["prepare", "speech", *map(str, words)]) == 0
        report = json.loads((out / "report.json").read_text())
        records = [(u.id, u.speaker, u.units.tolist(), u.words) for u in shards.RecordDirectory(out, "utterance")]
        return records, {reason: found["count"] for reason, found in report["reasons"].items()}

    return run


@pytest.fixture(scope="module")
def expected(layouts, prepare):
    return prepare(layouts / "manifest/m.jsonl")


def test_recordings_in_another_language_are_left_out_unless_asked_for(layouts, prepare, expected):
    records, reasons = expected
    assert len(records) == 3 and reasons == {"language not the aligner's": 2}
    assert len(prepare(layouts / "manifest", "--any-language")[0]) == 5


@pytest.mark.parametrize("name", ["parquet", "tars", "lhotse"])
def test_each_layout_gives_the_records_of_the_manifest(layouts, prepare, expected, name):
    assert prepare(layouts / name) == expected


def test_two_processes_give_the_records_of_one(layouts, prepare, expected):
    assert prepare(layouts / "parquet", "--workers", 2) == expected


@pytest.mark.parametrize("name", ["parquet", "tars"])
def test_a_layout_in_a_bucket_gives_the_same_records(layouts, prepare, expected, bucket, name):
    assert prepare(in_bucket(bucket, layouts / name)) == expected


def test_a_layout_may_be_named_and_its_split_chosen(layouts, prepare, expected, capsys):
    assert prepare(layouts / "parquet", "--layout", "huggingface", "--where", "split=train") == expected
    words = ["prepare", "speech", "--manifest", layouts / "parquet", "--layout", "webdataset"]
    assert main.main([*map(str, words), "--units", "u", "--out", "o"]) == 3
    assert "has no *.tar, plain or compressed; give a folder of WebDataset shards" in capsys.readouterr().err
