"""Items become shards: what is in them, what is left out and why, whoever does the work."""

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from prepare_helpers import EvenAligner, sweep, texts

from lst_jax.core.errors import DataError
from lst_jax.data import shards, text
from lst_jax.data.records import TextDocument, Word
from lst_jax.prepare import fit, manifest, recordings, run
from lst_jax.prepare.aligners import pocket_sphinx
from lst_jax.prepare.directory import Directory
from lst_jax.prepare.engines.local import Local
from lst_jax.prepare.merging import Size
from lst_jax.prepare.speech_tokenizers.log_mel_kmeans import LogMelKMeans


def contents(directory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_records_hold_units_words_and_speaker_and_metadata_says_how(tones, unit_file, tmp_path):
    items = manifest.read_items(tones(5), {})
    report = run.prepare_speech(items, tmp_path / "out", unit_file, EvenAligner(), shard_records=2, source="tones")
    directory = shards.RecordDirectory(tmp_path / "out", "utterance")
    directory.verify()
    tokenizer = LogMelKMeans.load(unit_file)
    assert [u.id for u in directory] == [i.id for i in items]
    for item, utterance in zip(items, directory, strict=True):
        np.testing.assert_array_equal(utterance.units, tokenizer.encode(recordings.load_audio(item.audio), 16000))
        frames, first = len(utterance.units), utterance.words[0]
        assert utterance.words == (
            Word("tone", 0, first.end_frame),
            Word(item.text.split()[1], first.end_frame, frames),
        )
        assert abs(first.end_frame - frames / 2) <= 1 and utterance.source == "tones"
    m = directory.metadata
    assert [s.records for s in m.shards] == [2, 2, 1]
    assert (m.records, m.words, m.frames) == (5, 10, sum(len(u.units) for u in directory))
    assert (m.unit_rate, m.codebook_size, m.codebook_fingerprint) == (25.0, 12, tokenizer.fingerprint)
    assert m.aligner == "even" and report.prepared == 5
    assert report.guessed_words == {f"number{i}": 1 for i in range(5)}


def test_the_number_of_workers_changes_no_byte(prompts, unit_file, tmp_path):
    items = [manifest.Item(f"{item.id}-{i}", item.audio, item.text, item.speaker) for i in range(6) for item in prompts]
    items[4] = manifest.Item("wrong", items[4].audio, "seventeen purple elephants danced slowly", None)
    for workers in (1, 2):
        run.prepare_speech(
            items,
            tmp_path / str(workers),
            unit_file,
            pocket_sphinx.PocketSphinxAligner(),
            Local(workers),
            shard_records=7,
        )
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert len(contents(tmp_path / "1")) == 3 * 2 + 3


def bad_items(tmp_path, tones):
    items = manifest.read_items(tones(8), {})
    soundfile.write(tmp_path / "nan.wav", np.full(16000, np.nan), 16000, subtype="FLOAT")
    (tmp_path / "junk.wav").write_text("junk")
    soundfile.write(tmp_path / "brief.wav", sweep(0.05, 300), 16000)
    return items + [
        manifest.Item("gone", tmp_path / "gone.wav", "two words", None),
        manifest.Item("junk", tmp_path / "junk.wav", "two words", None),
        manifest.Item("nan", tmp_path / "nan.wav", "two words", None),
        manifest.Item("empty", items[0].audio, "", None),
        manifest.Item("crowded", tmp_path / "brief.wav", "five words in one frame", None),
    ]


def test_bad_items_are_left_out_and_every_one_is_reported(tones, unit_file, tmp_path):
    report = run.prepare_speech(bad_items(tmp_path, tones), tmp_path / "out", unit_file, EvenAligner(), shard_records=4)
    assert [u.id for u in shards.RecordDirectory(tmp_path / "out", "utterance")] == [f"tone{i:02d}" for i in range(8)]
    stored = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (stored["items"], stored["prepared"], stored["rejected"]) == (13, 8, 5)
    assert {r: (c["count"], list(c["examples"])) for r, c in stored["reasons"].items()} == {
        "missing audio": (1, ["gone"]),
        "unreadable audio": (1, ["junk"]),
        "NaN audio": (1, ["nan"]),
        "empty transcript": (1, ["empty"]),
        "more words than frames": (1, ["crowded"]),
    }
    line = report.line()
    assert "8 prepared, 5 rejected" in line and "1 NaN audio" in line and "\n" not in line


def test_text_that_is_not_what_is_said_is_rejected(prompts, unit_file, tmp_path):
    wrong = manifest.Item("wrong", prompts[0].audio, "seventeen purple elephants danced slowly", None)
    report = run.prepare_speech([*prompts, wrong], tmp_path / "out", unit_file, pocket_sphinx.PocketSphinxAligner())
    assert [(r.id, r.reason in ("poor match", "alignment failed")) for r in report.examples] == [("wrong", True)]


def test_too_many_rejections_end_with_an_error_but_keep_the_rest(tones, unit_file, tmp_path):
    items = bad_items(tmp_path, tones)[4:]
    with pytest.raises(DataError, match=r"5 of 9 items were rejected, 1 for .*raise --max-rejected") as caught:
        run.prepare_speech(items, tmp_path / "out", unit_file, EvenAligner())
    assert "\n" not in str(caught.value)
    assert len(shards.RecordDirectory(tmp_path / "out", "utterance")) == 4
    assert run.prepare_speech(items, tmp_path / "out", unit_file, EvenAligner(), max_rejected=0.6).prepared == 4
    with pytest.raises(DataError, match="5 of 5 items were rejected"):
        run.prepare_speech(items[4:], tmp_path / "none", unit_file, EvenAligner(), max_rejected=1.0)
    assert not (tmp_path / "none" / "metadata.json").exists()


def test_another_input_is_refused_naming_what_differs_until_overwritten(tones, unit_file, tmp_path):
    items, out = manifest.read_items(tones(3), {}), tmp_path / "out"

    def prepare(items=items, aligner="even", shard_records=2, **options):
        return run.prepare_speech(items, out, unit_file, EvenAligner(aligner), shard_records=shard_records, **options)

    prepare()
    first = contents(out)
    for change, field in [
        ({"aligner": "odd"}, "aligner='even', now it is 'odd'"),
        ({"shard_records": 3}, "shard_records=2"),
        ({"items": items[:2]}, "transcripts="),
        ({"source": "x"}, "source=None, now it is 'x'"),
    ]:
        with pytest.raises(DataError, match=f"out: was prepared with {field}.*--overwrite"):
            prepare(**change)
    soundfile.write(items[1].audio, sweep(0.5, 700), 16000)
    with pytest.raises(DataError, match="was prepared with audio_files="):
        prepare()
    assert contents(out) == first
    (out / "mine.txt").write_text("kept")
    prepare(shard_records=3, overwrite=True)
    assert "mine.txt" in contents(out) and "shard-00000-of-00001.array_record" in contents(out)
    assert not any("of-00002" in name for name in contents(out))
    shards.RecordDirectory(out, "utterance").verify()


def test_a_directory_of_something_else_is_left_alone(tones, unit_file, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("long")
    with pytest.raises(DataError, match="is not empty and has no prepare.json; choose another"):
        run.prepare_speech(manifest.read_items(tones(1), {}), tmp_path / "mine", unit_file, EvenAligner())
    (tmp_path / "mine" / "prepare.json").write_text("[]")
    with pytest.raises(DataError, match="is not the JSON object"):
        run.prepare_speech(manifest.read_items(tones(1), {}), tmp_path / "mine", unit_file, EvenAligner())
    with pytest.raises(DataError, match="shard_records=0: must be at least 1"):
        Directory(tmp_path / "x", {}, Size(records=0), False, "transcripts")


def test_text_directories(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"id": f"d{i}", "text": t}) + "\n" for i, t in enumerate(["one two", " ", "three"]))
    )
    (tmp_path / "b.txt").write_text("four five six\n")
    report = run.prepare_text(texts([tmp_path / "a.jsonl"]), tmp_path / "one", shard_records=2)
    directory = shards.RecordDirectory(tmp_path / "one", "text")
    directory.verify()
    assert list(directory) == [TextDocument("d0", "one two"), TextDocument("d2", "three")]
    assert (directory.metadata.words, directory.metadata.frames, directory.metadata.unit_rate) == (3, 0, None)
    assert report.reasons() == [("empty document", 1)]
    with pytest.raises(DataError, match="d0: two documents have this id"):
        run.prepare_text(texts([tmp_path / "a.jsonl"] * 2), tmp_path / "two")
    with pytest.raises(DataError, match="no documents"):
        (tmp_path / "c.txt").write_text("\n")
        run.prepare_text(texts([tmp_path / "c.txt"]), tmp_path / "three")
    run.prepare_text(texts([tmp_path / "b.txt"]), tmp_path / "four")
    with pytest.raises(DataError, match="was prepared with documents="):
        run.prepare_text(texts([tmp_path / "a.jsonl"]), tmp_path / "four")


