"""Files of tasks: public layouts in made-up files with the same columns, and our JSON lines there and back."""

import csv
import json

import numpy as np
import pytest

from lst_jax.core.errors import DataError
from lst_jax.data.records import Word
from lst_jax.data.tasks import items, registry, zerospeech
from lst_jax.data.tasks.items import Item, Part

LEXICAL = "id,filename,voice,frequency,word,phones,length_phones,correct"
SYNTACTIC = "id,filename,voice,type,subtype,transcription,correct"


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_hellaswag_lines_become_prompts_with_four_endings(tmp_path):
    fields = {
        "ind": 24,
        "activity_label": "Roof",
        "ctx_a": "A man is on a roof.",
        "ctx_b": "he",
        "ctx": "How to jog [title] Warm up. [step] A man is on a roof. he",
        "split": "val",
        "endings": ["walks [substeps] away.", "b", "c", "d"],
        "label": 3,
        "source_id": "x",
    }
    path = write(tmp_path / "hellaswag_val.jsonl", json.dumps(fields), json.dumps({**fields, "ind": 25, "label": ""}))
    task = registry.read_task("hellaswag", path)
    assert task.items[0].prompt.text == "How to jog. Warm up. A man is on a roof. he"
    assert [c.text for c in task.items[0].choices] == ["walks away.", "b", "c", "d"]
    assert [(i.id, i.label) for i in task.items] == [("24", 3), ("25", None)]


def test_storycloze_rows_become_prompts_of_four_sentences(tmp_path):
    columns = [
        "InputStoryid",
        *(f"InputSentence{i}" for i in range(1, 5)),
        "RandomFifthSentenceQuiz1",
        "RandomFifthSentenceQuiz2",
        "AnswerRightEnding",
    ]
    path = tmp_path / "cloze.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([columns, ["s1", "One.", "Two, too.", "Three.", "Four. ", "Right.", "Wrong.", "2"]])
    for name in ("storycloze", "topicstorycloze"):
        (item,) = registry.read_task(name, path).items
        assert (item.id, item.prompt.text, item.label) == ("s1", "One. Two, too. Three. Four.", 1)
        assert [c.text for c in item.choices] == ["Right.", "Wrong."]


def test_zerospeech_pairs_share_a_group_over_their_voices(tmp_path):
    path = write(
        tmp_path / "gold.csv",
        LEXICAL,
        "1,fA,v1,0,brick,b r,3,1",
        "1,fB,v1,0,blick,b l,3,0",
        "1,fC,v2,0,brick,b r,3,1",
        "1,fD,v2,0,blick,b l,3,0",
        "2,fE,v1,20,dog,d,3,0",
        "2,fF,v1,20,cat,k,3,1",
    )
    task = registry.read_task("swuggy", path)
    assert [(i.id, i.group, i.label, [c.name for c in i.choices]) for i in task.items] == [
        ("1-v1", "1", 0, ["fA", "fB"]),
        ("1-v2", "1", 0, ["fC", "fD"]),
        ("2-v1", "2", 0, ["fF", "fE"]),
    ]
    assert [i.bands["frequency"] for i in task.items] == ["oov", "oov", "21-100"]
    assert [i.bands["vocabulary"] for i in task.items] == ["oov", "oov", "known"]
    assert zerospeech.submission(task.items[2:], [[-1.5, -20.25]]) == "fF -1.5\nfE -20.25\n"
    path = write(tmp_path / "syntactic.csv", SYNTACTIC, "7,a,v,agreement,det,the cat,1", "7,b,v,agreement,det,a cats,0")
    (item,) = registry.read_task("sblimp", path).items
    assert dict(item.bands) == {"phenomenon": "agreement", "subtype": "det"}
    assert [c.text for c in item.choices] == ["the cat", "a cats"] and item.prompt is None


@pytest.mark.parametrize(
    "lines, said",
    [
        (("a,b", "1,2"), "gold.csv: has no column 'id'; is it the benchmark's file?"),
        (
            (LEXICAL, "1,fA,v1,0,brick,b r,3,1"),
            "line 2: id 1, voice v1 has one line; each must have one with correct=1 and one with 0",
        ),
        ((LEXICAL, "1,fA,v1,0,brick,b r,3"), "line 2: does not have the 8 columns of the first line; correct it"),
        (
            (LEXICAL, "1,fA,v1,often,brick,b r,3,1", "1,fB,v1,0,blick,b r,3,0"),
            "line 2: frequency=often: must be a number from 0 on; correct it",
        ),
    ],
)
def test_a_wrong_gold_file_is_one_line(tmp_path, lines, said):
    with pytest.raises(DataError) as error:
        registry.read_task("swuggy", write(tmp_path / "gold.csv", *lines))
    assert str(error.value).endswith(said) and "\n" not in str(error.value)


def test_our_lines_are_read_back_as_they_were(tmp_path):
    units = np.array([5, 5, 9], np.uint16)
    item = Item(
        "a",
        Part("é one", units, (Word("é", 0, 1), Word("one", 1, 3))),
        (Part("x", units[:1], (), "fA"), Part("y", units[1:], None)),
        1,
        "g",
        {"band": "b"},
    )
    path = write(tmp_path / "task.jsonl", json.dumps(items.line(item, 25.0, "abc")))
    task = registry.read_task("swuggy", path)
    assert (task.unit_rate, task.codebook) == (25.0, "abc")
    assert items.line(task.items[0], 25.0, "abc") == items.line(item, 25.0, "abc")
    assert task.items[0].prompt.words == item.prompt.words and task.items[0].choices[0].words == ()
    path = write(tmp_path / "plain.jsonl", '{"choices": ["a", {"text": "b"}]}')
    (plain,) = items.read(path).items
    assert (plain.id, plain.label, plain.prompt, plain.choices[0].text) == ("plain.jsonl:1", None, None, "a")


