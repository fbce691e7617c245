"""espeak-ng: the same bytes for the same words whatever came before, and times that suit the sound."""

import numpy as np
import pytest
from prepare_helpers import (
    PLAIN,
    TO_ALIGN,
    apart_from_alignment,
    assert_is_synthesiser_that_pickles,
    assert_nothing_stays,
    assert_one_interval_a_word_and_sound_in_it,
)

pytest.importorskip("espeakng_loader")

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare import utterances
from lst_jax.prepare.synthesis import espeak, synthesise

HARD = "In the end, Dr. Smith paid $42.50 at 3:45 p.m. for e.g. café 1234567 naïve things! “Quoted” & 50% don't say."
VOICES = ("en-us", "en-gb", "en-us+f3", "en-gb-scotland")


@pytest.fixture(scope="module")
def synthesiser():
    return espeak.Espeak()


def test_it_is_a_synthesiser_that_pickles(synthesiser):
    assert_is_synthesiser_that_pickles(synthesiser)


@pytest.mark.parametrize("voice", VOICES)
def test_the_same_words_are_the_same_samples_whatever_came_before(synthesiser, voice):
    assert_nothing_stays(synthesiser, espeak.Espeak(), voice, VOICES, HARD)


def test_voices_differ(synthesiser):
    lengths = {len(synthesiser.speak(PLAIN, voice).samples) for voice in VOICES}
    assert len(lengths) == len(VOICES)


@pytest.mark.parametrize("text", [PLAIN, HARD], ids=["plain", "hard"])
@pytest.mark.parametrize("voice", VOICES)
def test_one_interval_a_written_word_and_sound_in_it(synthesiser, text, voice):
    speech = synthesiser.speak(text, voice)
    assert_one_interval_a_word_and_sound_in_it(speech, text, 0.0, 0.03, 6, 1e-9)
    lead = speech.words[0][0]
    assert lead == pytest.approx(espeak.EDGE_SEC, abs=0.001)
    assert not speech.samples[: int(lead * speech.rate) - 1].any()


@pytest.mark.parametrize("text", TO_ALIGN)
def test_forced_alignment_of_the_sound_finds_the_same_times(synthesiser, text):
    apart = apart_from_alignment(synthesiser.speak(text, "en-us+f3"), text)
    assert apart.max() < 0.1 and np.median(apart) < 0.03


def test_a_comma_is_a_pause_between_words(synthesiser):
    (_, end_sec), (start_sec, _) = synthesiser.speak("hello, there", "en-us").words
    assert start_sec - end_sec > 0.1
    (_, end_sec), (start_sec, _) = synthesiser.speak("hello there", "en-us").words
    assert start_sec == pytest.approx(end_sec)


def test_a_longer_word_moves_those_behind_it_and_none_before(synthesiser):
    short = synthesiser.speak("one two hat ten", "en-us").words
    long = synthesiser.speak("one two 1984 ten", "en-us").words
    assert np.allclose(short[:2], long[:2], atol=0.05)
    assert long[2][1] - long[2][0] > 2 * (short[2][1] - short[2][0])
    assert long[3][0] == pytest.approx(long[2][1])


def test_words_spoken_as_one_share_its_time():
    samples = np.ones(500, np.float32)
    events = [espeak.WordEvent(1, 0.0), espeak.WordEvent(8, 0.2)]
    found = espeak.word_intervals(["of", "the", "end"], events, samples, 1000)
    assert np.allclose(found, [(0, 0.08), (0.08, 0.2), (0.2, 0.5)])


def test_events_within_a_word_and_out_of_order_are_passed_over():
    samples = np.ones(1000, np.float32)
    events = [espeak.WordEvent(1, 0.0), espeak.WordEvent(2, 0.3), espeak.WordEvent(4, 0.5), espeak.WordEvent(1, 0.7)]
    assert np.allclose(espeak.word_intervals(["42", "x"], events, samples, 1000), [(0, 0.5), (0.5, 1.0)])
    assert np.allclose(espeak.word_intervals(["42", "x"], [], samples, 1000), [(0, 2 / 3), (2 / 3, 1.0)])


def test_a_word_ends_where_its_pause_begins():
    samples = np.ones(1000, np.float32)
    samples[300:500] = 0
    events = [espeak.WordEvent(1, 0.0), espeak.WordEvent(3, 0.5)]
    assert np.allclose(espeak.word_intervals(["a", "b"], events, samples, 1000), [(0, 0.3), (0.5, 1.0)])


def test_unknown_voices_are_one_line(synthesiser):
    for voice in (*VOICES, "EN-US", "de"):
        synthesiser.check_voice(voice)
    for voice, message in [
        ("en-xx", "no such voice; use for example en-"),
        ("zz", "use for example en-us"),
        ("en-us+nobody", "no variant 'nobody'; use one of .*paul"),
    ]:
        with pytest.raises(DataError, match=message):
            synthesiser.check_voice(voice)


def test_what_does_not_end_is_cut_short(synthesiser, monkeypatch):
    monkeypatch.setattr(espeak, "LONGEST_SEC", (1.0, 0.0))
    with pytest.raises(RejectedItem, match="speaks for more than 1 s"):
        synthesiser.speak(PLAIN, "en-us")


def test_the_command_with_it(synthesiser, tmp_path):
    items = [utterances.Utterance(f"u{i}", text, {}) for i, text in enumerate([PLAIN, HARD, "hello"])]
    for out, workers in (("one", 1), ("two", 2)):
        report = synthesise.synthesise(items, tmp_path / out, synthesiser, VOICES, workers)
        assert report.utterances == 3 and not report.rejected
    made = [path.relative_to(tmp_path / "one") for path in tmp_path.glob("one/audio/*/*")]
    for name in ("words.ctm", "manifest.jsonl", *made):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
