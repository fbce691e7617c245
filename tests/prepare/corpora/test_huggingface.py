"""Parquet as the Hugging Face hub stores it: speech with its audio in a column, texts, splits, and what is wrong."""

import pathlib

import made_up_corpus
import pyarrow
import pyarrow.parquet
import pytest
from corpus_files import in_bucket, items_of, parts_of, prompts, write_parquet
from hypothesis import given
from hypothesis import strategies as st

from lst_jax.core.errors import DataError
from lst_jax.prepare.corpora import huggingface, parquet
from lst_jax.prepare.corpora.audio_place import Content
from lst_jax.prepare.corpora.choose import layout_of
from lst_jax.prepare.corpora.protocol import BadItem, Item, TextItem
from lst_jax.prepare.corpora.registry import Settings


def speech(**settings):
    return huggingface.SpeechReader(Settings(**settings))


def texts(**settings):
    return huggingface.TextReader(Settings(**settings))


@pytest.fixture(scope="module")
def peoples_speech(tmp_path_factory):
    """A copy of the layout of MLCommons/peoples_speech: id, audio {bytes, path}, duration_ms, text; two splits."""
    folder = tmp_path_factory.mktemp("hub") / "peoples_speech"
    rows = [
        {
            "id": f"{one['id']}.flac",
            "audio": {"bytes": one["content"], "path": f"{one['id']}.flac"},
            "duration_ms": 1000,
            "text": one["text"],
        }
        for one in prompts(7)
    ]
    write_parquet(folder / "clean/train-00000-of-00002.parquet", rows[:4])
    write_parquet(folder / "clean/train-00001-of-00002.parquet", rows[4:6])
    write_parquet(folder / "clean/validation-00000-of-00001.parquet", rows[6:])
    (folder / "README.md").write_text("# The People's Speech")
    return folder


def test_peoples_speech_gives_the_bytes_of_its_rows(peoples_speech):
    found = items_of(speech(where={"split": "train"}), peoples_speech)
    expected = prompts(6)
    assert [(i.id, i.text, i.audio.content) for i in found] == [
        (f"{one['id']}.flac", one["text"], one["content"]) for one in expected
    ]
    assert {(i.offset_sec, i.duration_sec, i.speaker) for i in found} == {(0.0, None, None)}  # all of the bytes
    assert found[5].place == f"{peoples_speech}/clean/train-00001-of-00002.parquet: row 2"
    assert all(len(item.recording.samples()) > 8000 for item in found)
    assert len(items_of(speech(), peoples_speech)) == 7


def test_rows_lie_in_a_bucket_as_on_this_machine(peoples_speech, bucket):
    here, there = (items_of(speech(), place) for place in (peoples_speech, in_bucket(bucket, peoples_speech)))
    assert [(i.id, i.text, i.audio.content) for i in there] == [(i.id, i.text, i.audio.content) for i in here]
    assert there[0].place.startswith("gs://")


