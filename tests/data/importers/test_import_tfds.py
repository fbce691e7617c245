import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st
from import_samples import built, utterance, utterance_parts

from lst_jax.core.errors import DataError
from lst_jax.data import shards, tfds_source
from lst_jax.data.importers import tfds_export, write
from lst_jax.data.records import TextDocument, encode
from lst_jax.data.sources import open_records

SPEECH = [utterance(f"ü{i}", source="made" if i % 2 else None, speaker="s") for i in range(5)]
SPEECH[3] = dataclasses.replace(SPEECH[3], words=())
TEXTS = [TextDocument(f"t{i}", text) for i, text in enumerate(["hello wörld", "", "two\nlines"])]


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """Directories of records of both kinds, and the TFDS datasets made of them."""
    root = tmp_path_factory.mktemp("tfds")
    write.write_directory(SPEECH, root / "speech", write.Origin(25.0, 10, "f", None), write.Tally())
    write.write_directory(SPEECH[:2], root / "valid", write.Origin(25.0, 10, "f", None), write.Tally())
    (root / "text").mkdir()
    info = shards.write_shard(root / "text" / "a", [encode(t) for t in TEXTS])
    nothing = [None] * 5
    shards.write_metadata(root / "text", shards.Metadata("text", 1, 3, 0, 4, *nothing, "t", (info,)))
    speech = {
        split: open_records(str(root / name), "utterance") for split, name in (("train", "speech"), ("valid", "valid"))
    }
    tfds_export.write_tfds(speech, root / "out", shard_records=2)
    tfds_export.write_tfds({"train": open_records(str(root / "text"), "text")}, root / "out")
    return root


@given(utterance_parts(), st.none() | st.text(min_size=1))
def test_examples_round_trip_through_the_serialised_form(parts, speaker):
    record = dataclasses.replace(built(parts), speaker=speaker)
    features = tfds_source.utterance_features()
    payload = features.serialize_example(features.encode_example(tfds_source.to_example(record)))
    assert tfds_source.from_example("utterance", features.deserialize_example_np(payload), "") == record


def test_both_kinds_come_back_in_order(directories):
    found = open_records(f"tfds:{directories}/out/lst_utterance/1.0.0#train", "utterance")
    found.verify()
    assert list(found) == SPEECH and [found[i] for i in (4, 0)] == [SPEECH[4], SPEECH[0]]
    before = shards.read_metadata(directories / "speech")
    assert dataclasses.replace(found.metadata, shards=()) == dataclasses.replace(before, shards=())
    assert [s.records for s in found.metadata.shards] == [2, 2, 1]
    assert json.loads((found.path / "dataset_info.json").read_text())["disableShuffling"] is True
    assert list(open_records(f"tfds:{directories}/out/lst_utterance/1.0.0#valid", "utterance")) == SPEECH[:2]
    texts = open_records(f"tfds:{directories}/out/lst_text/1.0.0#train", "text")
    texts.verify()
    assert list(texts) == TEXTS and texts.metadata.words == 4
    with pytest.raises(IndexError):
        texts[3]


def test_tfds_reads_them_by_name_and_nothing_imports_tensorflow(directories):
    code = (
        f"import sys, tensorflow_datasets as tfds\n"
        f"source = tfds.data_source('lst_utterance', split='train', data_dir={str(directories / 'out')!r})\n"
        "print(len(source), source[1]['id'].decode(), source[1]['units'].tolist(), 'tensorflow' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert out == f"5 ü1 {SPEECH[1].units.tolist()} False\n"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A text dataset laid out as C4 is, without our metadata."""
    root = tmp_path_factory.mktemp("c4") / "c4" / "en" / "3.1.0"
    root.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {"text": tfds.features.Text(), "url": tfds.features.Text(), "content-length": tfds.features.Scalar(np.int32)}
    )
    identity = tfds.core.dataset_info.DatasetIdentity(
        name="c4", version=tfds.core.Version("3.1.0"), data_dir=str(root), module_name=""
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features)
    writer = tfds.core.SequentialWriter(info, 4, file_format="array_record")
    writer.initialize_splits(["train"])
    writer.add_examples({"train": [{"text": f"page {i}", "url": "x", "content-length": i} for i in range(10)]})
    writer.close_all()
    return root


