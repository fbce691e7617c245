"""`lst prepare spoken-task`: units of what a synthesiser says or of a folder of audio, resumable, item by item."""

import json
import pathlib

import numpy as np
import pytest
import soundfile
from prepare_helpers import ToneSynthesiser, sweep

from lst_jax.cli import main
from lst_jax.core.errors import DataError
from lst_jax.data.tasks import items, registry
from lst_jax.data.tasks.items import Item, Part, Task
from lst_jax.prepare import recordings, spoken_task
from lst_jax.prepare.speech_tokenizers.registry import load_unit_tokenizer
from lst_jax.prepare.synthesis.registry import SYNTHESISERS


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(spoken_task, "SHARD", 2)
    monkeypatch.setitem(SYNTHESISERS, "tones", lambda argument: ToneSynthesiser())


def make_task(count=6):
    choices = (Part("one ending"), Part("another -- ending"))
    return Task(tuple(Item(f"item {n}", Part(f"Prompt number {n}."), choices, n % 2) for n in range(count)))


def contents(root: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_parts_are_spoken_apart_in_one_voice_an_item_and_words_have_their_times(tmp_path, unit_file):
    report = spoken_task.speak(make_task(), tmp_path / "out", unit_file, ToneSynthesiser(), ["low", "high"])
    task, tokenizer = items.read(tmp_path / "out" / "task.jsonl"), load_unit_tokenizer(unit_file)
    assert (report.items, report.parts, report.rejected) == (6, 18, {})
    assert (task.unit_rate, task.codebook) == (25.0, tokenizer.fingerprint)
    assert [(i.id, i.label) for i in task.items] == [(f"item {n}", n % 2) for n in range(6)]
    used = set()
    for number, item in enumerate(task.items):
        voices = [
            path.parent.name
            for path in (tmp_path / "out" / "spoken").glob("*/manifest.jsonl")
            if f'"{number:06d}-prompt"' in path.read_text()
        ]
        assert len(voices) == 1
        used |= set(voices)
        for _, part in items.parts(item):
            spoken = ToneSynthesiser().speak(part.text.replace("-- ", ""), voices[0])
            assert len(part.units) == round(len(spoken.samples) / spoken.rate * 25)
            assert [w.text for w in part.words] == part.text.replace("-- ", "").split()
            assert abs(part.words[-1].start_frame / 25 - spoken.words[-1][0]) <= 0.5 / 25 + 1e-9
    assert used == {"low", "high"}


def test_what_cannot_be_spoken_leaves_its_item_out_and_a_killed_run_ends_with_the_same_bytes(tmp_path, unit_file):
    task = make_task()
    wrong = Item("bad", Part("fine"), (Part("unspeakable word"), Part("good")), 0)
    task = Task((*task.items[:2], wrong, *task.items[2:]))
    report = spoken_task.speak(task, tmp_path / "whole", unit_file, ToneSynthesiser(), ["low"])
    assert report.items == 6 and list(report.rejected) == ["bad"] and "1 no tone" in report.line()
    spoken_task.speak(task, tmp_path / "killed", unit_file, ToneSynthesiser(), ["low"])
    for name in ("task.jsonl", "report.json", "units/00001.json"):
        (tmp_path / "killed" / name).unlink()
    spoken_task.speak(task, tmp_path / "killed", unit_file, ToneSynthesiser(), ["low"])
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    with pytest.raises(DataError, match="begun with another input"):
        spoken_task.speak(make_task(3), tmp_path / "whole", unit_file, ToneSynthesiser(), ["low"])
    with pytest.raises(DataError, match="prompt has no text to speak"):
        spoken_task.speak(
            Task((Item("x", Part(None, name="f"), (Part("a"),), None),)),
            tmp_path / "x",
            unit_file,
            ToneSynthesiser(),
            ["low"],
        )


def test_a_zerospeech_list_takes_its_audio_from_a_folder(tmp_path, unit_file, capsys):
    (tmp_path / "wav").mkdir()
    for i, name in enumerate(("fA", "fB", "fC", "fD")):
        soundfile.write(tmp_path / "wav" / f"{name}.wav", sweep(0.4 + 0.1 * i, 200 + 100 * i), 16000)
    gold = tmp_path / "gold.csv"
    gold.write_text(
        "id,filename,voice,frequency,word,phones,length_phones,correct\n1,fA,v1,3,brick,b,1,1\n"
        "1,fB,v1,3,blick,b,1,0\n2,fC,v1,3,dog,b,1,0\n2,fD,v1,3,cat,b,1,1\n"
    )
    arguments = [
        "prepare",
        "spoken-task",
        "--task",
        f"swuggy={gold}",
        "--units",
        str(unit_file),
        "--audio",
        str(tmp_path / "wav"),
        "--out",
        str(tmp_path / "out"),
        "--workers",
        "1",
    ]
    assert main.main([*arguments, "--task", f"swuggy={gold}"]) == 3 and not (tmp_path / "out").exists()
    assert main.main(arguments) == 0
    assert "2 items, 4 prompts and choices" in capsys.readouterr().out
    task = items.read(tmp_path / "out" / "task.jsonl")
    expected = load_unit_tokenizer(unit_file).encode(recordings.load_audio(tmp_path / "wav" / "fD.wav"), 16000)
    np.testing.assert_array_equal(task.items[1].choices[0].units, expected)
    assert task.items[1].choices[0].name == "fD" and task.items[1].choices[0].words is None
    assert json.loads((tmp_path / "out" / "report.json").read_text())["parts"] == 4
    (tmp_path / "wav" / "fB.wav").unlink()
    assert main.main([*arguments[:-3], str(tmp_path / "other"), *arguments[-2:]]) == DataError.exit_code
    assert "no fB.wav" in capsys.readouterr().err
    assert main.main([*arguments, "--voice", "low"]) == DataError.exit_code
    assert "--voice: nothing is spoken where --audio is given" in capsys.readouterr().err


def test_benchmarks_that_are_folders_of_recordings_bring_their_audio(tmp_path, unit_file, capsys):
    """Two tasks by one command, each with the recordings in its own folders."""
    salmon, stories = tmp_path / "salmon_benchmark", tmp_path / "tSC"
    names = [f"{part}/sample_3_{i}" for part in ("bg_alignment", "gender_consistency") for i in (0, 1)]
    for i, path in enumerate([*(salmon / name for name in names), stories / "0_a_correct", stories / "1_a_incorrect"]):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path.with_name(f"{path.name}.wav"), sweep(0.4 + 0.1 * i, 200 + 100 * i), 16000)
    arguments = ["prepare", "spoken-task", "--units", str(unit_file), "--out", str(tmp_path / "out"), "--workers", "1"]
    given = ["--task", f"salmon={salmon}", "--task", f"tstorycloze={stories}"]
    assert main.main([*arguments, *given, "--voice", "low"]) == DataError.exit_code
    assert "--voice: nothing is spoken where --audio is given, or the task is a folder" in capsys.readouterr().err
    assert main.main([*arguments, *given]) == 0
    shown = capsys.readouterr().out
    assert "2 items, 4 prompts and choices" in shown and "1 items, 2 prompts and choices" in shown
    tokenizer = load_unit_tokenizer(unit_file)
    for name, folder in (("salmon", salmon), ("tstorycloze", stories)):
        task = registry.read_task(name, tmp_path / "out" / name / "task.jsonl")
        for choice in (choice for item in task.items for choice in item.choices):
            expected = tokenizer.encode(recordings.load_audio(folder / f"{choice.name}.wav"), 16000)
            np.testing.assert_array_equal(choice.units, expected)
        assert [item.label for item in task.items] == [0] * len(task.items)
    assert [dict(item.bands) for item in registry.read_task("salmon", tmp_path / "out/salmon/task.jsonl").items] == [
        {"part": "bg_alignment"},
        {"part": "gender_consistency"},
    ]


def test_audio_is_never_taken_from_outside_its_folder(tmp_path, unit_file):
    (tmp_path / "wav").mkdir()
    soundfile.write(tmp_path / "secret.wav", sweep(0.5, 300), 16000)
    for name in ("../secret", str(tmp_path / "secret")):
        task = Task((Item("x", None, (Part(None, name=name), Part(None, name=name)), 0),))
        with pytest.raises(DataError, match="item x: choice0: no "):
            spoken_task.listen(task, tmp_path / "out", unit_file, tmp_path / "wav")
