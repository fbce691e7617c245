"""How to add an import format: a reader, one `register`, and `lst import` takes its name."""

import numpy as np
import pytest

from lst_jax.cli import main
from lst_jax.data import shards
from lst_jax.data.importers import base, registry
from lst_jax.data.importers.alignments import Alignment, AlignmentTable
from lst_jax.data.importers.formats import AlignmentFormat, Export, Option, UnitFormat
from lst_jax.data.records import Utterance, Word


def read_letters(path, units, on_bad):
    """Lines such as "u1 abba": each letter is a unit."""
    shift = int(units.options["shift"]) if "shift" in units.options else 0

    def parse(item):
        place, line = item
        name, letters = base.text_of(line).split()
        ids = np.array([ord(letter) - ord("a") + shift for letter in letters], np.uint16)
        return place, Utterance(name, ids, (), None, units.source)

    return base.unique(base.converted(base.items_of_lines(path), parse, on_bad), on_bad)


def write_letters(utterance, unit_rate):
    return f"{utterance.id} {''.join(chr(ord('a') + unit) for unit in utterance.units)}\n"


def open_words(path, first="1"):
    """Lines such as "u1 yes": one word, from second `first` on, of half a second."""
    items = {line.split()[0]: (place, line.split()[1]) for place, line in base.text_lines(path)}
    return AlignmentTable("one-word", items, lambda word: Alignment(((word, float(first), float(first) + 0.5),), None))


LETTERS = UnitFormat(
    "letters",
    "lines of letters",
    read_letters,
    unit_rate=2.0,
    codebook_size=26,
    options=(Option("shift", "added to every unit"),),
    export=Export("lines of letters", write_letters),
)
WORDS = AlignmentFormat("one_word", "lines of a word", open_words, options=(Option("first", "where it starts"),))


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr(registry, "UNIT_FORMATS", dict(registry.UNIT_FORMATS))
    monkeypatch.setattr(registry, "ALIGNMENT_FORMATS", dict(registry.ALIGNMENT_FORMATS))


def lst(*words) -> int:
    return main.main([str(word) for word in words])


def test_a_format_of_units_from_outside_comes_in_and_goes_out(tmp_path):
    registry.register(LETTERS)
    (tmp_path / "in.txt").write_text("u1 abba\nu2 zz\n")
    assert lst("import", "letters", tmp_path / "in.txt", "--out", tmp_path / "a", "--source", "mine") == 0
    directory = shards.RecordDirectory(tmp_path / "a", "utterance")
    assert [(u.id, u.units.tolist(), u.source) for u in directory] == [
        ("u1", [0, 1, 1, 0], "mine"),
        ("u2", [25, 25], "mine"),
    ]
    assert (directory.metadata.unit_rate, directory.metadata.codebook_size) == (2.0, 26)
    assert directory.metadata.aligner == "import/letters"
    assert lst("export", "letters", tmp_path / "a", "--out", tmp_path / "out.txt") == 0
    assert (tmp_path / "out.txt").read_text() == "u1 abba\nu2 zz\n"
    (tmp_path / "b.txt").write_text("u1 abba\n")
    assert lst("import", "letters", tmp_path / "b.txt", "--out", tmp_path / "b", "--shift", 3) == 0
    assert next(iter(shards.RecordDirectory(tmp_path / "b", "utterance"))).units.tolist() == [3, 4, 4, 3]


def test_a_format_of_words_from_outside_is_paired_with_units(tmp_path):
    registry.register(LETTERS)
    registry.register(WORDS)
    (tmp_path / "in.txt").write_text("u1 abba\n")
    (tmp_path / "words.txt").write_text("u1 yes\n")
    assert lst("import", "letters", tmp_path / "in.txt", "--out", tmp_path / "units") == 0
    arguments = ["--units", tmp_path / "units", "--out", tmp_path / "out", "--first", "0.5"]
    assert lst("import", "one_word", tmp_path / "words.txt", *arguments) == 0
    (utterance,) = shards.RecordDirectory(tmp_path / "out", "utterance")
    assert utterance.words == (Word("yes", 1, 2),)


def test_what_is_not_complete_or_not_new_fails_when_it_is_registered():
    with pytest.raises(ValueError, match="'units': the name is registered already"):
        registry.register(AlignmentFormat("units", "lines", open_words))
    with pytest.raises(ValueError, match="a reader are needed"):
        registry.register(UnitFormat("two words", "lines", read_letters))
