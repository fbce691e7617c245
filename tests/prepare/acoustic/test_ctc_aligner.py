import json
import pickle

import numpy as np
import pytest
import tiny_models

from lst_jax.core.errors import DataError, RejectedItem
from lst_jax.data.alignment import to_frames
from lst_jax.prepare.acoustic import align, ctc, wav2vec2
from lst_jax.prepare.acoustic.align import Characters, CtcAligner
from lst_jax.prepare.aligners.fit import CTC_LEAST_SCORE
from lst_jax.prepare.aligners.protocol import Aligner


@pytest.fixture
def directory(tmp_path):
    return tiny_models.write(tmp_path / "model", "wav2vec2_base")


def spelt(directory, word):
    groups, unknown = Characters(directory).spell(word)
    return ["".join(tiny_models.LETTERS[i] for i in ids) for ids in groups], unknown


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Fly-by,", (["FLYBY"], [])),
        ("don’t", (["DON'T"], [])),
        ("café", (["CAFE"], [])),
        ("Straße", (["STRASSE"], [])),
        ("42", (["FORTY", "TWO"], [])),
        ("R&B", (["R", "AND", "B"], [])),
        ("--", ([], [])),
        ("a<pad>|", (["APAD"], [])),
        ("naïve日本", (["NAIVE"], ["日", "本"])),
        ("|", ([], [])),
    ],
)
def test_written_words_become_the_models_characters(word, expected, directory):
    assert spelt(directory, word) == expected


def test_lower_case_vocabularies_and_other_special_tokens(directory):
    letters = ["[PAD]", "[UNK]", " ", *"abcdefghijklmnopqrstuvwxyz"]
    (directory / "vocab.json").write_text(json.dumps({text: i for i, text in enumerate(letters)}))
    settings = {"pad_token": {"content": "[PAD]", "special": True}, "word_delimiter_token": " "}
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    characters = Characters(directory)
    assert (characters.blank, characters.separator) == (0, 2)
    assert characters.spell("Cab") == ([[5, 3, 4]], [])


def planted(monkeypatch, aligner, said):
    """Makes the model say a character (or nothing) in each frame, whatever it hears."""

    def log_probs(params, audio_BS, samples_B, *, arch):
        out_BTV = np.full((len(audio_BS), arch.frames(audio_BS.shape[1]), 32), -9.0, np.float32)
        out_BTV[..., 0] = -1
        for row, characters in enumerate(said):
            for frame, character in characters.items():
                out_BTV[row, frame, tiny_models.LETTERS.index(character)] = 0
        return wav2vec2.jnp.asarray(out_BTV)

    monkeypatch.setattr(wav2vec2, "log_probs", log_probs)


def test_words_lie_where_the_model_says_their_characters(directory, monkeypatch):
    aligner = CtcAligner(directory)
    assert isinstance(aligner, Aligner)
    planted(monkeypatch, aligner, [{3: "A", 5: "B", 8: "|", 10: "C", 14: "|", 15: "T", 16: "W", 17: "O"}])
    recording = tiny_models.recordings()[0]
    placed = aligner.align("u", recording, ["-", "Ab", "c", "!", "2"])
    # Frame t stands for 20 ms that begin 2.5 ms after 20·t ms: it sees 25 ms from 20·t ms on.
    assert [word for word, *_ in placed] == ["- Ab", "c !", "2"]
    np.testing.assert_allclose(
        [times for _, *times in placed], [[0.0625, 0.1225], [0.2025, 0.2225], [0.3025, 0.3625]], atol=1e-9
    )
    assert [(w.start_frame, w.end_frame) for w in to_frames(placed, 25.0, 12)] == [(2, 3), (5, 6), (8, 9)]


def test_a_batch_gives_what_single_recordings_give_and_rejects_alone(directory):
    aligner = CtcAligner(directory)
    recordings = tiny_models.recordings((0.5, 0.3, 0.3, 0.01, 0.3))
    texts = [["hello", "you"], ["a", "cab"], ["一"], ["a"], ["far", "too", "many", "letters", "here"]]
    results = aligner.align_batch(list("uvwxy"), recordings, texts)
    assert [r.reason for r in results if isinstance(r, RejectedItem)] == [
        "no spoken words",
        "too short",
        "too little audio",
    ]
    for result, recording, text in zip(results[:2], recordings, texts, strict=False):
        assert result == aligner.align("u", recording, text)
        assert [word for word, *_ in result] == text
        assert all(0 <= a < b <= len(recording) / 16000 for _, a, b in result)
    with pytest.raises(RejectedItem, match="the text needs 27 frames, the audio has 14"):
        aligner.align("u", recordings[4], texts[4])
    assert aligner.unknown == {"一": 1}
    assert aligner.guessed(["x一", "x", "x一"]) == ["x一"]


def test_a_poor_match_is_rejected_by_the_least_score_that_is_given_or_the_usual_one(directory, monkeypatch):
    strict = CtcAligner(directory, least_score=-0.5)
    planted(monkeypatch, strict, [{3: "A", 5: "B"}])
    recording = tiny_models.recordings()[0]
    assert strict.align("u", recording, ["ab"])
    with pytest.raises(RejectedItem, match="score -9.00 a character is below -0.5") as caught:
        strict.align("u", recording, ["cd"])
    assert caught.value.reason == "poor match"
    usual = CtcAligner(directory)
    assert usual.least_score == CTC_LEAST_SCORE
    with pytest.raises(RejectedItem, match="score -9.00 a character is below -5"):
        usual.align("u", recording, ["cd"])


def test_it_pickles_as_its_settings_and_its_name_tells_models_apart(directory, tmp_path):
    aligner = CtcAligner(directory, least_score=-2.0)
    copy = pickle.loads(pickle.dumps(aligner))
    assert copy.name == aligner.name and copy.least_score == -2
    assert CtcAligner(directory).name != aligner.name
    other = tiny_models.write(tmp_path / "other", "wav2vec2_base", normalise=True)
    assert CtcAligner(other, least_score=-2.0).name != aligner.name


@pytest.mark.parametrize(
    ("vocabulary", "words"),
    [
        ({"<pad>": 0, "A": 1}, r"lacks the word_delimiter_token '\|'"),
        ({"|": 0, "A": 1}, "lacks the pad_token '<pad>'"),
        ({"eng": {"<pad>": 0, "|": 1}}, "one language only"),
        ({"<pad>": 0, "|": 1, "A": 32}, "ids up to 32, the model 32 outputs"),
    ],
)
def test_unusable_vocabularies_are_one_line_errors(vocabulary, words, directory):
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    with pytest.raises(DataError, match=words):
        CtcAligner(directory)


def test_frames_end_with_the_recording():
    arch = wav2vec2.Architecture("wav2vec2")
    frames = arch.frames(16000)
    assert align.frame_seconds(arch, 16000, 0) == 0.0025
    assert 0.98 < align.frame_seconds(arch, 16000, frames) <= 1
    assert ctc.needed_frames([1, 1, 2]) == 4