@pytest.mark.parametrize(
    "line, said",
    [
        ('{"choice": []}', "has the field 'choice'"),
        ('{"prompt": {"tekst": "a"}, "choices": ["a"]}', "prompt has the field 'tekst'"),
        ('{"choices": ["a", "b"], "label": 2}', "label=2: must be from 0 to the 2 choices less one"),
        ('{"choices": [{"units": [1, 70000]}]}', "units has 70000"),
        ('{"choices": [{"units": [1], "words": [["a", 0, 1]]}]}', "words: needs units, and unit_rate in the line"),
        ('{"choices": [{}]}', "has neither text nor units"),
        ("nonsense", "is not JSON"),
    ],
)
def test_a_wrong_line_is_one_line(tmp_path, line, said):
    with pytest.raises(DataError) as error:
        items.read(write(tmp_path / "task.jsonl", line))
    assert said in str(error.value) and "\n" not in str(error.value)


SMALLEST = {  # what a fuzzer found to end in a traceback
    "an ending that is null": (
        "hellaswag",
        "h.jsonl",
        '{"ctx": "a", "endings": [null, "c"]}',
        "endings must be a list of texts",
    ),
    "a frequency that is no number": (
        "swuggy",
        "gold.csv",
        f"{LEXICAL}\n1,fA,v1,nan,brick,b,3,1\n1,fB,v1,0,blick,b,3,0",
        "line 2: frequency=nan: must be a number from 0 on",
    ),
    "an endless frequency": (
        "swuggy",
        "gold.csv",
        f"{LEXICAL}\n1,fA,v1,1e999,brick,b,3,1\n1,fB,v1,0,blick,b,3,0",
        "line 2: frequency=1e999: must be a number from 0 on",
    ),
    "a field over 131,072 characters": (
        "swuggy",
        "gold.csv",
        f"{LEXICAL}\n1,fA,v1,0,{'k' * 131073},b,3,1",
        "line 2: cannot be read as CSV (field larger than field limit",
    ),
    "a quotation mark that is never closed": (
        "sblimp",
        "gold.csv",
        f'{SYNTACTIC}\n1,fA,v1,a,b,"{"the cat " * 20000}',
        "cannot be read as CSV (field larger than field limit",
    ),
    "a unit that is null": ("mine", "t.jsonl", '{"choices": [{"units": [1, null]}]}', "units has None"),
    "a rate beyond all numbers": (
        "mine",
        "t.jsonl",
        '{"choices": ["a"], "unit_rate": 1e999}',
        "is not JSON (the number 1e999 is too large)",
    ),
    "a rate of 400 digits": (
        "mine",
        "t.jsonl",
        '{"choices": ["a"], "unit_rate": 1' + "0" * 400 + "}",
        "has more than 64 bits",
    ),
    "a number of 5,000 digits": ("mine", "t.jsonl", '{"choices": ["a"], "label": ' + "9" * 5000 + "}", "is not JSON"),
    "brackets that are nested deeply": ("mine", "t.jsonl", "[" * 100000, "is not JSON"),
}


@pytest.mark.parametrize("what", SMALLEST)
def test_the_fuzzer_s_smallest_inputs_are_one_line(what, tmp_path):
    name, file, text, said = SMALLEST[what]
    with pytest.raises(DataError) as error:
        registry.read_task(name, write(tmp_path / file, text))
    assert said in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 400


def test_any_mutation_of_a_task_is_read_or_refused_in_one_line(tmp_path):
    seeds = {
        ("hellaswag", "h.jsonl"): '{"ind": 1, "ctx": "a [title] b", "endings": ["c", "d"], "label": 1}\n',
        ("swuggy", "gold.csv"): f"{LEXICAL}\n1,fA,v1,0,brick,b,3,1\n1,fB,v1,7,blick,b,3,0\n",
        ("mine", "t.jsonl"): json.dumps(
            {"prompt": {"text": "a", "units": [1, 2], "words": [["a", 0.0, 0.08]]}, "choices": ["b"], "unit_rate": 25}
        ),
    }
    rng = np.random.default_rng(0)
    inserts = [
        "null",
        "nan",
        "1e999",
        "[",
        "]",
        "{",
        '"',
        ",",
        "-1",
        "0",
        "true",
        "\\ud800",
        "\r",
        "\x00",
        "é",
        "9" * 30,
    ]
    for (name, file), text in seeds.items():
        for _ in range(400):
            mutated = text
            for _ in range(int(rng.integers(1, 4))):
                at, end = sorted(int(n) for n in rng.integers(0, len(mutated) + 1, 2))
                end = min(end, at + 6)
                mutated = mutated[:at] + str(rng.choice(["", *inserts])) + mutated[end:]
            (tmp_path / file).write_text(mutated, encoding="utf-8")
            try:
                registry.read_task(name, tmp_path / file)
            except DataError as error:
                assert "\n" not in str(error), mutated