@pytest.mark.parametrize("part_items", [1, 2, 3, 100])
@pytest.mark.parametrize("exact", [False, True])
def test_parts_of_any_size_hold_each_row_once(peoples_speech, part_items, exact):
    reader = speech(where={"split": "train"}, exact=exact)
    assert [i.id for i in items_of(reader, peoples_speech, part_items)] == [f"{one['id']}.flac" for one in prompts(6)]
    sizes = [len(list(reader.read(part))) for part in parts_of(reader, peoples_speech, part_items)]
    assert max(sizes) <= part_items


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(1, 20), st.booleans())
def test_parts_cover_all_rows_in_order(groups, part_rows, exact):
    starts = [sum(groups[:n]) for n in range(len(groups))]
    rows = [
        n
        for g, row, count in parquet.cut(groups, part_rows, exact)
        for n in range(starts[g] + row, starts[g] + row + count)
    ]
    assert rows == list(range(sum(groups)))
    counts = [count for *_, count in parquet.cut(groups, part_rows, exact)]
    if exact:
        assert all(count == part_rows for count in counts[:-1])
    else:
        assert all(count <= max(part_rows, -(-max(groups) // parquet.PIECES)) for count in counts)
        assert all(row == 0 or groups[g] > part_rows for g, row, _ in parquet.cut(groups, part_rows))


def test_columns_have_the_names_of_other_sets(tmp_path):
    """LibriSpeech has speaker_id and chapter_id, MLS transcript, Common Voice sentence, client_id and locale."""
    one, two = prompts(2)
    audio = {"bytes": one["content"], "path": "x.flac"}
    rows = [{"file": "x.flac", "audio": audio, "text": "hello", "speaker_id": 84, "chapter_id": 1, "id": "84-1-0"}]
    (item,) = items_of(speech(), write_parquet(tmp_path / "librispeech.parquet", rows))
    assert (item.id, item.text, item.speaker) == ("84-1-0", "hello", "84")
    rows = [
        {"audio": audio, "begin_time": 1.5, "end_time": 3.0, "transcript": "hello", "speaker_id": "9", "id": "9_1_2"}
    ]
    (item,) = items_of(speech(), write_parquet(tmp_path / "mls.parquet", rows))
    assert (item.id, item.text, item.duration_sec) == ("9_1_2", "hello", None)
    rows = [{"client_id": "c", "path": "p.mp3", "audio": audio, "sentence": "Hello.", "locale": "en", "language": 3}]
    (item,) = items_of(speech(), write_parquet(tmp_path / "common_voice.parquet", rows))
    assert (item.text, item.speaker, item.language) == ("Hello.", "c", None)  # 3 is the number of a class
    assert item.id == f"{tmp_path}/common_voice.parquet:1"  # the command makes the file's name short
    rows = [{"sound": two["content"], "said": "two", "who": "w", "key": 5}]
    options = {"audio_field": "sound", "speaker_field": "who", "id_field": "key"}
    (item,) = items_of(speech(text_field="said", options=options), write_parquet(tmp_path / "own.parquet", rows))
    assert (item.id, item.text, item.speaker, item.audio.content) == ("5", "two", "w", two["content"])


def test_audio_may_be_a_file_beside_the_table(tmp_path):
    rows = [
        {"id": "a", "audio": {"bytes": None, "path": "wav/a.flac"}, "text": "x", "duration_ms": None},
        {"id": "b", "audio": {"bytes": None, "path": "gs://b/b.flac"}, "text": "x", "duration_ms": 3},
        {"id": "c", "audio": {"bytes": None, "path": None}, "text": "x", "duration_ms": None},
    ]
    schema = pyarrow.schema(
        {
            "id": pyarrow.string(),
            "audio": pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()}),
            "text": pyarrow.string(),
            "duration_ms": pyarrow.int32(),
        }
    )
    first, second, third = items_of(speech(skip_bad=True), write_parquet(tmp_path / "t.parquet", rows, schema=schema))
    assert first.audio == tmp_path / "wav/a.flac"
    assert second.reason == "field not understood"  # of which part of b.flac is it?
    assert third == BadItem(
        f"{tmp_path}/t.parquet: row 3", "missing audio", third.message, f"{tmp_path}/t.parquet: row 3"
    )
    rows = [{"file_name": "m/a.flac", "transcription": "x"}]  # metadata.parquet of an audio folder
    (item,) = items_of(speech(), write_parquet(tmp_path / "metadata.parquet", rows))
    assert isinstance(item, Item) and item.audio == tmp_path / "m/a.flac" and item.text == "x"


def test_fineweb_gives_documents_and_counts_bad_ones(tmp_path):
    urn = "<urn:uuid:39147604-bfbe-4ed5-b19c-54105f8ae8a7>"
    rest = {
        "dump": "CC-MAIN-2013-20",
        "url": "http://a.org",
        "date": "2013-05-18T05:48:54Z",
        "file_path": "s3://c/x.warc.gz",
    }
    rest |= {"language": "en", "language_score": 0.82, "token_count": 2}
    rows = [
        {"text": "One.\nTwo.", "id": urn, **rest},
        {"text": None, "id": None, **rest},
        {"text": "", "id": None, **rest},
    ]
    rows += [{"text": "Aus Köln\0", "id": "x", **rest}]
    path = write_parquet(tmp_path / "data/CC-MAIN-2013-20/000_00000.parquet", rows)
    found = items_of(texts(skip_bad=True), tmp_path)
    assert found[0] == TextItem(urn, "One.\nTwo.")
    assert [one.reason for one in (found[1], found[3])] == ["wrong type", "not text"]
    assert (found[2].id, found[2].text) == (f"{path}:3", "")  # is counted as empty where records are made
    with pytest.raises(DataError, match="row 2: text must be a string, not NoneType"):
        items_of(texts(), tmp_path)
    assert (
        len(items_of(texts(skip_bad=True, where={"dump": "CC-MAIN-2013-20", "language_score": "0.82"}), tmp_path)) == 4
    )
    assert items_of(texts(where={"dump": "other"}), tmp_path) == []


def test_a_string_that_is_not_utf8_is_one_bad_row(tmp_path):
    array = pyarrow.array([b"good", b"\xff\xfe", b"fine"], pyarrow.binary()).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"text": array}), tmp_path / "t.parquet")
    found = items_of(texts(skip_bad=True), tmp_path)
    assert [getattr(one, "reason", "") for one in found] == ["", "not UTF-8", ""]
    assert [one.text for one in (found[0], found[2])] == ["good", "fine"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00012.parquet", "train"),
        ("data/train.clean.100-00000-of-00012-95094bb0657b6e1e.parquet", "train.clean.100"),
        ("default/train/0000.parquet", "train"),
        ("validation.parquet", "validation"),
        ("data/CC-MAIN-2013-20/000_00000.parquet", None),
    ],
)
def test_names_of_files_say_splits(name, split):
    assert parquet.split_of(pathlib.Path(name)) == split


