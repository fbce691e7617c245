"""One JSON document with a list of items, also in a field of an object, compressed and in a bucket."""

import gzip
import json
import pathlib

import pytest
from corpus_files import in_bucket, items_of

from lst_jax.core.errors import DataError
from lst_jax.prepare.corpora.protocol import Item, TextItem
from lst_jax.prepare.corpora.registry import Settings, layout_called

DOCUMENTS = [{"id": 1, "text": "One."}, {"text": 'Two, "[}".'}, {"text": None}, 5, {"text": "Three.", "split": "a"}]


def reader(kind="text", **settings):
    return layout_called("json-array", kind).open(Settings(**settings))


def write(path: pathlib.Path, document, **options) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(document, **options).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("options", [{}, {"indent": 2}])
@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_elements_of_a_list_are_documents(tmp_path, name, options, bucket):
    path = write(tmp_path / "set" / name, DOCUMENTS, **options)
    found = items_of(reader(skip_bad=True), path)
    assert found[0] == TextItem("1", "One.") and found[1] == TextItem(f"{path}:2", 'Two, "[}".')
    assert [one.reason for one in found[2:4]] == ["wrong type", "not JSON"]
    assert found[4].text == "Three." and found[4].place == f"{path}: element 5"
    there = items_of(reader(skip_bad=True), in_bucket(bucket, path.parent))
    assert [getattr(one, "text", "") for one in there] == [getattr(one, "text", "") for one in found]


def test_a_list_in_a_field_of_recordings(tmp_path):
    lines = [{"audio": "a.flac", "text": "a", "split": "x"}, {"audio": "b.flac", "text": "b", "split": "y"}]
    path = write(tmp_path / "m.json", {"version": {"n": [1]}, "data": lines})
    found = items_of(reader("speech", options={"json_key": "data"}, where={"split": "y"}), path)
    assert found == [Item("b", tmp_path / "b.flac", "b", None)]


def test_a_byte_that_is_not_utf8_is_one_bad_element(tmp_path):
    (tmp_path / "a.json").write_bytes(b'[{"text": "good"}, {"text": "\xff"}]')
    good, bad = items_of(reader(), tmp_path)
    assert (good.text, bad.reason) == ("good", "not text")


def test_what_is_no_list_is_one_line(tmp_path):
    (tmp_path / "cut.json").write_text('[{"text": "a"}, {"te')
    (tmp_path / "word.json").write_text('"a"')
    for name in ("cut.json", "word.json"):
        with pytest.raises(DataError) as caught:
            items_of(reader(), tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: ") and "; " in str(caught.value)
    with pytest.raises(DataError, match="element 3: text must be a string, not NoneType"):
        items_of(reader(), write(tmp_path / "a.json", DOCUMENTS))
