"""Common Voice, LJSpeech, SpeechBrain, NeMo and People's Speech, in the exact layout of their tables."""

import json

import pytest
from read_corpus import read, write

from lst_jax.core.errors import DataError
from lst_jax.prepare.corpora import common_voice, ljspeech, peoples_speech
from lst_jax.prepare.corpora.protocol import Item

COLUMNS = (
    "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant locale segment"
)


@pytest.fixture
def voices(tmp_path):
    """cv-corpus with two languages; the second is of a release without the column locale and without suffixes."""
    root = tmp_path / "cv-corpus-17.0-2024-03-15"
    header = COLUMNS.replace(" ", "\t")
    row = '0aaf\tcommon_voice_en_1.mp3\t5f0a\tHe said "so", didn\'t he?\t\t2\t0\ttwenties\tmale_masculine\t\t\ten\t'
    other = '1bbf\tcommon_voice_en_2.mp3\t6f0a\tA "quote that is not closed.\t\t2\t1\t\tfemale_feminine\t\t\ten\t'
    write(root / "en" / "train.tsv", f"{header}\n{row}\n{other}\n")
    write(root / "en" / "dev.tsv", f"{header}\n{row}\n")
    write(root / "en" / "clips" / "common_voice_en_1.mp3", "ID3")
    write(root / "pl" / "train.tsv", "client_id\tpath\tsentence\tup_votes\n2c\tcommon_voice_pl_9\tDzień dobry.\t2\n")
    write(root / "pl" / "clips" / "common_voice_pl_9.mp3", "ID3")
    return root


def test_the_clips_of_common_voice(voices):
    clips = voices / "en" / "clips"
    one = Item("common_voice_en_1", clips / "common_voice_en_1.mp3", 'He said "so", didn\'t he?', "0aaf", language="en")
    two = Item(
        "common_voice_en_2", clips / "common_voice_en_2.mp3", 'A "quote that is not closed.', "1bbf", language="en"
    )
    three = Item("common_voice_pl_9", voices / "pl/clips/common_voice_pl_9.mp3", "Dzień dobry.", "2c", language="pl")
    assert read("common-voice", voices, lines=True) == [one, two, three]
    assert read("common-voice", voices / "en", 100, lines=True) == [one, two]
    assert read("common-voice", voices / "en" / "dev.tsv", lines=True) == [one]
    assert read("common-voice", voices, lines=True, options={"split": "dev"}) == [one]
    assert read("common-voice", voices / "en", lines=True, where={"gender": "female_feminine"}) == [two]
    assert common_voice.is_at(voices) and common_voice.is_at(voices / "pl") and not common_voice.is_at(clips)


def test_rows_of_common_voice_that_are_none_are_counted_or_stop(voices):
    write(voices / "pl" / "train.tsv", "client_id\tpath\tsentence\n2c\t\tx\n2c\ta.mp3\n2c\ta.mp3\tdobry\n")
    assert [getattr(i, "reason", i.id) for i in read("common-voice", voices / "pl", lines=True, skip_bad=True)] == [
        "wrong type",
        "wrong columns",
        "a",
    ]
    with pytest.raises(DataError, match="pl/train.tsv: line 2: path is empty"):
        read("common-voice", voices / "pl", lines=True)
    write(voices / "pl" / "train.tsv", "client_id\tfile\tsentence\n2c\ta\tx\n")
    with pytest.raises(DataError, match="train.tsv: line 1: has no column path"):
        read("common-voice", voices / "pl", lines=True, skip_bad=True)
    with pytest.raises(DataError, match="--split all: must be train, dev"):
        read("common-voice", voices, options={"split": "all"})
    with pytest.raises(DataError, match="has nothing of the layout common-voice; give a folder with other.tsv"):
        read("common-voice", voices, options={"split": "other"})