def test_fitting_does_not_depend_on_workers_and_counts_what_it_could_not_read(tones, tmp_path):
    items = [*manifest.read_items(tones(9), {}), manifest.Item("gone", tmp_path / "gone.wav", "x", None)]
    for workers in (1, 2):
        _, frames, rejected = fit.fit_units(items, tmp_path / f"{workers}.safetensors", 5, 0, workers)
        assert frames == sum(len(LogMelKMeans.features(recordings.load_audio(i.audio))) for i in items[:9])
        assert [(r.id, r.reason) for r in rejected] == [("gone", "missing audio")]
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()
    _, frames, _ = fit.fit_units(items, tmp_path / "few.safetensors", 5, 0, max_frames=20)
    assert 20 <= frames < 35
    with pytest.raises(DataError, match="few.safetensors: is there already"):
        fit.fit_units(items, tmp_path / "few.safetensors", 5, 0)


def test_training_a_text_tokenizer(tmp_path):
    texts = [f"the number {i} is followed by the number {i + 1}" for i in range(50)]
    fit.train_text_tokenizer(texts, tmp_path / "new" / "t.model", 300)
    assert text.load_tokenizer(tmp_path / "new" / "t.model").get_piece_size() == 300
    with pytest.raises(DataError, match="is there already"):
        fit.train_text_tokenizer(texts, tmp_path / "new" / "t.model", 300)
    with pytest.raises(DataError, match="t2.model: no tokenizer of 99999 pieces"):
        fit.train_text_tokenizer(texts, tmp_path / "t2.model", 99999)
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


def test_importing_the_whole_package_loads_no_jax():
    code = "import sys, lst_jax.cli.prepare; sys.exit('jax' in sys.modules or 'flax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_shard_that_went_elsewhere_is_noticed(tones, unit_file, tmp_path):
    class Elsewhere(Local):
        def make_parts(self, work, parts, tick):
            super().make_parts(work, list(parts)[1:], tick)

    with pytest.raises(DataError, match="part 00000-0000000 is not there though its maker ended well"):
        run.prepare_speech(
            manifest.read_items(tones(3), {}), tmp_path / "out", unit_file, EvenAligner(), Elsewhere(), shard_records=2
        )
    assert not (tmp_path / "out" / "metadata.json").exists()
