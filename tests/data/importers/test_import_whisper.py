"""Words of WhisperX, faster-whisper and Whisper."""

import json

import pytest

from lst_jax.core.errors import RejectedItem
from lst_jax.data.importers import whisper

WHISPERX = {  # as `whisperx --diarize` writes: a number has no times
    "segments": [
        {
            "start": 0.1,
            "end": 1.3,
            "text": " In 2014 yes.",
            "words": [
                {"word": "In", "start": 0.1, "end": 0.3, "score": 0.9, "speaker": "SPEAKER_00"},
                {"word": "2014", "speaker": "SPEAKER_00"},
                {"word": "yes.", "start": 0.9, "end": 1.3, "score": 0.8, "speaker": "SPEAKER_00"},
            ],
            "speaker": "SPEAKER_00",
        },
        {"start": 1.5, "end": 1.9, "words": [{"word": "No", "start": 1.5, "end": 1.9, "speaker": "SPEAKER_01"}]},
    ],
    "language": "en",
}
WHISPER = {  # as Whisper and faster-whisper write with word times: a blank stands before each word
    "text": " Press one.",
    "segments": [
        {
            "id": 0,
            "start": 0.0,
            "end": 0.8,
            "words": [
                {"word": " Press", "start": 0.0, "end": 0.5, "probability": 0.9},
                {"word": " one.", "start": 0.5, "end": 0.8, "probability": 0.9},
            ],
        }
    ],
}


def test_words_of_both_forms_are_found_by_the_name_of_the_recording(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "u1.json").write_text(json.dumps(WHISPERX))
    (tmp_path / "u2.json").write_text(json.dumps(WHISPER))
    found = whisper.open_alignments(tmp_path)
    assert found.align("u2") == [("Press", 0.0, 0.5), ("one.", 0.5, 0.8)]
    approx = pytest.approx(0.9)
    assert found.align("x/u1") == [("In", 0.1, 0.3), ("2014", 0.3, approx), ("yes.", 0.9, 1.3), ("No", 1.5, 1.9)]


def test_one_of_several_speakers_is_chosen():
    assert whisper.parse(WHISPERX, "SPEAKER_01").words == (("No", 1.5, 1.9),)
    assert [word for word, *_ in whisper.parse(WHISPERX, "SPEAKER_00").words] == ["In", "2014", "yes."]
    with pytest.raises(RejectedItem, match="no words of speaker 'SPEAKER_07'"):
        whisper.parse(WHISPERX, "SPEAKER_07")


def segment(*words, start=0.0, end=1.0):
    return {"segments": [{"start": start, "end": end, "words": list(words)}]}


def test_words_without_times_share_what_lies_between_their_neighbours():
    timed = {"word": "a", "start": 0.4, "end": 0.6}
    found = whisper.parse(segment({"word": "1"}, {"word": "2"}, timed, {"word": "3"}), None).words
    assert found == (("1", 0.0, 0.2), ("2", 0.2, 0.4), ("a", 0.4, 0.6), ("3", 0.6, 1.0))
    with pytest.raises(RejectedItem, match="word '3' has no times, and no room"):
        whisper.parse(segment({**timed, "end": 0.98}, {"word": " 3 "}), None)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({}, "has no 'segments'"),
        ({"segments": [1]}, r"segments\[0\] is 1"),
        ({"segments": [{"start": 0, "end": 1}]}, "word timestamps"),
        (segment({"start": 0}), "no object of word, start, end"),
        (segment({"word": "a", "start": "x", "end": 1}), "start='x' is no number"),
        (segment({"word": "a", "start": 0.5, "end": 0.2}), "ends before"),
    ],
)
def test_what_is_of_another_form_is_one_line(fields, message):
    with pytest.raises(RejectedItem, match=message):
        whisper.parse(fields, None)