def test_the_items_of_ljspeech(tmp_path):
    lines = [
        "LJ001-0001|Printing, in the only sense|Printing, in the only sense",
        'LJ001-0002|in "1455|in "fourteen fifty-five',
        "other_3|Hello.",
    ]
    root = tmp_path / "LJSpeech-1.1"
    write(root / "metadata.csv", "\n".join(lines) + "\n")
    write(root / "wavs" / "LJ001-0001.wav", "RIFF")
    items = [
        Item("LJ001-0001", root / "wavs/LJ001-0001.wav", "Printing, in the only sense", "LJ", language="en"),
        Item("LJ001-0002", root / "wavs/LJ001-0002.wav", 'in "fourteen fifty-five', "LJ", language="en"),
        Item("other_3", root / "wavs/other_3.wav", "Hello.", None),
    ]
    assert read("ljspeech", root) == items == read("ljspeech", root / "metadata.csv") and ljspeech.is_at(root)
    write(root / "metadata.csv", "a\nLJ2|x|y|z\n")
    assert [i.reason for i in read("ljspeech", root, skip_bad=True)] == ["wrong columns"] * 2
    with pytest.raises(DataError, match="metadata.csv: line 1: has 1 columns"):
        read("ljspeech", root)


def test_a_csv_of_speechbrain(tmp_path):
    lines = [
        "ID,duration,wav,start,stop,spk_id,wrd",
        "84-1,2.5,$data_root/84/1.flac,,,84,HELLO THERE",
        '84-2,9.0, $data_root/84/2.flac,8000,24000,84,"WELL, YES"',
    ]
    path = write(tmp_path / "train.csv", "\n".join(lines) + "\n")
    root = {"audio_root": str(tmp_path / "L")}
    one = Item("84-1", tmp_path / "L/84/1.flac", "hello there", "84", 0.0, 2.5)
    two = Item("84-2", tmp_path / "L/84/2.flac", "well, yes", "84", 0.5, 1.0)
    assert read("speechbrain", path, lines=True, options=root) == [one, two]
    (fast,) = read("speechbrain", path, lines=True, options=root | {"sample_rate": "8000"}, where={"ID": "84-2"})
    assert (fast.offset_sec, fast.duration_sec) == (1.0, 2.0)
    with pytest.raises(DataError, match=r"train.csv: line 2: .*begins with \$data_root"):
        read("speechbrain", path, lines=True)
    with pytest.raises(DataError, match="--sample-rate 0: must be a whole number"):
        read("speechbrain", path, options={"sample_rate": "0"})


def test_a_json_of_speechbrain(tmp_path):
    rows = {
        "1": {"wav": "{data_root}/1.wav", "length": 2.5, "spk_id": 84, "words": "Good evening"},
        "2": {"wav": {"file": "/abs/2.wav", "start": 16000, "stop": 32000}, "length": 9.0, "words": "BYE"},
        "3": {"wav": {"file": "/abs/2.wav", "start": 16000, "stop": 16000}, "words": "BYE"},
        "4": {"wav": "a.wav"},
        "5": 5,
    }
    path = write(tmp_path / "train.json", json.dumps(rows, indent=2))
    one, two, *bad = read("speechbrain", tmp_path, options={"audio_root": "/root/x"}, skip_bad=True)
    assert (str(one.audio), one.text, one.speaker, one.duration_sec) == ("/root/x/1.wav", "Good evening", "84", 2.5)
    assert (str(two.audio), two.text, two.offset_sec, two.duration_sec) == ("/abs/2.wav", "bye", 1.0, 1.0)
    assert [item.reason for item in bad] == ["wrong type", "missing field", "wrong type"]
    with pytest.raises(DataError, match=r"train.json: element 3 \(3\): stops at 1 s"):
        read("speechbrain", path, options={"audio_root": "/root/x"})


