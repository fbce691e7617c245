"""flite: the same bytes for the same words whatever came before, and times that suit the sound."""

import ctypes

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

from lst_jax.cli import main
from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.prepare import manifest
from lst_jax.prepare.aligners.registry import load_aligner
from lst_jax.prepare.synthesis import flite
from lst_jax.prepare.synthesis.registry import load_synthesiser

HARD = "In the end, Dr. Smith paid $42.50 at 3:45 p.m. for e.g. café 1234567 naïve things! “Quoted” & 50% don’t say."
VOICES = ("slt", "rms", "awb", "kal16", "kal")


@pytest.fixture(scope="module")
def synthesiser():
    try:
        ctypes.CDLL(flite.LIBRARY)
    except OSError:
        pytest.skip(f"needs {flite.LIBRARY}; apt-get install flite")
    return flite.Flite()


def test_what_a_written_word_is_spoken_as_is_one_interval():
    spoken = [flite.SpokenWord(0, 0.2, 0.4), flite.SpokenWord(1, 0.5, 0.8), flite.SpokenWord(1, 0.8, 1.0)]
    assert flite.word_intervals(["no", "42"], spoken) == [(0.2, 0.4), (0.5, 1.0)]


def test_words_that_are_not_spoken_share_the_time_of_the_word_before_or_of_the_first():
    spoken = [flite.SpokenWord(1, 0.2, 0.6), flite.SpokenWord(3, 0.8, 1.2)]
    found = flite.word_intervals(["日", "one", "xy", "two", "z"], spoken)
    np.testing.assert_allclose(
        found, [(0.2, 0.2 + 0.4 / 6), (0.2 + 0.4 / 6, 0.2 + 1.6 / 6), (0.2 + 1.6 / 6, 0.6), (0.8, 1.1), (1.1, 1.2)]
    )


def test_without_the_library_the_error_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(flite, "LIBRARY", "libnothing.so.1")
    (tmp_path / "a.txt").write_text("some words\n")
    assert (
        main.main(
            [
                "prepare",
                "synthesise",
                "--manifest",
                str(tmp_path / "a.txt"),
                "--out",
                str(tmp_path / "o"),
                "--synthesiser",
                "flite",
            ]
        )
        == DataError.exit_code
    )
    printed = capsys.readouterr().err.strip()
    assert "libnothing.so.1 is not installed; apt-get install flite, or choose another" in printed
    assert "\n" not in printed and not (tmp_path / "o").exists()


def test_it_takes_no_argument():
    with pytest.raises(DataError, match="^--synthesiser flite:slt: flite takes no argument; give voices with --voice$"):
        load_synthesiser("flite:slt")


def test_it_is_a_synthesiser_that_pickles(synthesiser):
    assert_is_synthesiser_that_pickles(synthesiser)


@pytest.mark.parametrize("voice", VOICES)
def test_the_same_words_are_the_same_samples_whatever_came_before(synthesiser, voice):
    assert_nothing_stays(synthesiser, flite.Flite(), voice, VOICES, HARD)


@pytest.mark.parametrize("text", [PLAIN, HARD], ids=["plain", "hard"])
@pytest.mark.parametrize("voice", VOICES)
def test_one_interval_a_written_word_and_sound_in_it(synthesiser, text, voice):
    speech = synthesiser.speak(text, voice)
    assert_one_interval_a_word_and_sound_in_it(speech, text, 0.1, 0.02, 3, 1e-6)  # silence comes first
    assert speech.words[-1][1] - 1e-6 < len(speech.samples) / speech.rate


@pytest.mark.parametrize("text", TO_ALIGN)
@pytest.mark.parametrize("voice", ["slt", "rms", "kal16"])
def test_forced_alignment_of_the_sound_finds_the_same_times(synthesiser, text, voice):
    apart = apart_from_alignment(synthesiser.speak(text, voice), text).ravel()[1:-1]
    assert apart.max() < 0.05 and np.median(apart) < 0.02  # but for the outer ends, where the aligner adds silence


def test_a_comma_is_a_pause_between_words(synthesiser):
    (_, end_sec), (start_sec, _) = synthesiser.speak("hello, there", "slt").words
    assert start_sec - end_sec > 0.1
    (_, end_sec), (start_sec, _) = synthesiser.speak("hello there", "slt").words
    assert start_sec == pytest.approx(end_sec)


def test_what_it_cannot_read_has_no_words_of_its_own(synthesiser):
    (first, second), rest = synthesiser.speak("日 go", "kal").words, synthesiser.speak("go", "kal").words
    assert (first[0], second[1]) == pytest.approx(rest[0]) and first[1] == second[0]
    (_, end_sec), silent, (start_sec, _) = synthesiser.speak("hello ... there", "kal").words
    assert end_sec == silent[0] < silent[1] <= start_sec
    with pytest.raises(RejectedItem, match="flite has no word for '日本'; leave it out"):
        synthesiser.speak("日本", "kal")


def test_unknown_voices_are_one_line(synthesiser):
    synthesiser.check_voice("slt")
    for voice in ("en-us", "time_awb", ""):
        with pytest.raises(DataError, match=f"^--voice {voice}: flite has no such voice; use awb or kal or .*slt$"):
            synthesiser.check_voice(voice)


def test_the_command_speaks_what_the_aligner_of_files_reads(synthesiser, tmp_path, capsys):
    (tmp_path / "a.txt").write_text(f"{PLAIN}\n")
    assert (
        main.main(
            [
                "prepare",
                "synthesise",
                "--manifest",
                str(tmp_path / "a.txt"),
                "--out",
                str(tmp_path / "out"),
                "--synthesiser",
                "flite",
                "--voice",
                "rms",
                "--workers",
                "2",
            ]
        )
        == 0
    )
    assert "1 utterances, 19 words" in capsys.readouterr().out
    (item,) = manifest.read_items(tmp_path / "out" / "manifest.jsonl", {})
    placed = load_aligner(f"ctm:{tmp_path / 'out' / 'words.ctm'}").align(item.id, np.zeros(10**6), [])
    expected = synthesiser.speak(PLAIN, "rms").words
    np.testing.assert_allclose([times for _, *times in placed], expected, atol=1e-3)
