"""The registry of layouts."""

import pathlib

import pytest

from lst_jax.prepare.corpora import layouts as _registered  # noqa: F401
from lst_jax.prepare.corpora import ljspeech, registry
from lst_jax.prepare.corpora.registry import Layout

DOCUMENT = pathlib.Path(__file__).parents[3] / "docs" / "formats_external.md"


def test_every_named_corpus_is_in_the_table_of_what_goes_in():
    rows = {line.split("`")[1] for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")}
    books = "librispeech mls librilight ljspeech vctk common-voice".split()
    others = "peoples-speech spotify gigaspeech nemo kaldi espnet speechbrain mfa".split()
    assert {*books, *others} <= rows & {name for kind, name in registry.LAYOUTS if kind == "speech"}


def test_a_layout_that_is_not_complete_or_not_new_is_refused(monkeypatch):
    monkeypatch.setattr(registry, "LAYOUTS", dict(registry.LAYOUTS))
    with pytest.raises(ValueError, match="a name, what it is, and a function"):
        registry.register(Layout("talks", "", "speech", ljspeech.LjSpeech))
    with pytest.raises(ValueError, match="registered already"):
        registry.register(Layout("ljspeech", "one table", "speech", ljspeech.LjSpeech))