def test_a_manifest_of_nemo(tmp_path):
    lines = [
        {
            "audio_filepath": "wavs/a.wav",
            "duration": 1.5,
            "text": "hello there",
            "lang": "en",
            "speaker": 7,
            "pnc": "yes",
        },
        {"audio_filepath": "/abs/b.wav", "offset": 2.25, "duration": 3.0, "text": "bye", "text_raw": "Bye!"},
        {"audio_filepath": "c.wav", "duration": 1.0, "text": "in a tar", "text_raw": "x", "shard_id": 3},
        {"duration": 1.0, "text": "no audio"},
    ]
    path = write(tmp_path / "train_manifest.json", "".join(json.dumps(line) + "\n" for line in lines))
    one, two, tarred, bad = read("nemo", path, skip_bad=True)
    assert one == Item("wavs/a", tmp_path / "wavs/a.wav", "hello there", "7", 0.0, 1.5, language="en")
    assert (two.id, str(two.audio), two.offset_sec, two.text) == ("/abs/b-2.250", "/abs/b.wav", 2.25, "bye")
    assert (tarred.reason, bad.reason) == ("no audio file", "missing field")
    assert [i.text for i in read("nemo", path, skip_bad=True, text_field="text_raw")[1:2]] == ["Bye!"]
    with pytest.raises(DataError, match="train_manifest.json: line 4: has no field audio_filepath"):
        read("nemo", path)


@pytest.fixture
def peoples(tmp_path):
    """Two recordings of train/clean as the archives unpack, and one of validation."""

    def line(name: str, *pieces: tuple[int, str]) -> str:
        names = [f"{name}_SLASH_x_DOT_mp3_{i:05d}.flac" for i in range(len(pieces))]
        data = {"duration_ms": [ms for ms, _ in pieces], "label": [text for _, text in pieces], "name": names}
        return json.dumps({"identifier": name, "training_data": data}) + "\n"

    root = tmp_path / "peoples_speech"
    content = line("gov_A", (15920, "well that is it"), (3010, "next"), (900, "yes")) + line("gov_B", (14000, "so"))
    write(root / "train" / "clean.json", content)
    write(root / "train" / "clean" / "gov_A_SLASH_x_DOT_mp3_00000.flac", "fLaC")
    write(root / "validation" / "validation.json", line("gov_C", (2000, "good evening")))
    write(root / "validation" / "validation" / "gov_C_SLASH_x_DOT_mp3_00000.flac", "fLaC")
    write(root / "train" / "n_shards.json", "{}")
    return root


def test_the_pieces_of_peoples_speech(peoples):
    items = read("peoples-speech", peoples)
    clean = peoples / "train" / "clean"
    assert [(i.id, i.text, i.duration_sec) for i in items] == [
        ("gov_A_SLASH_x_DOT_mp3_00000", "well that is it", 15.92),
        ("gov_A_SLASH_x_DOT_mp3_00001", "next", 3.01),
        ("gov_A_SLASH_x_DOT_mp3_00002", "yes", 0.9),
        ("gov_B_SLASH_x_DOT_mp3_00000", "so", 14.0),
        ("gov_C_SLASH_x_DOT_mp3_00000", "good evening", 2.0),
    ]
    assert items[3].audio == clean / "gov_B_SLASH_x_DOT_mp3_00000.flac" and items[3].place == f"{clean}.json: line 2"
    assert {(i.language, i.speaker, i.offset_sec) for i in items} == {("en", None, 0.0)}
    assert read("peoples-speech", clean.with_name("clean.json"), part_items=3) == items[:4]
    assert peoples_speech.is_at(peoples) and peoples_speech.is_at(peoples / "train") and not peoples_speech.is_at(clean)


def test_a_line_of_peoples_speech_that_is_none_is_counted_or_stops(peoples):
    path = peoples / "train" / "clean.json"
    bad = '{"training_data": {"duration_ms": [1, 2], "label": ["a"], "name": ["n"]}}\n'
    zero = '{"training_data": {"duration_ms": [0], "label": ["a"], "name": ["n.flac"]}}\n{"x"\n'
    write(path, path.read_text() + bad + zero)
    assert [i.reason for i in read("peoples-speech", path, skip_bad=True)[4:]] == [
        "wrong columns",
        "wrong type",
        "not JSON",
    ]
    with pytest.raises(DataError, match="clean.json: line 3: duration_ms, label, name must be lists"):
        read("peoples-speech", path)
