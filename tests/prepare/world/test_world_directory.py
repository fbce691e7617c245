"""`lst prepare world`: the same bytes after any stop, files that the other commands read, mistakes in one line."""

import collections
import pathlib
import re

import pytest
import world_cases
from prepare_helpers import ToneSynthesiser

from lst_jax.cli.main import main
from lst_jax.prepare.synthesis.registry import SYNTHESISERS
from lst_jax.prepare.world import facts, write

SMALL = ["--people", "48", "--hours", "0.01", "--text-times", "1", "--items", "2"]


def contents(root: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def small(tmp_path, capsys) -> pathlib.Path:
    assert main(["prepare", "world", "--out", str(tmp_path / "w"), *SMALL]) == 0
    assert "48 people, 384 facts (96 text, 96 speech, 96 both, 96 untold)" in capsys.readouterr().out
    return tmp_path / "w"


@pytest.mark.parametrize("stopped_before", ["speech.jsonl", "facts.jsonl", "tasks/hellaswag.jsonl", "report.json"])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(small, stopped_before):
    before = contents(small)
    order = [
        "speech.jsonl",
        "text.jsonl",
        "facts.jsonl",
        *(f"tasks/{k}.jsonl" for k in world_cases.KINDS),
        "report.json",
    ]
    for name in order[order.index(stopped_before) :]:
        (small / name).unlink()
    assert main(["prepare", "world", "--out", str(small), *SMALL]) == 0
    assert contents(small) == before


def test_a_finished_directory_is_left_alone(small, capsys):
    (small / "text.jsonl").write_text("left alone")
    assert main(["prepare", "world", "--out", str(small), *SMALL]) == 0
    assert (small / "text.jsonl").read_text() == "left alone" and "384 facts" in capsys.readouterr().out
    assert main(["prepare", "world", "--out", str(small), *SMALL, "--overwrite"]) == 0
    assert (small / "text.jsonl").read_text() != "left alone"


@pytest.mark.parametrize(
    "options, message",
    [
        (
            ["--seed", "1"],
            r"was begun with another input \(seed differ\); choose another directory or pass --overwrite",
        ),
        (["--hours", "nan"], "--hours nan: must be from 0.01 to 1000; correct it"),
        (["--items", "0"], "--items 0: must be from 1 to 100000; correct it"),
        (["--text-times", "-1"], "--text-times -1: must be from 0.1 to 100; correct it"),
        (["--list-share", "1.5"], "--list-share 1.5: must be from 0 to 1; correct it"),
        (["--people", "100"], "--people 100: must be a multiple of 16 from 48 to 576"),
    ],
)
def test_mistakes_are_one_line(small, options, message, capsys):
    assert main(["prepare", "world", "--out", str(small), *SMALL, *options]) == 3
    error = capsys.readouterr().err
    (line,) = [line for line in error.splitlines() if line.startswith("lst prepare")]
    assert re.search(message, line), line


def test_hours_and_texts_are_as_many_as_asked(world):
    spoken = sum(len(line["text"].split()) for line in world.speech if line["split"] == "train")
    written = sum(len(line["text"].split()) for line in world.text if line["split"] == "train")
    wanted = world_cases.SETTINGS.hours * write.WORDS_PER_HOUR
    assert wanted <= spoken < wanted + 100
    times = world_cases.SETTINGS.text_times
    assert times * wanted <= written < times * wanted + 300


def test_the_other_commands_take_the_files(small, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(SYNTHESISERS, "tones", lambda argument: ToneSynthesiser())
    speech, text = str(small / "speech.jsonl"), str(small / "text.jsonl")
    spoken = [*("--where", "split=valid"), *("--synthesiser", "tones"), *("--voice", "low"), *("--workers", "1")]
    assert (
        main(
            ["prepare", "synthesise", "--manifest", speech, *spoken, "--words-max", "80", "--out", str(tmp_path / "s")]
        )
        == 0
    )
    made = world_cases.lines(tmp_path / "s" / "manifest.jsonl")
    told = [line for line in world_cases.lines(small / "speech.jsonl") if line["split"] == "valid"]
    assert [(line["id"], line["text"]) for line in made] == [(line["id"], line["text"]) for line in told]
    assert main(["prepare", "text", "--manifest", text, "--workers", "1", "--out", str(tmp_path / "t")]) == 0


def test_a_world_of_four_relations_tells_and_asks_nothing_else(tmp_path, capsys):
    assert main(["prepare", "world", "--out", str(tmp_path / "w"), *SMALL, "--relations", "4"]) == 0
    assert "192 facts (48 text, 48 speech, 48 both, 48 untold)" in capsys.readouterr().out
    few = world_cases.read(tmp_path / "w")
    relations = {"food", "animal", "tool", "home"}
    assert {fact["relation"] for fact in few.facts} == relations
    assert {item["bands"]["relation"] for item in few.tasks["hellaswag"]} <= relations
    ways = collections.defaultdict(list)
    for fact in few.facts:
        ways[fact["subject"]].append(fact["told"])
    assert all(sorted(told) == sorted(facts.TOLD) for told in ways.values())


def test_lists_tell_facts_in_fewer_words(tmp_path, capsys):
    words_of = {}
    for share in ("0", "1"):
        options = ["--hours", "0.2", "--list-share", share, "--out", str(tmp_path / share)]
        assert main(["prepare", "world", *SMALL, *options]) == 0
        told = world_cases.read(tmp_path / share)
        tellings = sum(fact["tellings"]["speech"] for fact in told.facts)
        words_of[share] = sum(len(line["text"].split()) for line in told.speech if line["split"] == "train") / tellings
    assert 9 < words_of["1"] < 12 < 15 < words_of["0"] < 20
