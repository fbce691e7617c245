"""How to add a layout of corpora: one reader, one `register`, and `--layout` takes its name."""

import dataclasses
import json

import pytest
from prepare_helpers import EvenAligner

from lst_jax.cli import main
from lst_jax.data import shards
from lst_jax.data.importers.formats import Option
from lst_jax.prepare.aligners import registry as aligners
from lst_jax.prepare.corpora import line_parts, listing, reading, registry
from lst_jax.prepare.corpora.protocol import Item
from lst_jax.prepare.corpora.registry import Layout, Settings


@dataclasses.dataclass(frozen=True)
class Subtitles:
    """Lines `FILE<tab>WORDS` of talks.tab, whose recordings lie beside it."""

    settings: Settings
    name = "talks"

    def files(self, place):
        return listing.input_files(place, lambda path: path == "talks.tab")

    def parts(self, file, number, part_items):
        return line_parts.parts(file, number, part_items)

    def read(self, part):
        def items(line, where):
            name, text = line.split("\t")
            speaker = self.settings.options.get("talker")
            yield Item(name, part.place.parent / f"{name}.wav", reading.plain(text), speaker, place=where)

        return reading.items_of(line_parts.lines(part, skip_bad=True), self.settings, items)


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr(registry, "LAYOUTS", dict(registry.LAYOUTS))
    monkeypatch.setattr(aligners, "ALIGNERS", dict(aligners.ALIGNERS))


@pytest.mark.parametrize("named", [True, False])
def test_a_layout_from_outside_is_prepared(tones, unit_file, tmp_path, named):
    talker = Option("talker", "who talks", metavar="NAME")
    what = "talks.tab beside recordings"
    registry.register(
        Layout("talks", what, "speech", Subtitles, (talker,), is_at=lambda place: (place / "talks.tab").is_file())
    )
    aligners.register("even", lambda argument, settings: EvenAligner("even"))
    fields = [json.loads(line) for line in tones(3).read_text().splitlines()]
    lines = [f"{one['id']}\t{one['text']}\n" for one in fields]
    (tmp_path / "audio" / "talks.tab").write_text("".join(lines))
    words = ["prepare", "speech", "--manifest", tmp_path / "audio", "--units", unit_file, "--aligner", "even"]
    words += ["--talker", "ann", "--workers", 1, "--out", tmp_path / "out"]
    words += ["--layout", "talks"] if named else []
    assert main.main([str(word) for word in words]) == 0
    made = list(shards.RecordDirectory(tmp_path / "out", "utterance"))
    assert [(one.id, one.speaker) for one in made] == [(one["id"], "ann") for one in fields]


def test_a_layout_that_is_not_complete_or_not_new_is_refused():
    with pytest.raises(ValueError, match="a name, what it is, and a function"):
        registry.register(Layout("talks", "", "speech", Subtitles))
    with pytest.raises(ValueError, match="registered already"):
        registry.register(Layout("jsonl", "lines", "speech", Subtitles))
