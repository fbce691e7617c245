"""Corpora of texts as they are published, through the command: what goes in, and what is counted as left out."""

import gzip
import json

import pytest
import zstandard
from corpus_files import in_bucket, write_parquet

from lst_jax.cli import main
from lst_jax.data import shards

C4 = {"text": "Beginners BBQ Class\nTaking Place!", "timestamp": "2019-04-25T12:57:54Z", "url": "https://klyq.com/bbq/"}
DOLMA = {
    "id": "b0f5-1",
    "text": "A document of Dolma.",
    "source": "common-crawl",
    "added": "2023-06-01T00:00:00.000Z",
    "created": "2020-01-01T00:00:00.000Z",
    "metadata": {"url": "http://a.org", "length": 20},
}
DCLM = {
    "bff_contained_ngram_count_before_dedupe": 1,
    "language_id_whole_page_fasttext": {"en": 0.98},
    "metadata": {"Content-Length": "100", "WARC-Type": "response"},
    "previous_word_count": 4,
    "text": "A page of DCLM.",
    "url": "http://b.org/",
    "warcinfo": "robots: classic",
    "fasttext_openhermes_reddit_eli5_vs_rw_v2_bigram_200k_train_prob": 0.2,
}
FINEWEB = {
    "text": "A page of FineWeb.",
    "id": "<urn:uuid:1>",
    "dump": "CC-MAIN-2024-10",
    "url": "http://c.org",
    "token_count": 5,
}


def lines(*documents) -> bytes:
    return "".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in documents).encode()


@pytest.fixture
def published(tmp_path):
    """The four corpora, two files of C4; each has documents that nothing can be made of."""
    root = tmp_path / "published"
    files = {
        "c4/en/c4-train.00000-of-01024.json.gz": gzip.compress(lines(C4, C4 | {"text": ""})),
        "c4/en/c4-train.00001-of-01024.json.gz": gzip.compress(lines(C4 | {"text": "Other."}, C4 | {"text": "\ud800"})),
        "dolma/cc_en_head-0000.json.gz": gzip.compress(lines(DOLMA, DOLMA | {"id": "b0f5-2", "text": 5}, "{")),
        "dclm/global-shard_01_of_10/local-shard_0_of_10/shard_00000000_processed.jsonl.zst": zstandard.compress(
            lines(DCLM, DCLM | {"text": "Second."}) + b'{"text": "\xff"}\n'
        ),
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    rows = [FINEWEB, FINEWEB | {"id": "<urn:uuid:2>", "text": None}]
    write_parquet(root / "fineweb/data/CC-MAIN-2024-10/000_00000.parquet", rows)
    return root


def prepared(out, *words):
    """(ids and texts, counts of what was left out by reason) of a run of the command."""
    assert main.main(["prepare", "text", *map(str, words), "--out", str(out), "--max-rejected", "1"]) == 0
    report = json.loads((out / "report.json").read_text())
    reasons = {reason: found["count"] for reason, found in report["reasons"].items()}
    return {one.id: one.text for one in shards.RecordDirectory(out, "text")}, reasons


@pytest.mark.parametrize(
    ("name", "documents", "reasons"),
    [
        (
            "c4/en",
            {"c4-train.00000-of-01024.json.gz:1": C4["text"], "c4-train.00001-of-01024.json.gz:1": "Other."},
            {"empty document": 1, "not text": 1},
        ),
        ("dolma", {"b0f5-1": DOLMA["text"]}, {"wrong type": 1, "not JSON": 1}),
        (
            "dclm",
            {
                "shard_00000000_processed.jsonl.zst:1": DCLM["text"],
                "shard_00000000_processed.jsonl.zst:2": "Second.",
            },
            {"not UTF-8": 1},
        ),
        ("fineweb", {"<urn:uuid:1>": FINEWEB["text"]}, {"wrong type": 1}),
    ],
)
def test_a_published_corpus_goes_in_as_it_is(published, tmp_path, name, documents, reasons):
    assert prepared(tmp_path / "out", "--manifest", published / name, "--skip-bad") == (documents, reasons)


def test_all_of_them_go_in_together_and_from_a_bucket(published, tmp_path, bucket):
    address = in_bucket(bucket, published)
    corpora = ("c4/en", "dolma", "dclm", "fineweb")
    here = [word for name in corpora for word in ("--manifest", published / name)]
    there = [word for name in corpora for word in ("--manifest", f"{address}/{name}")]
    found = prepared(tmp_path / "here", *here, "--skip-bad")
    assert len(found[0]) == 6
    assert prepared(tmp_path / "there", *there, "--skip-bad") == found


def test_the_field_of_the_text_has_a_name_of_its_own(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines({"content": "One."}, {"content": "Two."}))
    write_parquet(tmp_path / "b.parquet", [{"content": "Three.", "title": "x"}])
    words = ["--manifest", tmp_path / "a.jsonl", "--manifest", tmp_path / "b.parquet", "--text-field", "content"]
    assert sorted(prepared(tmp_path / "out", *words)[0].values()) == ["One.", "Three.", "Two."]