def test_a_column_called_split_selects_too(tmp_path):
    rows = [{"text": "a", "split": "train"}, {"text": "b", "split": "test"}]
    write_parquet(tmp_path / "all.parquet", rows)
    assert [item.text for item in items_of(texts(where={"split": "test"}), tmp_path)] == ["b"]
    with pytest.raises(DataError, match="row 1: has no field 'lang' to select by"):
        items_of(texts(where={"lang": "en"}), tmp_path)


def test_a_folder_and_a_file_of_parquet_are_known_without_a_name(peoples_speech, tmp_path):
    path = write_parquet(tmp_path / "repo/data/x.parquet", [{"text": "a"}])
    (tmp_path / "repo/dataset_infos.json").write_text("{}")
    assert layout_of(peoples_speech / "clean", "speech").name == "huggingface"
    assert [layout_of(place, "text").name for place in (path, tmp_path / "repo")] == ["huggingface"] * 2


@pytest.mark.parametrize(
    ("rows", "reader", "part"),
    [
        ([{"audio": b"x", "words": "a"}], speech(), "has no column 'text', but audio, words; name the column"),
        (
            [{"sound": b"x", "text": "a"}],
            speech(),
            "has no column of recordings, but sound, text; name it with --audio-field",
        ),
        ([{"audio": 3.5, "text": "a"}], speech(), "column 'audio' holds double, not bytes, paths or {bytes, path}"),
        ([{"audio": {"array": [0.5], "sampling_rate": 8000}, "text": "a"}], speech(), "column 'audio' holds struct"),
        ([{"audio": b"x", "text": 3}], speech(), "column 'text' holds int64, not text; correct --text-field"),
        (
            [{"audio": b"x", "text": "a"}],
            speech(options={"id_field": "i"}),
            "has no column 'i', but audio, text; correct --id-field",
        ),
        ([{"body": "a"}], texts(), "has no column 'text', but body; name the column of the texts with --text-field"),
    ],
)
def test_wrong_columns_are_one_line(tmp_path, rows, reader, part):
    path = write_parquet(tmp_path / "t.parquet", rows)
    with pytest.raises(DataError) as caught:
        items_of(reader, path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and part in message and "\n" not in message


def test_broken_files_and_folders_without_any_are_one_line(tmp_path, peoples_speech):
    whole = (peoples_speech / "clean/train-00000-of-00002.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut.parquet: cannot be read as Parquet \(.*\); make the file again"):
        items_of(speech(), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no \*.parquet or \*.pq; give a folder of Parquet files"):
        items_of(speech(), tmp_path / "empty")
    with pytest.raises(DataError, match="has no files of split 'dev', but of train, validation; correct --where"):
        items_of(speech(where={"split": "dev"}), peoples_speech)


def test_damaged_rows_are_counted_and_those_before_them_kept(tmp_path, peoples_speech):
    content = bytearray((peoples_speech / "clean/train-00000-of-00002.parquet").read_bytes())
    path = tmp_path / "t.parquet"
    path.write_bytes(content)
    second = pyarrow.parquet.ParquetFile(path).metadata.row_group(1).column(0)
    start = second.dictionary_page_offset
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    found = items_of(speech(skip_bad=True), tmp_path, 100)
    assert [getattr(one, "reason", "") for one in found] == ["", "", *[parquet.DAMAGED] * 2]
    with pytest.raises(DataError, match="t.parquet: row 3: cannot be read as Parquet"):
        items_of(speech(), tmp_path, 100)


def test_a_made_up_corpus_has_the_bytes_of_its_recordings_in_every_row(tmp_path):
    recordings = [(one["content"], one["text"]) for one in prompts(3)]
    paths = made_up_corpus.write_speech(tmp_path / "a", recordings, 2000, 2, group_rows=500)
    again = made_up_corpus.write_speech(tmp_path / "b", recordings, 2000, 2, group_rows=500)
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    assert sum(path.stat().st_size for path in paths) < 6 * sum(len(content) for content, _ in recordings)
    found = items_of(speech(where={"split": "train"}), tmp_path / "a", 500)
    assert [item.id for item in found] == [f"made-up/{n:09d}" for n in range(2000)]
    assert all((item.audio.content, item.text) == recordings[n % 3] for n, item in enumerate(found))
    assert isinstance(found[0].audio, Content)


def test_a_dry_run_reads_lengths_and_no_sound(tmp_path, peoples_speech):
    content = bytearray((peoples_speech / "clean/train-00000-of-00002.parquet").read_bytes())
    path = tmp_path / "t.parquet"
    path.write_bytes(content)
    group = pyarrow.parquet.ParquetFile(path).metadata.row_group(0)
    sound = next(c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == "audio.bytes")
    content[sound.dictionary_page_offset : sound.dictionary_page_offset + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        items_of(speech(), path)
    found = items_of(speech(sound=False), path)
    assert [(i.id, i.duration_sec, i.text) for i in found] == [(f"{p['id']}.flac", 1.0, p["text"]) for p in prompts(4)]
