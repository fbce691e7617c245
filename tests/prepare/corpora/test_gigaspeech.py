"""GigaSpeech.json as it is published, and the stream of JSON that reads it."""

import json
import random

import pytest
from read_corpus import read, write

from lst_jax.core.errors import DataError
from lst_jax.prepare.corpora import gigaspeech, json_parts
from lst_jax.prepare.corpora.protocol import InputFile


def segment(audio: str, number: int, text: str, subsets=("{XL}",), begin: float = 0.0) -> dict:
    return {
        "sid": f"{audio}_S{number:07d}",
        "speaker": "N/A",
        "begin_time": begin,
        "end_time": begin + 2.5,
        "subsets": list(subsets),
        "text_tn": text,
    }


def audio(name: str, *segments: dict) -> dict:
    return {
        "title": 'Ein Gespräch, "so"',
        "url": "https://example.com/x.mp3",
        "path": f"audio/podcast/P0000/{name}.opus",
        "aid": name,
        "source": "podcast",
        "codec": "opus",
        "channels": 1,
        "md5": "00",
        "duration": 100.0,
        "sample_rate": 16000,
        "subsets": ["{XL}"],
        "speaker": "N/A",
        "category": "N/A",
        "segments": list(segments),
    }


@pytest.fixture
def giga(tmp_path):
    one, two = "POD0000000001", "POD0000000002"
    audios = [
        audio(
            one,
            segment(
                one, 1, "DOUGLAS MCGRAY IS GOING TO BE OUR GUIDE <COMMA> YOU <QUESTIONMARK>", ("{XL}", "{XS}"), 159.0
            ),
            segment(one, 2, "<COMMA> YOU WALK THROUGH THE DOOR <PERIOD>", begin=163.1),
        ),
        audio(two, segment(two, 1, "<MUSIC>"), segment(two, 2, "Y'ALL <EXCLAMATIONPOINT>", ("{XL}", "{M}"))),
    ]
    content = {
        "dataset": "GigaSpeech",
        "language": "EN",
        "version": "v1.0.0",
        "subsets": {"XL": 10000},
        "audios": audios,
    }
    write(tmp_path / "TERMS_OF_ACCESS", "terms")
    return write(tmp_path / gigaspeech.FILE, json.dumps(content, indent=2, ensure_ascii=False))


def test_the_segments_of_the_recordings(giga):
    one, two, music, three = read("gigaspeech", giga.parent, part_items=1)
    assert (one.id, one.text) == ("POD0000000001_S0000001", "douglas mcgray is going to be our guide, you?")
    assert (one.audio, one.offset_sec, one.duration_sec) == (
        giga.parent / "audio/podcast/P0000/POD0000000001.opus",
        159.0,
        2.5,
    )
    assert (two.text, two.offset_sec, two.speaker, two.language) == ("you walk through the door.", 163.1, None, "en")
    assert (music.id, music.reason) == ("POD0000000002_S0000001", "no speech") and three.text == "y'all!"
    assert read("gigaspeech", giga, part_items=100) == [one, two, music, three]
    assert gigaspeech.is_at(giga.parent) and not gigaspeech.is_at(giga.parent / "audio")


def test_a_subset_is_chosen(giga):
    assert [i.id for i in read("gigaspeech", giga, options={"subset": "XS"})] == ["POD0000000001_S0000001"]
    assert [i.id for i in read("gigaspeech", giga, options={"subset": "M"})] == ["POD0000000002_S0000002"]
    with pytest.raises(DataError, match="--subset A: must be XS, S, M"):
        read("gigaspeech", giga, options={"subset": "A"})


def test_a_bad_segment_is_one_bad_item(giga):
    content = json.loads(giga.read_text())
    content["audios"][0]["segments"][0] |= {"end_time": 1.0}
    content["audios"][0]["segments"][1].pop("text_tn")
    content["audios"][1] = "none"
    write(giga, json.dumps(content))
    assert [i.reason for i in read("gigaspeech", giga, skip_bad=True)] == [
        "wrong type",
        "missing field",
        "missing field",
    ]
    with pytest.raises(DataError, match=r"GigaSpeech.json: element 1: POD0000000001_S0000001: ends at 1 s"):
        read("gigaspeech", giga)


@pytest.mark.parametrize(
    "content", ["", "{}", '{"audios": 1}', '{"audios": [{"aid": ', '{"audios": [{}] x', "[1]", "null"]
)
def test_a_document_that_is_no_gigaspeech_is_an_error_of_one_line(giga, content):
    write(giga, content)
    with pytest.raises(DataError, match="GigaSpeech.json: ") as caught:
        if not read("gigaspeech", giga, skip_bad=True):
            raise DataError(f"{giga}: has nothing")
        if content.endswith("x"):
            raise DataError(f"{giga}: what follows the list is not read")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 3])
@pytest.mark.parametrize("of", [list, dict])
def test_elements_of_a_document_are_those_that_json_loads_gives(tmp_path, monkeypatch, block, indent, of):
    monkeypatch.setattr(json_parts, "BLOCK", block)
    rng = random.Random(block)
    values = [
        rng.choice([5, -0.25, 1e300, True, None, 'a: "ü" ,]', [1, [2]], {"k": "€"}, "", 12345678]) for _ in range(20)
    ]
    inside = values if of is list else {f"n:{i}": value for i, value in enumerate(values)}
    path = write(
        tmp_path / "d.json", json.dumps({"before": [1, {"x": "}"}], "in": inside}, indent=indent, ensure_ascii=False)
    )
    for key, place in (("in", path), (None, write(tmp_path / "e.json", "\ufeff" + json.dumps(inside, indent=indent)))):
        parts = list(json_parts.parts(InputFile(place, 0, "", "d"), 0, 3, False, key))
        found = [pair for part in parts for pair in json_parts.items_of(part, lambda _, *pair: [pair])]
        assert [p.count for p in parts] == [3] * 6 + [2] and [p.first for p in parts] == list(range(0, 20, 3))
        assert found == ([(None, v) for v in values] if of is list else list(inside.items()))
