"""Written words become spoken ones, and every word gets phones that the acoustic model has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lst_jax.core.errors import DataError
from lst_jax.prepare import pronounce

KNOWN = {
    "un": "AH N",
    "muted": "M Y UW T IH D",
    "lower": "L OW ER",
    "case": "K EY S",
    "bus": "B AH S",
    "wall": "W AO L",
    "be": "B IY",
}


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("hello", ["hello"]),
        ("Fly-by,", ["fly", "by"]),
        ("Waldo’s", ["waldo's"]),
        ("“don't”", ["don't"]),
        ("--", []),
        ("42", ["forty", "two"]),
        ("1,905", ["one", "thousand", "nine", "hundred", "five"]),
        ("007", ["zero", "zero", "seven"]),
        ("3.5%", ["three", "point", "five", "percent"]),
        ("café", ["cafe"]),
        ("R&D", ["r", "and", "d"]),
        ("'", []),
        ("320,000", ["three", "hundred", "twenty", "thousand"]),
        ("x2", ["x", "two"]),
    ],
)
def test_spoken_words(written, spoken):
    assert pronounce.spoken_words(written) == spoken


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("unmuted", "AH N M Y UW T IH D"),
        ("lowercase", "L OW ER K EY S"),
        ("wall's", "W AO L Z"),
        ("bus's", "B AH S AH Z"),
        ("pbx", "P IY B IY EH K S"),
        ("q", "K Y UW"),
        ("ship", "SH IH P"),
        ("phone", "F OW N"),
        ("quick", "K W IH K"),
        ("night", "N AY T"),
        ("station", "S T AE SH AH N"),
        ("knee", "N IY"),
        ("hammer", "HH AE M ER"),
        ("xray", "EH K S R EY"),
        ("xerox", "Z ER AA K S"),
        ("bathed", "B AE TH D"),
    ],
)
def test_guesses(word, phones):
    assert pronounce.guess(word, KNOWN.get) == phones


@given(st.from_regex(r"[a-z][a-z']{0,14}", fullmatch=True))
def test_every_word_gets_phones_of_the_model(word):
    for spoken in pronounce.spoken_words(word):
        phones = pronounce.guess(spoken, KNOWN.get).split()
        assert phones and set(phones) <= pronounce.PHONES


@given(st.text(max_size=30))
def test_any_text_gives_words_of_letters(text):
    for word in pronounce.spoken_words(text):
        assert set(word) <= set("abcdefghijklmnopqrstuvwxyz'") and word.strip("'") == word != ""


def test_pronunciation_files(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("prepend P R IY P EH N D\n\niax IY AE K S\n")
    assert pronounce.read_pronunciations(path) == {"prepend": "P R IY P EH N D", "iax": "IY AE K S"}
    for bad in ("prepend", "prepend P R IY1", "Pre-pend P R", "p'9 P"):
        path.write_text(f"iax IY AE K S\n{bad}\n")
        with pytest.raises(DataError, match="words.txt: line 2: must be a word"):
            pronounce.read_pronunciations(path)
    with pytest.raises(DataError, match="no such file"):
        pronounce.read_pronunciations(tmp_path / "none.txt")
