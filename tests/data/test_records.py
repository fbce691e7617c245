import dataclasses

import hypothesis
import hypothesis.strategies as st
import msgpack
import numpy as np
import pytest

from lst_jax.core.errors import DataError
from lst_jax.data.records import TextDocument, Utterance, Word, check_utterance, decode, encode

GOOD = Utterance("u1", np.array([5, 5, 9, 9, 9, 5, 3, 3], np.uint16), (Word("a", 2, 5), Word("b", 6, 8)), "s1", None)
names = st.none() | st.text(max_size=5)


@hypothesis.given(
    st.text(),
    st.lists(st.integers(0, 65535)),
    st.lists(st.tuples(st.text(), st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))),
    names,
    names,
)
def test_an_utterance_survives_its_bytes(name, units, words, speaker, source):
    record = Utterance(name, np.array(units, np.uint16), tuple(Word(*w) for w in words), speaker, source)
    again = decode("utterance", encode(record))
    assert again == record
    assert again.units.dtype == np.uint16
    assert encode(again) == encode(record)


@hypothesis.given(st.text(), st.text())
def test_a_text_survives_its_bytes(name, text):
    assert decode("text", encode(TextDocument(name, text))) == TextDocument(name, text)


def test_the_bytes_are_as_documented():
    fields = msgpack.unpackb(encode(GOOD))
    assert fields == {
        "id": "u1",
        "units": bytes([5, 0, 5, 0, 9, 0, 9, 0, 9, 0, 5, 0, 3, 0, 3, 0]),
        "words": ["a", "b"],
        "starts": bytes([2, 0, 0, 0, 6, 0, 0, 0]),
        "ends": bytes([5, 0, 0, 0, 8, 0, 0, 0]),
        "speaker": "s1",
        "source": None,
    }


@pytest.mark.parametrize("change", [{"units": np.array([1, 2])}, {"words": ()}, {"speaker": None}, {"id": "u2"}])
def test_utterances_differ_by_any_field(change):
    assert dataclasses.replace(GOOD, **change) != GOOD


@pytest.mark.parametrize("kind", ["utterance", "text"])
@hypothesis.given(st.binary(max_size=200))
def test_garbage_is_a_data_error(kind, payload):
    with pytest.raises(DataError):
        decode(kind, payload)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"units": b"\0"}, "do not fit"),
        ({"starts": b"\0\0\0\0"}, "do not fit"),
        ({"speaker": 3}, "field speaker"),
        ({"words": ["a", 3]}, "words must be strings"),
        ({"more": 1}, "must have the fields"),
    ],
)
def test_a_broken_field_is_named(change, words):
    fields = {**msgpack.unpackb(encode(GOOD)), **change}
    with pytest.raises(DataError, match=words):
        decode("utterance", msgpack.packb(fields))


def test_units_beyond_sixteen_bits_are_refused():
    with pytest.raises(DataError, match="u1: unit ids must lie in 0..65535"):
        encode(dataclasses.replace(GOOD, units=np.array([0, 65536])))


def test_a_good_utterance_passes_its_check():
    check_utterance(GOOD, codebook_size=10)


@pytest.mark.parametrize(
    "change, codebook, rule",
    [
        ({"units": np.zeros(0, np.uint16)}, 10, "has no units"),
        ({}, 9, "unit 9 is outside the codebook of 9"),
        ({"words": (Word("b", 6, 8), Word("a", 2, 5))}, 10, "starts before frame 8, where the previous word ends"),
        ({"words": (Word("a", 2, 5), Word("b", 4, 8))}, 10, "starts before frame 5, where the previous word ends"),
        ({"words": (Word("a", 2, 9),)}, 10, "ends after the last of the 8 units"),
        ({"words": (Word("a", -1, 2),)}, 10, "starts before the audio"),
        ({"words": (Word("a", 2, 2),)}, 10, "has no frames"),
        ({"words": (Word(" ", 2, 3),)}, 10, "has no text"),
    ],
)
def test_a_bad_utterance_is_one_line_with_its_name(change, codebook, rule):
    with pytest.raises(DataError, match=rule) as caught:
        check_utterance(dataclasses.replace(GOOD, **change), codebook)
    assert str(caught.value).startswith("u1: ") and "\n" not in str(caught.value)
