"""Alignment does not depend on what was aligned before; words always fit their frames; wrong text is found out."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lst_jax.core.errors import RejectedItem
from lst_jax.data.alignment import to_frames
from lst_jax.data.records import Utterance, check_utterance
from lst_jax.prepare.aligners import pocket_sphinx
from lst_jax.prepare.aligners.protocol import Aligner
from lst_jax.prepare.recordings import load_audio


@pytest.fixture(scope="module")
def recordings(prompts):
    return [(load_audio(item.audio), item.text.split()) for item in prompts]


def test_a_reused_decoder_aligns_as_a_new_one(recordings):
    (_, _), (busy, busy_words), (key, key_words) = recordings
    alone = pocket_sphinx.PocketSphinxAligner().align("u", key, key_words)
    reused = pocket_sphinx.PocketSphinxAligner()
    reused.align("u", busy * 0.05, busy_words)
    with pytest.raises(RejectedItem):
        reused.align("u", busy[:8000], ["frobnicate"] * 30)
    assert reused.align("u", key, key_words) == alone


def test_words_come_back_in_order_within_the_audio(recordings):
    aligner = pocket_sphinx.PocketSphinxAligner()
    for audio, words in recordings:
        placed = aligner.align("u", audio, words)
        assert [word for word, *_ in placed] == words
        edges = [edge for _, start, end in placed for edge in (start, end)]
        assert edges == sorted(edges) and 0 <= edges[0] and edges[-1] <= len(audio) / 16000 + 0.01
        assert all(end - start >= 0.03 for _, start, end in placed)


def test_words_are_where_they_sound(recordings):
    """Silence put in front moves every word by as much; nothing but the edges of the first may differ."""
    audio, words = recordings[2]
    aligner = pocket_sphinx.PocketSphinxAligner()
    before = aligner.align("u", audio, words)
    after = aligner.align("u", np.concatenate([np.zeros(16000, np.float32), audio]), words)
    shifts = [b[2] - a[2] for a, b in zip(before, after, strict=True)]
    assert np.allclose(shifts, 1.0, atol=0.05)
    assert after[0][1] > 0.5


def test_wrong_text_is_rejected_with_a_reason(recordings):
    aligner = pocket_sphinx.PocketSphinxAligner()
    reasons = set()
    for text in (
        "congratulations you have installed the demonstration",
        "seventeen purple elephants danced slowly north",
        "a " * 200,
    ):
        with pytest.raises(RejectedItem) as caught:
            aligner.align("u", recordings[0][0], text.split())
        reasons.add(caught.value.reason)
    assert reasons <= {"alignment failed", "poor match"}
    with pytest.raises(RejectedItem, match="has no word to speak"):
        aligner.align("u", recordings[0][0], ["--", "..."])


def test_a_search_that_ends_early_is_tried_again_over_wider_beams_and_is_told_once(recordings, monkeypatch):
    audio, _ = recordings[0]
    words = ["That", "konferents", "is", "full"]
    search, decoders = pocket_sphinx._search, []

    def ends_early(decoder, audio, spoken):
        decoders.append(decoder)
        found = search(decoder, audio, spoken)
        return found[:-1] if len(decoders) == 1 else found

    monkeypatch.setattr(pocket_sphinx, "_search", ends_early)
    aligner = pocket_sphinx.PocketSphinxAligner()
    assert [word for word, *_ in aligner.align("u", audio, words)] == words
    assert [decoder.config["beam"] for decoder in decoders] == [1e-48, pocket_sphinx.WIDER["beam"]]
    assert aligner.take_retried("u") and not aligner.take_retried("u")
    aligner.align("v", audio, words)
    assert len(decoders) == 3 and not aligner.take_retried("v")


def test_a_placed_but_poor_match_is_told_by_its_score(recordings):
    audio, _ = recordings[0]
    with pytest.raises(RejectedItem, match="score -4.* is below -3.5") as caught:
        pocket_sphinx.PocketSphinxAligner().align("u", audio, ["goodbye"])
    assert caught.value.reason == "poor match"
    lenient = pocket_sphinx.PocketSphinxAligner(least_score=-10.0, most_outside_sec=1.0)
    assert len(lenient.align("u", audio, ["goodbye"])) == 1 and lenient.name != pocket_sphinx.PocketSphinxAligner().name


@pytest.mark.parametrize(("seconds", "refused"), [(20, True), (60, False), (120, False)])
def test_long_recordings_may_have_more_speech_outside_words(seconds, refused):
    loud, quiet = np.random.default_rng(0).normal(0, (0.1, 0.0001), (seconds * 16000, 2)).astype(np.float32).T
    quiet[: seconds * 12000] = loud[: seconds * 12000]  # three quarters are speech, all of it in words but 0.4 s
    last_sec = seconds * 0.75 - 0.4
    aligner = pocket_sphinx.PocketSphinxAligner()
    if not refused:
        return aligner._check_fit(quiet, [("word", 0, 100, 0.0)], [(0.0, last_sec)])
    with pytest.raises(RejectedItem, match="0.4.* s as loud as speech lie outside all words, more than 0.25 s"):
        aligner._check_fit(quiet, [("word", 0, 100, 0.0)], [(0.0, last_sec)])


def test_unknown_written_forms_are_aligned_and_counted(recordings):
    audio, _ = recordings[0]  # that conference is full
    aligner = pocket_sphinx.PocketSphinxAligner()
    written = ["That", "konferents", "is", "-", "full!"]
    placed = aligner.align("u", audio, written)
    assert [word for word, *_ in placed] == ["That", "konferents", "is -", "full!"]
    assert aligner.guessed(written) == ["konferents"]
    told = pocket_sphinx.PocketSphinxAligner(pronunciations={"konferents": "K AA N F ER AH N S"})
    assert told.guessed(written) == [] and told.name != aligner.name
    assert [w for w, *_ in told.align("u", audio, written)] == [w for w, *_ in placed]


def test_an_aligner_travels_to_another_process_without_its_decoder(recordings):
    aligner = pocket_sphinx.PocketSphinxAligner(-4.0, {"abcde": "B IY"})
    first = aligner.align("u", *recordings[0])
    copy = pickle.loads(pickle.dumps(aligner))
    assert copy.name == aligner.name and copy.align("u", *recordings[0]) == first
    assert isinstance(copy, Aligner)


@given(st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 0.3)), min_size=1, max_size=12), st.integers(1, 40))
def test_frames_keep_order_and_room_for_every_word(steps, n_frames):
    placed, now = [], 0.0
    for i, (gap, length) in enumerate(steps):
        placed.append((f"w{i}", now + gap, now + gap + length))
        now += gap + length
    if len(placed) > n_frames:
        with pytest.raises(RejectedItem) as caught:
            to_frames(placed, 25.0, n_frames)
        assert caught.value.reason == "more words than frames"
        return
    words = to_frames(placed, 25.0, n_frames)
    assert [w.text for w in words] == [w for w, *_ in placed]
    check_utterance(Utterance("u", np.zeros(n_frames, np.uint16), words, None, None), 1)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6)), min_size=1, max_size=8), st.floats(-0.49, 0.49))
def test_frames_that_fit_are_only_rounded(steps, error):
    expected, now = [], 0
    for gap, length in steps:
        expected.append((now + gap, now + gap + length))
        now += gap + length
    placed = [("w", max(0.0, (start + error) / 25), max(0.0, (end + error) / 25)) for start, end in expected]
    assert [(w.start_frame, w.end_frame) for w in to_frames(placed, 25.0, now)] == expected
