"""Speech that is made in a bucket, and what is made of it: the bytes of a disk, and a stopped run goes on."""

import json

import pytest
from prepare_helpers import ToneSynthesiser, sweep
from soundfile import write as write_sound

from lst_jax.cli import main
from lst_jax.prepare import spoken_task
from lst_jax.prepare.synthesis import synthesise
from lst_jax.prepare.synthesis.registry import SYNTHESISERS
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

pytestmark = pytest.mark.usefixtures("no_appends")


@pytest.fixture
def places(bucket, unit_file, tmp_path, monkeypatch):
    """A folder of this machine and one of a bucket, each with texts, a task and a unit tokenizer."""
    monkeypatch.setattr(synthesise, "SHARD", 2)
    monkeypatch.setattr(spoken_task, "SHARD", 2)
    monkeypatch.setitem(SYNTHESISERS, "tones", lambda argument: ToneSynthesiser())
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    found = [tmp_path / "local", to_place(f"{bucket}/{tmp_path.name}")]
    texts = [json.dumps({"id": f"d{i}", "text": f"number {i} of five tones."}) for i in range(5)]
    items = [
        json.dumps(
            {"id": f"i{n}", "choices": [{"text": f"one {n}", "name": "a"}, {"text": "two", "name": "b"}], "label": 0}
        )
        for n in range(3)
    ]
    for place in found:
        objects.upload(unit_file, place / "units.safetensors")
        objects.write_text(place / "texts.jsonl", "\n".join(texts) + "\n")
        objects.write_text(place / "task.jsonl", "\n".join(items) + "\n")
    yield found
    assert list((tmp_path / "empty").iterdir()) == []


def contents(place):
    return {name: objects.read_bytes(place / name) for name in objects.sizes(place)}


def run(*words):
    assert main.main([str(word) for word in words]) == 0


def synthesise_at(place):
    run(
        *("prepare", "synthesise", "--manifest", place / "texts.jsonl", "--out", place / "spoken"),
        *("--synthesiser", "tones", "--voice", "low", "--voice", "high", "--workers", 1),
    )


def test_speech_records_and_pictures_are_those_of_a_disk(places, capsys):
    for place in places:
        synthesise_at(place)
        units, records = place / "units.safetensors", place / "records"
        run(
            *("prepare", "speech", "--manifest", place / "spoken" / "manifest.jsonl", "--units", units, "--workers", 1),
            *("--aligner", f"ctm:{place / 'spoken' / 'words.ctm'}", "--out", records),
        )
        run(
            *(
                "inspect",
                records,
                "--picture",
                "d1",
                "--units",
                units,
                "--out",
                place / "d1.png",
                "--wav",
                place / "d1.wav",
            ),
            *("--audio", place / "spoken" / "manifest.jsonl"),
        )
    local, there = map(contents, places)
    assert there.keys() == local.keys()
    differing = {name for name in there if there[name] != local[name]}
    assert differing == {"records/shard-00000-of-00001.json"}  # which has the times of local recordings
    assert f"{places[1]}/spoken: 5 utterances" in capsys.readouterr().out


def test_a_synthesis_that_was_stopped_goes_on(places, monkeypatch):
    there = places[1]
    synthesise_at(there)
    whole = contents(there)
    for name in ("manifest.jsonl", "report.json", "audio/00001/shard.json"):
        objects.delete(there / "spoken" / name)
    made = []
    speak = ToneSynthesiser.speak
    monkeypatch.setattr(ToneSynthesiser, "speak", lambda *words: made.append(words[1]) or speak(*words))
    synthesise_at(there)
    assert contents(there) == whole and len(made) == 2


def test_spoken_tasks_are_those_of_a_disk(places):
    for place in places:
        for name in ("a", "b"):
            with objects.filling(place / "wav" / f"{name}.wav") as path:
                write_sound(path, sweep(0.5, 200 if name == "a" else 300), 16000, format="WAV")
        common = ["prepare", "spoken-task", "--task", f"mine={place / 'task.jsonl'}"]
        common += ["--units", place / "units.safetensors", "--workers", 1]
        run(*common, "--synthesiser", "tones", "--voice", "low", "--out", place / "spoken")
        run(*common, "--audio", place / "wav", "--out", place / "heard")
    local, there = map(contents, places)
    assert there == local and {"spoken/task.jsonl", "heard/task.jsonl", "heard/units/00001.json"} <= there.keys()
