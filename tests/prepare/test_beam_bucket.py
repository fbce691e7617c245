"""Beam workers that share nothing but a bucket make the bytes of the local engine."""

import json
import pathlib

import pytest
from prepare_helpers import EvenAligner, texts

from lst_jax.cli import main
from lst_jax.core.errors import DataError
from lst_jax.prepare.corpora import choose
from lst_jax.prepare.engines.registry import load_beam
from lst_jax.prepare.run import prepare_speech, prepare_text
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

pytest.importorskip("apache_beam")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("no_appends")]  # warnings are Beam's own
PROCESSES = ("direct_running_mode=multi_processing", "direct_num_workers=2")


@pytest.fixture
def corpus(prompts, unit_file, bucket, tmp_path):
    """The address of a folder of the bucket with a manifest of six lines, the recordings, and a unit tokenizer."""
    place = to_place(f"{bucket}/{tmp_path.name}")
    lines = []
    for number, item in enumerate([*prompts, *prompts]):
        audio = pathlib.Path(item.audio)
        objects.upload(audio, place / "audio" / audio.name)
        lines.append({"id": f"u{number}", "audio": f"../audio/{audio.name}", "text": item.text})
    lines[1]["audio"] = str(place / "audio" / pathlib.Path(prompts[1].audio).name)  # an address of its own
    lines[4]["audio"] = "../audio/gone.ogg"
    objects.write_text(place / "lists" / "m.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    objects.upload(unit_file, place / "units.safetensors")
    return place


def contents(place):
    return {name: objects.read_bytes(place / name) for name in objects.sizes(place)}


def test_speech_is_made_with_no_common_folder(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    words = ["prepare", "speech", "--manifest", str(corpus / "lists" / "m.jsonl"), "--shard-records", "2"]
    words += ["--units", str(corpus / "units.safetensors"), "--out"]
    assert main.main([*words, str(corpus / "local"), "--workers", "1"]) == 0
    beam = [word for option in PROCESSES for word in ("--beam-option", option)]
    assert main.main([*words, str(corpus / "beam"), "--engine", "beam", *beam]) == 0
    assert contents(corpus / "beam") == contents(corpus / "local")
    names = contents(corpus / "beam").keys()
    assert {"shard-00002-of-00003.array_record", "metadata.json"} <= names and not any("/" in name for name in names)
    sidecars = [
        json.loads(objects.read_bytes(corpus / "beam" / name))
        for name in names
        if name.startswith("shard-") and name.endswith(".json")
    ]
    assert [(r["id"], r["reason"]) for s in sidecars for r in s["rejected"]] == [("u4", "missing audio")]
    assert set(tmp_path.rglob("*")) == before


def test_words_of_files_lie_there_as_well(corpus, tmp_path, prompts):
    words = [(f"u{number}", item.text.split()) for number, item in enumerate([*prompts, *prompts])]
    lines = [f"{name} 1 {0.1 * i:.1f} 0.1 {word}" for name, spoken in words for i, word in enumerate(spoken)]
    objects.write_text(corpus / "words.ctm", "\n".join(lines) + "\n")
    command = [
        "prepare",
        "speech",
        "--manifest",
        str(corpus / "lists" / "m.jsonl"),
        "--aligner",
        f"ctm:{corpus}/words.ctm",
    ]
    command += ["--units", str(corpus / "units.safetensors"), "--out"]
    assert main.main([*command, str(corpus / "local"), "--workers", "1"]) == 0
    beam = [word for option in PROCESSES for word in ("--beam-option", option)]
    assert main.main([*command, str(corpus / "beam"), "--engine", "beam", *beam]) == 0
    assert contents(corpus / "beam") == contents(corpus / "local")


def test_parts_are_merged_there_too(corpus, tmp_path):
    found = choose.open_corpus([str(corpus / "lists" / "m.jsonl")], "speech")
    assert [part.size > 0 for part in found.parts(2)] == [True] * 3
    for name, engine in (("local", None), ("beam", load_beam({}))):
        options = {} if engine is None else {"engine": engine}
        prepare_speech(found, str(corpus / name), str(corpus / "units.safetensors"), EvenAligner(), **options)
    assert contents(corpus / "beam") == contents(corpus / "local")
    for number in range(3):
        text = "".join(json.dumps({"text": f"document {number} {i}"}) + "\n" for i in range(4))
        objects.write_text(corpus / "texts" / f"{number}.jsonl", text)
    for name, engine in (("text-local", None), ("text-beam", load_beam({}))):
        options = {} if engine is None else {"engine": engine}
        prepare_text(texts([str(corpus / "texts")]), str(corpus / name), **options)
    made = contents(corpus / "text-beam")
    assert made == contents(corpus / "text-local") and "shard-00000-of-00001.array_record" in made
    objects.write_text(corpus / "texts" / "1.jsonl", '{"text": "another"}\n')
    with pytest.raises(
        DataError, match="was prepared with documents=.* in part 00001-0000000 of gs://.*/texts/1.jsonl, now"
    ):
        prepare_text(texts([str(corpus / "texts")]), str(corpus / "text-beam"), load_beam({}))
