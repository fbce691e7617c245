"""`lst prepare synthesise` with a made-up synthesiser: what it writes suits `lst prepare speech`, whatever happens."""

import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from prepare_helpers import ToneSynthesiser

from lst_jax.cli import main
from lst_jax.core.errors import DataError, StorageError
from lst_jax.data import shards
from lst_jax.data.alignment import to_frames
from lst_jax.prepare import manifest, run, utterances
from lst_jax.prepare.aligners.registry import load_aligner
from lst_jax.prepare.synthesis import synthesise
from lst_jax.prepare.synthesis.registry import SYNTHESISERS

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from prepare_helpers import ToneSynthesiser
from lst_jax.prepare.synthesis import synthesise
from test_synthesis import texts
if __name__ == "__main__":
    synthesise.SHARD = 2
    synthesise.synthesise(texts(9), sys.argv[2], ToneSynthesiser(delay=0.1), ["low", "high"])
"""


def texts(count: int) -> list[utterances.Utterance]:
    return [
        utterances.Utterance(f"u{i}", f"number {i} of {count} tones.", {"split": "train" if i % 3 else "valid"})
        for i in range(count)
    ]


def contents(root: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(synthesise, "SHARD", 2)
    monkeypatch.setitem(SYNTHESISERS, "tones", lambda argument: ToneSynthesiser())


@pytest.fixture
def spoken(tmp_path) -> pathlib.Path:
    """A directory of nine utterances, made without a break."""
    synthesise.synthesise(texts(9), tmp_path / "spoken", ToneSynthesiser(), ["low", "high"])
    return tmp_path / "spoken"


def test_words_of_the_ctm_are_the_words_of_the_manifest_where_their_sound_is(spoken):
    items = manifest.read_items(spoken / "manifest.jsonl", {})
    aligner = load_aligner(f"ctm:{spoken / 'words.ctm'}")
    assert [item.id for item in items] == [f"u{i}" for i in range(9)]
    for item in items:
        samples, rate = soundfile.read(item.audio)
        assert rate == 16000 and samples.ndim == 1
        placed = aligner.align(item.id, samples, [])
        assert [word for word, *_ in placed] == item.text.split()
        inside = np.zeros(len(samples), bool)
        for word, start_sec, end_sec in placed:
            assert abs(end_sec - start_sec - 0.02 * len(word)) < 2e-4  # a tone's length
            inside[round(start_sec * rate) : round(end_sec * rate)] = True
        assert np.mean(samples[inside] ** 2) == pytest.approx(0.125, rel=0.02)  # of a sine of 0.5
        assert np.mean(samples[~inside] ** 2) < 1e-3  # what the resampler rings


def test_fields_are_carried_over_and_voices_belong_to_ids(spoken, tmp_path):
    lines = [json.loads(line) for line in (spoken / "manifest.jsonl").read_text().splitlines()]
    assert [line["split"] for line in lines] == ["valid", "train", "train"] * 3
    voices = {line["id"]: line["speaker"] for line in lines}
    assert set(voices.values()) == {"low", "high"}
    synthesise.synthesise(texts(9)[::-2], tmp_path / "fewer", ToneSynthesiser(), ["low", "high"])
    others = {item.id: item.speaker for item in manifest.read_items(tmp_path / "fewer" / "manifest.jsonl", {})}
    assert others == {name: voices[name] for name in others} and len(others) == 5


def test_prepare_speech_takes_it_as_it_is(spoken, unit_file, tmp_path):
    items = manifest.read_items(spoken / "manifest.jsonl", {"split": "train"})
    aligner = load_aligner(f"ctm:{spoken / 'words.ctm'}")
    report = run.prepare_speech(items, tmp_path / "speech", unit_file, aligner)
    assert not report.rejected and report.prepared == 6
    first = shards.RecordDirectory(tmp_path / "speech", "utterance")[0]
    assert first.words == to_frames(aligner.align("u1", np.zeros(10**6), []), 25.0, len(first.units))
    assert first.speaker == items[0].speaker


def test_workers_change_no_byte(spoken, tmp_path):
    synthesise.synthesise(texts(9), tmp_path / "two", ToneSynthesiser(), ["low", "high"], workers=2)
    assert contents(tmp_path / "two") == contents(spoken)


def test_kill_nine_then_the_same_bytes(spoken, tmp_path):
    out = tmp_path / "out"
    for shards_done in (0, 1, 3):
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(pathlib.Path(__file__).parent), str(out)])
        end = time.time() + 60
        while not ((out / "synthesis.json").exists() and len(list(out.glob("audio/[0-9]*/shard.json"))) >= shards_done):
            assert time.time() < end and process.poll() is None, "waited in vain"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (out / "manifest.jsonl").exists()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("audio/[0-9]*/*.flac")}
    assert len(kept) >= 6
    synthesise.synthesise(texts(9), out, ToneSynthesiser(), ["low", "high"])
    assert contents(out) == contents(spoken)
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())  # not made again


def test_a_finished_one_does_nothing_and_says_the_same(spoken):
    before = {path: path.stat().st_mtime_ns for path in spoken.glob("audio/*/*")}
    report = synthesise.synthesise(texts(9), spoken, ToneSynthesiser(), ["low", "high"])
    assert {path: path.stat().st_mtime_ns for path in spoken.glob("audio/*/*")} == before
    assert (report.utterances, report.words) == (9, 45) and sum(report.voices.values()) == 9


def test_another_input_is_refused_until_overwritten(spoken, tmp_path):
    for items, voices, differing in [(texts(8), ["low", "high"], "utterances"), (texts(9), ["low"], "voices")]:
        with pytest.raises(DataError, match=rf"was begun with another input \({differing} differ\)"):
            synthesise.synthesise(items, spoken, ToneSynthesiser(), voices)
    synthesise.synthesise(texts(3), spoken, ToneSynthesiser(), ["low"], overwrite=True)
    synthesise.synthesise(texts(3), tmp_path / "fresh", ToneSynthesiser(), ["low"])
    assert contents(spoken) == contents(tmp_path / "fresh")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="is not empty and has no synthesis.json; choose another directory"):
        synthesise.synthesise(texts(3), tmp_path / "mine", ToneSynthesiser(), ["low"], overwrite=True)


def test_what_cannot_be_spoken_is_left_out_and_counted(tmp_path):
    bad = {
        "unspeakable": "no tone",
        "mute": "no sound",
        "forgotten word": "bad times",
        "say sil": "cannot be written",
        "": "no spoken words",
    }
    items = [*texts(3), *(utterances.Utterance(f"bad{i}", text, {}) for i, text in enumerate(bad))]
    report = synthesise.synthesise(items, tmp_path / "out", ToneSynthesiser(), ["low"])
    assert report.utterances == 3 and [reason for reason, _ in report.rejected.values()] == list(bad.values())
    assert "; 5 left out (" in report.line() and "\n" not in report.line()
    again = synthesise.synthesise(items, tmp_path / "out", ToneSynthesiser(), ["low"])
    assert again == report
    with pytest.raises(DataError, match="none of 5 utterances could be spoken .bad0: it cannot be said, leave it out"):
        synthesise.synthesise(items[3:], tmp_path / "none", ToneSynthesiser(), ["low"])


def test_a_place_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/out/synthesis.json: cannot write"):
        synthesise.synthesise(texts(1), tmp_path / "file" / "out", ToneSynthesiser(), ["low"])


def test_the_command_reads_texts_and_continues(tmp_path, capsys):
    lines = [
        {"id": "d", "text": " ".join(["word"] * 30), "split": "train"},
        {"id": "e", "text": "left", "split": "test"},
    ]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = [
        "prepare",
        "synthesise",
        "--manifest",
        str(path),
        "--where",
        "split=train",
        "--out",
        str(tmp_path / "out"),
        "--synthesiser",
        "tones",
        "--voice",
        "high",
        "--workers",
        "1",
    ]
    for _ in range(2):
        assert main.main(arguments) == 0
        assert capsys.readouterr().out == f"{tmp_path / 'out'}: 2 utterances, 30 words, 0.00 h, 1 voice\n"
    assert [item.id for item in manifest.read_items(tmp_path / "out" / "manifest.jsonl", {})] == ["d-000", "d-001"]
    for change, message in [
        (["--voice", "middle"], "--voice middle: is no tone; use low or high"),
        (["--synthesiser", "trombone"], "must be espeak or flite or kokoro or tones; correct it"),
        (["--where", "split=none"], "no documents with {'split': 'none'}; add some or change the filter"),
        (["--words-max", "10"], "--words-min 8: must be at least 1 and"),
    ]:
        assert main.main([*arguments, *change]) == DataError.exit_code
        printed = capsys.readouterr().err.strip()
        assert message in printed and "\n" not in printed


def test_without_the_extra_the_error_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)  # as if it were not installed
    (tmp_path / "a.txt").write_text("some words\n")
    assert (
        main.main(["prepare", "synthesise", "--manifest", str(tmp_path / "a.txt"), "--out", str(tmp_path / "o")]) == 3
    )
    printed = capsys.readouterr().err.strip()
    assert "pip install -e '.[synthesis]'" in printed and "\n" not in printed
    assert not (tmp_path / "o").exists()


def test_a_shard_that_lost_its_account_is_made_again(spoken, tmp_path):
    shutil.copytree(spoken, tmp_path / "broken")
    (tmp_path / "broken" / "audio" / "00002" / "shard.json").unlink()
    (tmp_path / "broken" / "manifest.jsonl").unlink()
    (tmp_path / "broken" / "audio" / "00002" / "left.flac").write_text("over")
    synthesise.synthesise(texts(9), tmp_path / "broken", ToneSynthesiser(), ["low", "high"])
    assert contents(tmp_path / "broken") == contents(spoken)
