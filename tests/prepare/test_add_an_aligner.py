"""How to add an aligner, a synthesiser or an engine: one class, one `register`, and the command takes its name."""

import json

import pytest
from prepare_helpers import EvenAligner, ToneSynthesiser

from lst_jax.cli import main
from lst_jax.data import shards
from lst_jax.prepare.aligners import registry as aligners
from lst_jax.prepare.engines import registry as engines
from lst_jax.prepare.engines.local import Local
from lst_jax.prepare.synthesis import registry as synthesisers


class Backwards(Local):
    """Makes the last shard first."""

    def make_shards(self, out, maker, slices, tick):
        super().make_shards(out, maker, list(slices)[::-1], tick)


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr(aligners, "ALIGNERS", dict(aligners.ALIGNERS))
    monkeypatch.setattr(engines, "ENGINES", dict(engines.ENGINES))
    monkeypatch.setattr(synthesisers, "SYNTHESISERS", dict(synthesisers.SYNTHESISERS))


def lst(*words) -> int:
    return main.main([str(word) for word in words])


def test_an_aligner_and_an_engine_from_outside_prepare_a_corpus(tones, unit_file, tmp_path):
    aligners.register("even", lambda argument, settings: EvenAligner(f"even-{argument}"))
    engines.register("backwards", lambda workers, options: Backwards(workers))
    arguments = ["prepare", "speech", "--manifest", tones(4), "--units", unit_file, "--workers", 1]
    assert lst(*arguments, "--aligner", "even:1", "--shard-records", 2, "--out", tmp_path / "local") == 0
    arguments += ["--aligner", "even:1", "--shard-records", 2, "--engine", "backwards", "--out", tmp_path / "out"]
    assert lst(*arguments) == 0
    directory = shards.RecordDirectory(tmp_path / "out", "utterance")
    assert len(directory) == 4 and directory.metadata.aligner == "even-1"
    assert directory.metadata == shards.RecordDirectory(tmp_path / "local", "utterance").metadata
    with pytest.raises(ValueError, match="registered already"):
        aligners.register("ctm", lambda argument, settings: EvenAligner())
    with pytest.raises(ValueError, match="a name and a function"):
        engines.register("", Local)


def test_a_synthesiser_from_outside_speaks_texts(tmp_path):
    synthesisers.register("tones", lambda argument: ToneSynthesiser(rate=int(argument)))
    (tmp_path / "a.txt").write_text("one two three\n")
    arguments = ["--manifest", tmp_path / "a.txt", "--out", tmp_path / "out", "--workers", 1]
    assert lst("prepare", "synthesise", "--synthesiser", "tones:8000", *arguments) == 0
    (line,) = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    assert json.loads(line)["text"] == "one two three"
    with pytest.raises(ValueError, match="a name without a colon"):
        synthesisers.register("a:b", lambda argument: ToneSynthesiser())
