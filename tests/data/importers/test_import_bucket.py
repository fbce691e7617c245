"""Files of other programs that lie in a bucket: the bytes of what comes in and goes out are those of a disk."""

import json

import pytest
from import_samples import utterance

from lst_jax.cli import main
from lst_jax.data import shards
from lst_jax.data.importers import alignments, registry, write
from lst_jax.data.importers.formats import AlignmentFormat
from lst_jax.storage import objects
from lst_jax.storage.place import to_place

pytestmark = pytest.mark.usefixtures("no_appends")
GOOD = [utterance(f"{'s/' * (i % 2)}u{i}", source="made") for i in range(5)]
FILES = {
    "lst": "a.on_the_fly",
    "slamkit": "features.jsonl",
    "units": "a.jsonl",
    "gslm": "a.txt",
    "ctm": "a.ctm",
    "librispeech": "a.alignment.txt",
    "textgrid": None,
    "moshi": None,
}


def contents(place):
    return {name: objects.read_bytes(place / name) for name in objects.sizes(place)}


@pytest.fixture
def places(bucket, tmp_path, monkeypatch):
    """A folder of this machine and one of a bucket, each with the same records; nothing else may be written here."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    found = [tmp_path / "local", to_place(f"{bucket}/{tmp_path.name}")]
    for place in found:
        write.write_directory(GOOD, place / "records", write.Origin(25.0, 501, None, None), write.Tally(), 2)
    yield found
    assert list((tmp_path / "empty").iterdir()) == []


def run(*words):
    return main.main([str(word) for word in words])


def test_records_are_written_there_as_here(places):
    local, there = places
    assert contents(local / "records") == contents(there / "records")
    assert list(shards.RecordDirectory(there / "records", "utterance")) == GOOD
    assert objects.sizes(there).keys() == {f"records/{name}" for name in objects.sizes(local / "records")}


@pytest.mark.parametrize("name", FILES)
def test_files_go_out_and_come_in_as_on_a_disk(places, name):
    form = registry.ALIGNMENT_FORMATS[name] if name in registry.ALIGNMENT_FORMATS else registry.UNIT_FORMATS[name]
    for place in places:
        out = place / "files" / FILES[name] if FILES[name] else place / "files"
        assert run("export", name, place / "records", "--out", out) == 0
        own = ["--units", place / "records"] if isinstance(form, AlignmentFormat) else ["--codebook-size", 501]
        rate = ["--unit-rate", 25] if name in ("slamkit", "gslm") else []
        assert run("import", name, place / "files", *own, *rate, "--out", place / "imported") == 0
    local, there = map(contents, places)
    assert local == there and len([key for key in there if key.startswith("imported/")]) == 3


def test_a_tree_goes_on_but_never_over_what_is_there(places, capsys):
    there = places[1]
    words = ["export", "textgrid", there / "records", "--out", there / "files"]
    assert run(*words) == 0
    objects.delete(there / "files" / "u0.TextGrid")
    assert run(*words) == 0 and objects.exists(there / "files" / "u0.TextGrid")
    objects.write_text(there / "files" / "u0.TextGrid", "mine")
    assert run(*words) == 3 and "u0.TextGrid: is there already and holds something else" in capsys.readouterr().err
    assert objects.read_text(there / "files" / "u0.TextGrid") == "mine"
    assert run(*words, "--overwrite") == 0 and objects.read_text(there / "files" / "u0.TextGrid") != "mine"


def test_lists_and_folders_beside_the_units_are_read_there(places):
    line = {"units": [5, 9], "duration": [2, 1], "file_name": "u1.wav"}
    for place in places:
        objects.write_text(place / "km" / "a_0_2.km", "5 9\n")
        objects.write_text(place / "lists" / "a.tsv", "/audio\nu1.flac\t640\nu2.flac\t640\n")
        objects.write_text(place / "features.jsonl", json.dumps(line) + "\n")
        objects.write_text(place / "meta" / "u1.json", json.dumps({"aligned_text": [["a", 0.0, 0.08]]}))
        rest = ["--unit-rate", 25, "--codebook-size", 10, "--out"]
        km = place / "km" / "*.km"
        assert run("import", "km", km, "--tsv", place / "lists" / "a.tsv", *rest, place / "of_km") == 0
        assert (
            run("import", "slamkit", place / "features.jsonl", "--meta", place / "meta", *rest, place / "of_slamkit")
            == 0
        )
    assert contents(places[0]) == contents(places[1])


def test_a_directory_stays_as_it_was_where_a_new_one_is_not_made(places, capsys):
    there = places[1]
    objects.write_text(there / "a.jsonl", '{"id": "u", "units": [1]}\n{"id": "v"}\n')
    before = contents(there)
    words = ["import", "units", there / "a.jsonl", "--unit-rate", 25, "--codebook-size", 9, "--out", there / "records"]
    assert run(*words) == 3 and "is there already" in capsys.readouterr().err
    assert run(*words, "--overwrite") == 3
    assert f"{there}/a.jsonl: line 2: has no 'units'" in capsys.readouterr().err
    assert contents(there) == before
    assert run(*words, "--overwrite", "--skip-bad") == 0
    assert objects.names(there) == ["a.jsonl", "records"]
    assert [u.id for u in shards.RecordDirectory(there / "records", "utterance")] == ["u"]


def test_whisper_s_files_and_their_digest_are_those_of_a_disk(places, monkeypatch):
    monkeypatch.setattr(alignments, "READ_TOGETHER", 2)
    digests = []
    for place in places:
        for name in ("a", "b/c", "d"):
            word = {"word": name, "start": 0.0, "end": 0.1}
            objects.write_text(place / "w" / f"{name}.json", json.dumps({"segments": [{"words": [word]}]}))
        found = registry.ALIGNMENT_FORMATS["whisper"].open(place / "w")
        digests.append((found.fingerprint(), len(found), found.align("b/c")))
    assert digests[0] == digests[1] and digests[0][2] == [("b/c", 0.0, 0.1)]


def test_what_is_not_there_is_said_with_its_address(places, capsys):
    there = places[1]
    for name, words, said in (
        ("units", [there / "no.jsonl", "--unit-rate", 25, "--codebook-size", 9], "no.jsonl: no such file"),
        ("units", [there / "*.jsonl", "--unit-rate", 25, "--codebook-size", 9], "*.jsonl: fits no file"),
        ("textgrid", [there / "no", "--units", there / "records"], "no: has no *.TextGrid files"),
    ):
        assert run("import", name, *words, "--out", there / "out") == 3
        assert f"{there}/{said}" in capsys.readouterr().err


def test_a_tfds_dataset_goes_out(places):
    pytest.importorskip("tensorflow_datasets")
    for place in places:
        assert run("export", "tfds", f"train={place / 'records'}", "--out", place / "tfds") == 0
    local, there = map(contents, places)
    assert local == there and "tfds/lst_utterance/1.0.0/metadata.json" in there
