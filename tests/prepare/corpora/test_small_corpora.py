"""Ids are compared over a whole corpus only where they can be held in memory."""

import pathlib

import pytest

from lst_jax.prepare.corpora.corpus import COMPARED_BYTES, Corpus
from lst_jax.prepare.corpora.lines import JsonLines
from lst_jax.prepare.corpora.protocol import InputFile
from lst_jax.prepare.corpora.registry import Settings


@pytest.mark.parametrize("name, share", [("a.jsonl", 1), ("a.jsonl.gz", 4), ("a.jsonl.zst", 4), ("a.parquet", 4)])
def test_what_is_compressed_counts_as_more(name, share):
    for size, small in ((COMPARED_BYTES // share, True), (COMPARED_BYTES // share + 1, False)):
        file = InputFile(pathlib.Path(name), size, "1", name)
        assert Corpus("speech", [(JsonLines(Settings(), "speech"), [file])], name).is_small is small
