"""Podcasts of Spotify, in the exact layout of the dataset."""

import json

import pytest
from read_corpus import read, write

from lst_jax.core.errors import DataError
from lst_jax.prepare.corpora import spotify

EPISODE = "2/B/show_2BUzRQ1AkEWjUjbmyfKVtJ/5p6ZTIfWlEX9VJrBLJFn1r"


def word(text: str, start: float, end: float, **more) -> dict:
    return {"startTime": f"{start:.3f}s", "endTime": f"{end:.3f}s", "word": text, **more}


def result(*words: dict) -> dict:
    text = " ".join(w["word"] for w in words)
    return {"alternatives": [{"transcript": text, "confidence": 0.83, "words": list(words)}]}


ONE = [word("Hello", 1.2, 1.5), word("there,", 1.5, 2.0)]
TWO = [word("Yes.", 2.4, 2.9), word("Well", 5.0, 5.0), word("then.", 5.0, 6.0)]


@pytest.fixture
def podcasts(tmp_path):
    """Two episodes; the first has two results, one without words, and the list of all words with their speakers."""
    root = tmp_path / "spotify-podcasts-2020"
    tagged = [w | {"speakerTag": 2 if w["word"] != "Yes." else 1} for w in ONE + TWO]
    last = {"alternatives": [{"words": tagged}]}
    results = [result(*ONE), {"alternatives": [{}]}, result(*TWO), last]
    write(root / "podcasts-transcripts" / f"{EPISODE}.json", json.dumps({"results": results}))
    second = json.dumps({"results": [result(word("Bye", 0.0, 0.4))]}, indent=1)
    write(root / "podcasts-transcripts" / "7/z/show_7zz/6abc.json", second)
    for name in (EPISODE, "7/z/show_7zz/6abc"):
        write(root / "podcasts-audio" / f"{name}.ogg", "OggS")
    write(root / "metadata.tsv", "show_uri\tshow_name\n")
    return root


def test_results_are_utterances_with_the_times_of_their_words(podcasts):
    items = read("spotify", podcasts)
    name = EPISODE.rpartition("/")[2]
    assert [i.id for i in items] == [f"{name}-0000", f"{name}-0002", "6abc-0000"]
    one, two, three = items
    assert one.audio == podcasts / "podcasts-audio" / f"{EPISODE}.ogg"
    assert (one.text, two.text, three.text) == ("Hello there,", "Yes. Well then.", "Bye")
    assert (one.offset_sec, one.duration_sec) == (0.7, 1.5)  # half a second of the pause before it, half of that behind
    assert one.words == (("Hello", 0.5, 0.8), ("there,", 0.8, 1.3))
    assert (two.offset_sec, two.duration_sec) == (2.2, 3.8)
    assert two.words == (("Yes.", 0.2, 0.7), ("Well", 2.8, 2.8), ("then.", 2.8, 3.8))
    assert (one.speaker, two.speaker, three.speaker) == (f"{name}-2", f"{name}-2", None)
    assert {i.language for i in items} == {"en"} and three.offset_sec == 0
    assert read("spotify", podcasts / "podcasts-transcripts", part_items=1) == items
    assert (
        spotify.is_at(podcasts)
        and spotify.is_at(podcasts / "podcasts-transcripts")
        and not spotify.is_at(podcasts.parent)
    )


def test_the_audio_may_lie_elsewhere(podcasts, tmp_path):
    (item, *_) = read("spotify", podcasts, options={"audio_root": str(tmp_path / "ogg")})
    assert item.audio == tmp_path / "ogg" / f"{EPISODE}.ogg"


def test_words_that_go_back_are_one_bad_item(podcasts):
    path = podcasts / "podcasts-transcripts" / f"{EPISODE}.json"
    write(path, json.dumps({"results": [result(ONE[1], ONE[0]), result(*TWO)]}))
    bad, good, _ = read("spotify", podcasts)
    assert bad.reason == "words out of order" and bad.message.startswith(f"{path}: ") and good.text == "Yes. Well then."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "missing field"),
        ('{"results": 1}', "wrong type"),
        ('{"results": [1]}', "missing field"),
        (
            '{"results": [{"alternatives": [{"words": [{"word": "a", "startTime": "x", "endTime": "1s"}]}]}]}',
            "wrong type",
        ),
        ('{"results": [{"alternatives": [{"words": ["a"]}]}]}', "missing field"),
    ],
)
def test_an_episode_that_is_no_transcript_is_counted_or_stops(podcasts, content, reason):
    write(podcasts / "podcasts-transcripts" / "7/z/show_7zz/6abc.json", content)
    assert read("spotify", podcasts, skip_bad=True)[-1].reason == reason
    with pytest.raises(DataError, match="6abc.json: .*; "):
        read("spotify", podcasts)