def test_any_dataset_with_a_text_feature_is_a_source_of_text(foreign):
    found = open_records(f"tfds:{foreign}#train", "text")
    found.verify()
    assert len(found) == 10 == found.metadata.records and found.metadata.kind == "text"
    assert found[9] == TextDocument("c4/train:9", "page 9")
    part = open_records(f"tfds:{foreign}#train[2:5]", "text")
    assert [t.text for t in part] == ["page 2", "page 3", "page 4"] and part.metadata.records == 3


@pytest.mark.parametrize(
    ("address", "kind", "message"),
    [
        ("{c4}#test", "text", "has no split 'test'; it has train"),
        ("{c4}#train[x", "text", "cannot be opened"),
        ("{c4}#train", "utterance", "need the features ends"),
        ("{c4}/..#train", "text", "dataset_info.json: missing"),
        ("{c4}", "text", "must be tfds:DIR#SPLIT"),
        ("{lst}#train[:2]", "utterance", "name a whole split"),
    ],
)
def test_addresses_that_lead_nowhere_are_named(foreign, directories, address, kind, message):
    address = address.format(c4=foreign, lst=directories / "out" / "lst_utterance" / "1.0.0")
    with pytest.raises(DataError, match=message) as error:
        open_records(f"tfds:{address}", kind)
    assert "\n" not in str(error.value)


def copied(directories, tmp_path):
    tfds_export.write_tfds({"train": open_records(str(directories / "speech"), "utterance")}, tmp_path)
    return tmp_path / "lst_utterance" / "1.0.0"


def test_tfrecords_have_no_random_access(directories, tmp_path):
    folder = copied(directories, tmp_path)
    info = json.loads((folder / "dataset_info.json").read_text())
    (folder / "dataset_info.json").write_text(json.dumps({**info, "fileFormat": "tfrecord"}))
    with pytest.raises(DataError, match="no random access; convert it: tfds convert_format"):
        open_records(f"tfds:{folder}#train", "utterance")


def test_damage_is_found(directories, tmp_path):
    folder = copied(directories, tmp_path)
    file = next(folder.glob("*array_record*"))
    content = file.read_bytes()
    source = open_records(f"tfds:{folder}#train", "utterance")
    file.write_bytes(content[:100] + bytes(255 for _ in content[100:]))
    with pytest.raises(DataError, match="split train: record .*: cannot be read"):
        list(source)
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match="its checksum is not the one"):
        open_records(f"tfds:{folder}#train", "utterance").verify()
    file.write_bytes(content[:-1])
    with pytest.raises(DataError, match="bytes, not"):
        open_records(f"tfds:{folder}#train", "utterance")
    file.unlink()
    with pytest.raises(DataError, match="is missing|cannot be opened"):
        open_records(f"tfds:{folder}#train", "utterance")


def test_an_export_replaces_only_when_asked_and_splits_must_agree(directories, tmp_path):
    speech = open_records(str(directories / "speech"), "utterance")
    copied(directories, tmp_path)
    with pytest.raises(DataError, match="is there already"):
        tfds_export.write_tfds({"train": speech}, tmp_path)
    tfds_export.write_tfds({"other": speech}, tmp_path, overwrite=True)
    assert len(open_records(f"tfds:{tmp_path}/lst_utterance/1.0.0#other", "utterance")) == 5
    assert [p.name for p in tmp_path.iterdir()] == ["lst_utterance"]
    write.write_directory(SPEECH, tmp_path / "fifty", write.Origin(50.0, 10, "f", None), write.Tally())
    with pytest.raises(DataError, match="unit_rate=50.0, split 'train' has 25.0"):
        fifty = open_records(str(tmp_path / "fifty"), "utterance")
        tfds_export.write_tfds({"train": speech, "x": fifty}, tmp_path / "o")
